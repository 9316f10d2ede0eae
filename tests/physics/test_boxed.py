"""Densities of molecules in periodic boxes, and of the free atoms beside them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ase.build import molecule as g2
from ase.units import Bohr
from numpy.typing import NDArray
from pyscf import dft
from scipy.spatial.transform import Rotation

from rhoflow.crystal import Crystal
from rhoflow.density.atoms import FormFactors
from rhoflow.density.spectrum import Spectrum, evaluate
from rhoflow.density.store import DensitySpec
from rhoflow.descriptors.fields import FieldSet, FieldsSpec, fields
from rhoflow.dft.atom_densities import atom_densities
from rhoflow.dft.boxed import box, boxed
from rhoflow.dft.molecules import run_molecules
from rhoflow.dft.pyscf import PySCFSpec, density
from rhoflow.dft.pyscf_density import core_electrons, form_factors, spectrum
from rhoflow.dft.pyscf_scf import of_orbitals
from rhoflow.evaluation.densities import OF_DENSITIES, density_error_percent, observables
from rhoflow.molecule import Molecule
from rhoflow.molecule_tables import molecules_to_table
from rhoflow.tables import table_to_crystals

pytestmark = pytest.mark.dft

SPEC = PySCFSpec()
SMALL = PySCFSpec(basis="6-31g", density_fitting=False, energy_tolerance_ev=1e-7, grid_level=3)
TURN = Rotation.from_rotvec([0.4, -1.1, 0.7])
G_CUT = 9.0
# Standard deviation of what densities are smeared by, Å: no wave beyond 12 1/Å is left.
SMEARED = 0.4
# International Tables for Crystallography C, table 6.1.1.1: scattering factors at sin θ/λ (1/Å).
SINES = np.array([0.0, 0.05, 0.1, 0.2, 0.3])
TABULATED = {
    "He": [2.0, 1.957, 1.832, 1.452, 1.058],
    "C": [6.0, 5.760, 5.126, 3.581, 2.502],
    "N": [7.0, 6.781, 6.203, 4.600, 3.241],
    "O": [8.0, 7.796, 7.250, 5.634, 4.094],
}


def of_g2(name: str, turn: Rotation | None = None) -> Molecule:
    atoms = g2(name)
    positions = atoms.positions if turn is None else turn.apply(atoms.positions)
    return Molecule(name, tuple(atoms.get_chemical_symbols()), positions)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Three molecules, one of them turned too."""
    named = {n: replace(of_g2(n), material_id=n) for n in ("H2", "H2O")}
    named["turned"] = replace(of_g2("H2O", TURN), material_id="turned")
    named["Ne"] = Molecule("Ne", ("Ne",), np.array([[0.3, 0.2, 0.1]]))
    known = [{}] * len(named)
    return molecules_to_table(list(named.values()), source="g2", source_ids=named, known=known)


@pytest.fixture(scope="module")
def orbitals(rows, tmp_path_factory) -> dict[str, NDArray[np.float32]]:
    return run_molecules(rows, SMALL, done_folder=tmp_path_factory.mktemp("done")).orbitals


@pytest.fixture(scope="module")
def made(rows, orbitals) -> FieldSet:
    """Fields of the molecules in their boxes, in their order."""
    found = boxed(rows, orbitals, SMALL, DensitySpec(g_store=G_CUT))
    crystals = {c.material_id: c for c in table_to_crystals(found.structures)}
    table = atom_densities(["O", "H", "Ne"], SMALL)
    values = dict(zip(table["element"], table["form_factor"], strict=True))
    factors = FormFactors(float(table["step_per_angstrom"].iloc[0]), values)
    return fields(found.spectra, crystals, factors, FieldsSpec(g_cut=G_CUT))


