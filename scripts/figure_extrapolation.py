"""Rule figure_extrapolation: predictions of a study to errors against the number of atoms."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.figures.molecules import extrapolation, extrapolation_data
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params = snakemake.params
structures = io.read_table(snakemake.input.structures, tables.NAMES)
sizes = dict(zip(structures["material_id"], structures["n_atoms"], strict=True))
data = extrapolation_data(io.read_table(snakemake.input.predictions, tables.PREDICTIONS), sizes)
io.write_table(snakemake.output.data, data)
figure = extrapolation(data, params.labels, params.train_max_atoms)
io.write_bytes(snakemake.output.figure, render(figure))
