"""Rule dft_atoms: energies of isolated atoms, the reference of cohesive energies."""

from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.dft.atoms import run_atoms
from rhoflow.dft.base import load_engine

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0], show="rhoflow.dft")
made_with = snakemake.params.spec
settings = {**made_with, **snakemake.params.site}
spec = load_engine(made_with["kind"]).SPEC.model_validate(settings)
structures = io.read_table(snakemake.input.structures, tables.NAMES)
elements = sorted({str(s) for symbols in structures["symbols"] for s in symbols})
atoms = run_atoms(
    elements,
    spec,
    done_folder=Path(snakemake.params.done),
    workers=snakemake.threads,
    time_limit_s=snakemake.resources.time_limit_s or None,
)
io.write_table(snakemake.output.atoms, atoms, tables.ATOMS, spec=made_with)
