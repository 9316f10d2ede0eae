"""Rule figure_learning_curves: predictions of a study to its learning curves, with their data."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.scores import FIGURES
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
make_data, draw = FIGURES["learning_curves"]
data = make_data(io.read_table(snakemake.input.predictions, tables.PREDICTIONS))
io.write_table(snakemake.output.data, data)
io.write_bytes(snakemake.output.figure, render(draw(data, snakemake.params.labels)))
