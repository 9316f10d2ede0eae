"""Rule figure_hartree: how far the Hartree energy follows from |s(g)|, as figure and tables."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.descriptors.hartree_functional import (
    HartreeFunctionalSpec,
    missing_shares,
    records_with_spectra,
    summary,
    voxel_energies,
)
from rhoflow.figures.hartree import hartree_figure
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec, output = HartreeFunctionalSpec.model_validate(snakemake.params.spec), snakemake.output
g_cut, stored = spec.voxels.g_cut, {"spec": snakemake.params.spec}
spectra = {n: s for path in snakemake.input.densities for n, s in io.read_spectra(path).items()}
targets = io.read_targets(snakemake.input.targets)
records = records_with_spectra(targets, spectra)
shares = missing_shares(records, spectra, g_cut)
energies = voxel_energies(records, spectra, spec)
scores = summary(energies)
io.write_table(output.shares, shares, **stored)
io.write_table(output.energies, energies, **stored)
io.write_table(output.scores, scores, **stored)
io.write_bytes(output.figure, render(hartree_figure(shares, energies, scores, g_cut)))
