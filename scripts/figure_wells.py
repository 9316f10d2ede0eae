"""Rule figure_wells: densities of maps that are fitted anew, and what they cost the energy."""

from functools import partial
from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.evaluation.protocol import LearningCurveSpec
from rhoflow.figures.style import render
from rhoflow.figures.wells import density_errors, error_table, profiles, wells
from rhoflow.models.registry import PairSpec, fit_wells

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec, labels, output = snakemake.params.spec, snakemake.params.labels, snakemake.output
protocol = LearningCurveSpec.model_validate(spec["protocol"])
systems = io.read_wells(snakemake.input.systems)
splits = io.read_table(snakemake.input.splits, tables.SPLITS)
fits = {
    arm: partial(fit_wells, PairSpec.model_validate(pair)) for arm, pair in spec["pairs"].items()
}
lines = profiles(fits, systems, splits, protocol.train_sizes[-1])
errors = density_errors(fits, systems, splits, protocol.train_sizes)
io.write_table(output.data, lines, spec=spec)
io.write_table(output.errors, error_table(errors, labels))
io.write_bytes(output.figure, render(wells(lines, errors, labels)))
