"""Rule figure_funnel: the funnel of a data set to its figure."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.selection import funnel_figure
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
funnel = io.read_table(snakemake.input.funnel, tables.FUNNEL)
io.write_bytes(snakemake.output.figure, render(funnel_figure(funnel)))
