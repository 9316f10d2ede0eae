"""Rule report_make: everything that the report's studies made, as one HTML file."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.report import DatasetResults, StudyResults, render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
layout = snakemake.params.layout
studies = [
    StudyResults(
        name=name,
        figures={f: io.read_text(path) for f, path in study["figures"].items()},
        captions={f: io.read_text(path) for f, path in study["captions"].items()},
        scores=io.read_table(study["scores"], tables.SCORES),
        claims=io.read_table(study["claims"], tables.CLAIMS),
    )
    for name, study in layout["studies"].items()
]
datasets = [
    DatasetResults(
        name=name,
        funnel=io.read_table(data["funnel"], tables.FUNNEL),
        records=io.read_table(data["records"], tables.DFT_RECORDS),
        cost=io.read_tables(data["cost"], tables.DFT_COST),
    )
    for name, data in layout["datasets"].items()
]
template = io.read_text(snakemake.input.template)
io.write_text(snakemake.output[0], render(template, studies, datasets, snakemake.params.config))
