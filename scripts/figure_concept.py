"""Rule figure_concept: a density of the run, its spots and its voxels."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.figures.r3dvs import concept, pick_density
from rhoflow.figures.style import render

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = R3DVSSpec.model_validate(snakemake.params.spec)
structures = io.read_tables(snakemake.input.structures, tables.STRUCTURES)
spectra = {name: s for path in snakemake.input.density for name, s in io.read_spectra(path).items()}
crystal = pick_density(tables.table_to_crystals(structures), spectra, snakemake.params.material)
figure = concept(crystal, spectra[crystal.material_id], spec)
io.write_bytes(snakemake.output.figure, render(figure))
