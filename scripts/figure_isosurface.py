"""Rule figure_isosurface: computed and predicted densities as surfaces that can be turned."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.figures.isosurface import page, voxels
from rhoflow.figures.shown import read_shown

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
files = snakemake.input
pairs = read_shown(files, snakemake.params.show)
io.write_arrays(snakemake.output.data, voxels(pairs))
sources = (io.read_text(files[name]) for name in ("template", "code", "shader"))
io.write_text(snakemake.output.figure, page(pairs, *sources))
