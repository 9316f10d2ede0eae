"""Rule figure_unseen: errors in range and for elements that were not trained on."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.shown import unseen
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params = snakemake.params
predictions = io.read_table(snakemake.input.predictions, tables.PREDICTIONS)
shown = predictions[predictions["arm"].isin(params.labels)]
io.write_table(snakemake.output.data, shown)
io.write_bytes(snakemake.output.figure, render(unseen(shown, params.labels, params.elements)))
