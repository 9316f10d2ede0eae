"""Rule molecules_run: energies, levels and orbitals of one shard of molecules."""

from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.dft.base import load_molecule_engine
from rhoflow.dft.molecules import run_molecules
from rhoflow.dft.orbitals import write_orbitals

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0], show="rhoflow.dft")
made_with = snakemake.params.spec
spec = load_molecule_engine(made_with["kind"]).SPEC.model_validate(made_with)
structures = io.read_table(snakemake.input.structures, tables.MOLECULES)
result = run_molecules(
    tables.shard_rows(structures, snakemake.wildcards.shard, snakemake.params.shard_size),
    spec,
    done_folder=Path(snakemake.params.done),
    workers=snakemake.threads,
    time_limit_s=snakemake.resources.time_limit_s or None,
)
write_orbitals(snakemake.output.orbitals, result.orbitals, spec=made_with)
io.write_table(snakemake.output.cost, result.cost, tables.DFT_COST)
io.write_table(snakemake.output.records, result.records, tables.MOLECULE_RECORDS, spec=made_with)
