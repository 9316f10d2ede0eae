"""Rule dft_prepare: VASP's inputs of one shard, to be run elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.dft.prepare import prepare_crystals
from rhoflow.dft.vasp import VaspSpec

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = VaspSpec.model_validate(snakemake.params.spec)
structures = io.read_table(snakemake.input.structures, tables.STRUCTURES)
rows = tables.shard_rows(structures, snakemake.wildcards.shard, snakemake.params.shard_size)
prepare_crystals(tables.table_to_crystals(rows), spec, Path(snakemake.output.inputs))
