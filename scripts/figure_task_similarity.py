"""Rule figure_task_similarity: targets of a data set to their rank correlations and tree."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.figures.multitask import task_similarity, task_similarity_data
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
targets = io.read_targets(snakemake.input.targets)
data = task_similarity_data(targets[snakemake.params.targets])
io.write_table(snakemake.output.data, data)
io.write_bytes(snakemake.output.figure, render(task_similarity(data, snakemake.params.groups)))
