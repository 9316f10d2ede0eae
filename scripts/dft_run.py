"""Rule dft_run: densities and energies of one shard of structures."""

from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.dft.base import load_engine
from rhoflow.dft.shard import run_shard

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0], show="rhoflow.dft")
spec = load_engine(snakemake.params.spec["kind"]).SPEC.model_validate(snakemake.params.spec)
structures = io.read_table(snakemake.input.structures, tables.STRUCTURES)
crystals = tables.shard_crystals(structures, snakemake.wildcards.shard, snakemake.params.shard_size)
records, cost, spectra = run_shard(
    crystals,
    spec,
    done_folder=Path(snakemake.params.done),
    workers=snakemake.threads,
    time_limit_s=snakemake.resources.time_limit_s or None,
)
io.write_spectra(snakemake.output.spectra, spectra, spec=snakemake.params.spec)
io.write_table(snakemake.output.cost, cost, tables.DFT_COST)
io.write_table(snakemake.output.records, records, tables.DFT_RECORDS, spec=snakemake.params.spec)
