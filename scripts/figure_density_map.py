"""Rule figure_density_map: the densities of a network and of an engine as a map and as cubes."""

from functools import partial
from typing import TYPE_CHECKING

from rhoflow import io, molecule_tables, tables
from rhoflow.density.cube import to_text
from rhoflow.descriptors.geometry import molecule_set
from rhoflow.dft import pyscf
from rhoflow.dft.orbitals import read_orbitals
from rhoflow.figures.molecules import compared, density_map, mapped_molecule
from rhoflow.figures.style import render
from rhoflow.models.registry import PairSpec, restore

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec, inputs, output = snakemake.params.spec, snakemake.input, snakemake.output
network = restore(PairSpec.model_validate(spec["pair"]), io.read_arrays(inputs.network)[0])
settings = pyscf.SPEC.model_validate(spec["engine"])
orbitals = read_orbitals(inputs.orbitals)
molecules = molecule_tables.table_to_molecules(io.read_table(inputs.structures, tables.MOLECULES))
splits = io.read_table(inputs.splits, tables.SPLITS)
molecule = mapped_molecule(molecules, splits, orbitals, spec["material"])
alone = molecule_set([molecule])
shown = compared(
    molecule,
    lambda points: network.density(alone, points),
    partial(pyscf.density, molecule, settings, orbitals[molecule.material_id]),
    network.field_density(alone).electrons.sum(),
)
labels = (spec["label"], f"PySCF {settings.functional}")
io.write_text(output.model, to_text(shown.model, f"{molecule.material_id}, {labels[0]}"))
io.write_text(output.engine, to_text(shown.reference, f"{molecule.material_id}, {labels[1]}"))
io.write_table(output.data, shown.points)
figure = density_map(shown.points, shown.atoms, shown.totals, labels)
io.write_bytes(output.figure, render(figure))
