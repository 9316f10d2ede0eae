"""Rule figure_added_tasks: predictions of a study to what targets learned beside others bring."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.multitask import added_tasks, added_tasks_data
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
predictions = io.read_table(snakemake.input.predictions, tables.PREDICTIONS)
data = added_tasks_data(predictions, snakemake.params.points)
io.write_table(snakemake.output.data, data)
io.write_bytes(snakemake.output.figure, render(added_tasks(data, snakemake.params.labels)))
