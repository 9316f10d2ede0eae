"""Rule table_oxides: the list of a data set's oxides with what was computed for each."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.oxide_list import oxide_list

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
table = oxide_list(
    io.read_tables(snakemake.input.structures, tables.STRUCTURES),
    io.read_targets(snakemake.input.targets),
    io.read_table(snakemake.input.records, tables.DFT_RECORDS),
)
io.write_table(snakemake.output.table, table, spec=snakemake.params.spec)
