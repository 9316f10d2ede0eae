"""Rule figure_known: a data set against what is known of its oxides, as figure and tables."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.evaluation.known import KNOWN, compare_with_known, hartree_check
from rhoflow.figures.known import known_figure
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
structures = io.read_tables(snakemake.input.structures, tables.STRUCTURES)
targets = io.read_targets(snakemake.input.targets)
known = io.read_table(snakemake.input.known, KNOWN)
spectra = {n: s for path in snakemake.input.densities for n, s in io.read_spectra(path).items()}
comparison, hartree = (
    compare_with_known(structures, targets, known),
    hartree_check(targets, spectra),
)
io.write_table(snakemake.output.known, comparison)
io.write_table(snakemake.output.hartree, hartree)
figure = known_figure(comparison, hartree, targets["bulk_modulus_gpa"])
io.write_bytes(snakemake.output.figure, render(figure))
