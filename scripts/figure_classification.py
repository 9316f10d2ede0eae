"""Rule figure_classification: accuracies, and t-SNE of the features of the first repeat."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.classification import draw, project
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
accuracies = io.read_table(snakemake.input.scores, tables.ACCURACIES)
features, _ = io.read_arrays(snakemake.input.features[0])
maps = {int(replicas): project(values) for replicas, values in features.items()}
io.write_bytes(snakemake.output.figure, render(draw(accuracies, maps, snakemake.params.labels)))
