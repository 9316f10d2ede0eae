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
made_with = snakemake.params.spec
settings = {**made_with, **snakemake.params.site}
spec = load_engine(made_with["kind"]).SPEC.model_validate(settings)
structures = io.read_table(snakemake.input.structures, tables.STRUCTURES)
rows = tables.shard_rows(structures, snakemake.wildcards.shard, snakemake.params.shard_size)
result = run_shard(
    tables.table_to_crystals(rows),
    spec,
    g_store=snakemake.params.g_store,
    done_folder=Path(snakemake.params.done),
    workers=snakemake.threads,
    time_limit_s=snakemake.resources.time_limit_s or None,
)
computed = tables.with_crystals(rows, result.crystals)
io.write_spectra(snakemake.output.densities, result.densities, spec=made_with)
io.write_spectra(snakemake.output.potentials, result.potentials, field="potential", spec=made_with)
io.write_table(snakemake.output.cost, result.cost, tables.DFT_COST)
io.write_table(snakemake.output.structures, computed, tables.STRUCTURES, spec=made_with)
io.write_table(snakemake.output.records, result.records, tables.DFT_RECORDS, spec=made_with)
