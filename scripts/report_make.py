"""Rule report_make: everything that the report's studies made, as one HTML file."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.figures.report import read_results, render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
results = read_results(snakemake.params.layout)
template = io.read_text(snakemake.input.template)
io.write_text(snakemake.output[0], render(template, results, snakemake.params.config))
