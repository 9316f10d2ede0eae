"""Rule figure_scan: predictions of a study to errors against the settings that it varies."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.scores import scan, scan_data
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
predictions = io.read_table(snakemake.input.predictions, tables.PREDICTIONS)
data = scan_data(predictions, snakemake.params.scans)
io.write_table(snakemake.output.data, data)
io.write_bytes(snakemake.output.figure, render(scan(data, snakemake.params.labels)))
