"""Rule figure_scf_starts: how many iterations a predicted density saves."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.shown import scf_starts, starts_table
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
runs = io.read_table(snakemake.input.runs, tables.START_RUNS)
densities = io.read_table(snakemake.input.densities, tables.PREDICTED_DENSITIES)
table = starts_table(runs, densities)
io.write_table(snakemake.output.data, runs, tables.START_RUNS)
io.write_text(snakemake.output.table, table.to_csv(index=False))
io.write_bytes(snakemake.output.figure, render(scf_starts(runs)))