def on_points(
    spectrum: Spectrum, crystal: Crystal, molecule: Molecule, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Smeared density of the box at points that are given where the molecule is."""
    moved = crystal.frac_coords[0] @ crystal.lattice - molecule.positions[0]
    damped = np.exp(-((spectrum.g_vectors() ** 2).sum(axis=1)) * SMEARED**2 / 2)
    soft = replace(spectrum, coefficients=spectrum.coefficients * damped)
    return evaluate(soft, points + moved)


def by_quadrature(
    molecule: Molecule, occupied: NDArray[np.floating], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The molecule's own density, smeared alike: an integral over PySCF's grid."""
    grid = dft.Grids(of_orbitals(molecule, SMALL, occupied)[0])
    grid.level, grid.prune = 5, None
    grid.build()
    places, weights = grid.coords * Bohr, grid.weights * Bohr**3
    electrons = weights * density(molecule, SMALL, occupied, places)
    apart2 = ((points[:, None] - places) ** 2).sum(axis=2)
    return np.exp(-apart2 / (2 * SMEARED**2)) @ electrons / (2 * np.pi * SMEARED**2) ** 1.5


def around(molecule: Molecule) -> NDArray[np.float64]:
    """(n, 3) nuclei, and points within 1.5 Å of the middle."""
    rng = np.random.default_rng(5)
    points = molecule.positions.mean(axis=0) + rng.uniform(-1.5, 1.5, (20, 3))
    return np.concatenate([molecule.positions, points])


def atoms_beside(made: FieldSet, at: int) -> Spectrum:
    """Free atoms where those of a molecule are."""
    return made.spectrum(at, made.atoms[made.rows(at)])


@pytest.mark.parametrize("element", list(TABULATED))
def test_free_atoms_scatter_as_tabulated(element):
    valence, core = form_factors([element], SPEC, 4 * np.pi * SINES)[0]
    in_core = 0 if element == "He" else 2
    assert core[0] == pytest.approx(in_core, abs=1e-9)
    assert core_electrons([element]) == in_core
    assert valence[0] == pytest.approx(TABULATED[element][0] - in_core, abs=1e-9)
    assert valence + core == pytest.approx(TABULATED[element], rel=0.015)


@pytest.mark.parametrize(("name", "electrons"), [("H2", 2), ("H2O", 10)])
def test_the_cell_holds_all_electrons(orbitals, name, electrons):
    molecule = of_g2(name)
    found = spectrum(molecule, box(molecule), SMALL, orbitals[name], G_CUT)
    assert found.n_electrons == pytest.approx(electrons, rel=1e-6)


@pytest.mark.parametrize(("name", "electrons"), [("H2", 2), ("H2O", 8), ("Ne", 8)])
def test_without_cores_as_many_as_in_superposed_atoms(made, name, electrons):
    at = made.ids.index(name)
    assert made.spectrum(at).n_electrons == pytest.approx(electrons, rel=1e-6)
    assert atoms_beside(made, at).n_electrons == pytest.approx(electrons, rel=1e-6)


def test_a_molecule_of_one_atom_is_that_atom(made):
    """Transforms of pairs of functions on one side, an integral over a grid on the other."""
    at = made.rows(made.ids.index("Ne"))
    assert made.density[at] == pytest.approx(made.atoms[at], abs=1e-5)
    assert np.abs(made.density[at]).max() > 0.1


def test_atoms_are_near_to_a_molecule_but_no_more(made):
    at = made.ids.index("H2O")
    error = density_error_percent(atoms_beside(made, at), made.spectrum(at))
    assert 10 < error < 30


@pytest.mark.parametrize("name", ["H2", "H2O"])
def test_the_sum_of_its_waves_is_the_density_of_the_orbitals(orbitals, name):
    """In a box so wide that no image is seen; smeared, so that the sum ends."""
    molecule = of_g2(name)
    crystal = box(molecule, margin=4.0)
    points = around(molecule)
    found = spectrum(molecule, crystal, SMALL, orbitals[name], 12.0)
    right = by_quadrature(molecule, orbitals[name], points)
    assert right.max() > 0.5
    assert on_points(found, crystal, molecule, points) == pytest.approx(right, abs=1e-4)


def test_a_narrow_box_holds_the_images_too(orbitals):
    """In the middle of a face an image is as near as the molecule."""
    molecule = of_g2("H2")
    crystal = box(molecule, margin=1.5)
    face = molecule.positions.mean(axis=0) + crystal.lattice[:1] / 2
    found = spectrum(molecule, crystal, SMALL, orbitals["H2"], 12.0)
    alone = by_quadrature(molecule, orbitals["H2"], face)
    beside = by_quadrature(molecule, orbitals["H2"], face + crystal.lattice[1:])
    behind = by_quadrature(molecule, orbitals["H2"], face - crystal.lattice[1:])
    expected = 2 * (alone + beside.sum() + behind.sum())
    assert beside.sum() < alone[0] / 5
    assert on_points(found, crystal, molecule, face) == pytest.approx(expected, rel=0.01)


def test_a_turned_molecule_has_the_turned_density(made):
    molecules = {"H2O": of_g2("H2O"), "turned": of_g2("H2O", TURN)}
    still, turned = (made.ids.index(name) for name in molecules)
    edges = np.linalg.norm(made.lattices, axis=2)
    assert edges[still] == pytest.approx(edges[turned])
    points = around(molecules["H2O"])
    first, second = (
        on_points(made.spectrum(at), box(molecule), molecule, places)
        for at, molecule, places in zip(
            (still, turned), molecules.values(), (points, TURN.apply(points)), strict=True
        )
    )
    assert first == pytest.approx(second, abs=1e-3)
    first, second = (
        observables(atoms_beside(made, at), made.spectrum(at), OF_DENSITIES)[1]
        for at in (still, turned)
    )
    assert first == pytest.approx(second, rel=1e-3)
    first, second = (np.sort(np.abs(made.density[made.rows(at)])) for at in (still, turned))
    assert first == pytest.approx(second, abs=1e-4)
