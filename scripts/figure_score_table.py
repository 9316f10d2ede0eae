"""Rule figure_score_table: predictions of a study to a table of its scores."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.multitask import score_table, score_table_data
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
labels = snakemake.params.labels
predictions = io.read_table(snakemake.input.predictions, tables.PREDICTIONS)
data = score_table_data(predictions, list(labels))
io.write_table(snakemake.output.data, data)
io.write_bytes(snakemake.output.figure, render(score_table(data, labels)))
