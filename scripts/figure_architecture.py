"""Rule figure_architecture: the voxel network of a study, as figure and table of its layers."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.figures.architecture import architecture_figure, layer_table, voxel_slice
from rhoflow.figures.r3dvs import pick_density
from rhoflow.figures.style import render
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params = snakemake.params.spec
voxels = R3DVSSpec.model_validate(params["descriptor"])
channels, grid = len(voxels.channels), voxels.grid_shape
network = VoxelCNN(
    CNN3DSpec.model_validate(params["model"]),
    grid,
    n_channels=channels,
    n_outputs=params["outputs"],
)
table = layer_table(network, (channels, *grid), pitch=voxels.pitch)
structures = io.read_tables(snakemake.input.structures, tables.STRUCTURES)
spectra = {n: s for path in snakemake.input.densities for n, s in io.read_spectra(path).items()}
crystal = pick_density(tables.table_to_crystals(structures), spectra, snakemake.params.material)
shown = voxel_slice(spectra[crystal.material_id], voxels)
io.write_table(snakemake.output.layers, table, spec=params)
figure = architecture_figure(table, shown, title=params["label"])
io.write_bytes(snakemake.output.figure, render(figure))
