"""Rule figure_slices: computed and predicted densities on planes through atoms."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.figures.densities import slice_points, slices
from rhoflow.figures.shown import read_shown
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
pairs = read_shown(snakemake.input, snakemake.params.show)
points = slice_points(pairs)
io.write_table(snakemake.output.data, points)
io.write_bytes(snakemake.output.figure, render(slices(pairs, points)))
