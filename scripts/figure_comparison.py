"""Rule figure_comparison: two data sets of the same structures, as figure and table."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.evaluation.comparison import compare
from rhoflow.figures.comparison import comparison_figure
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
files = snakemake.input
table = compare(
    io.read_table(files.structures, tables.STRUCTURES),
    io.read_targets(files.targets),
    io.read_table(files.reference_structures, tables.STRUCTURES),
    io.read_targets(files.reference_targets),
)
io.write_table(snakemake.output.data, table)
io.write_bytes(snakemake.output.figure, render(comparison_figure(table)))
