"""Densities of molecules in periodic boxes, and of the free atoms beside them."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule as g2
from ase.units import Bohr
from numpy.typing import NDArray
from pyscf import dft
from scipy.spatial.transform import Rotation

from rhoflow.crystal import Crystal
from rhoflow.density.atoms import FormFactors
from rhoflow.density.spectrum import Spectrum, evaluate
from rhoflow.descriptors.fields import FieldSet, FieldsSpec, fields
from rhoflow.dft.atom_densities import atom_densities
from rhoflow.dft.boxed import box
from rhoflow.dft.molecules import run_molecules
from rhoflow.dft.pyscf import PySCFSpec, density
from rhoflow.dft.pyscf_density import form_factors, spectrum
from rhoflow.dft.pyscf_scf import of_orbitals
from rhoflow.evaluation.densities import OF_DENSITIES, density_error_percent, observables
from rhoflow.molecule import Molecule
from rhoflow.molecule_tables import molecules_to_table

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
def orbitals(tmp_path_factory) -> dict[str, NDArray[np.float32]]:
    """Occupied orbitals of three molecules, one of them turned too."""
    named = {"H2": of_g2("H2"), "H2O": of_g2("H2O"), "turned": of_g2("H2O", TURN)}
    rows = molecules_to_table(
        [replace(m, material_id=n) for n, m in named.items()],
        source="g2", source_ids=list(named), known=[{}] * len(named),
    )  # fmt: skip
    return run_molecules(rows, SMALL, done_folder=tmp_path_factory.mktemp("done")).orbitals


@pytest.fixture(scope="module")
def factors() -> FormFactors:
    table = atom_densities(["O", "H"], SMALL)
    values = dict(zip(table["element"], table["form_factor"], strict=True))
    return FormFactors(float(table["step_per_angstrom"].iloc[0]), values)


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


def fields_of(molecule: Molecule, occupied: NDArray[np.floating], factors: FormFactors) -> FieldSet:
    crystal = box(molecule)
    spectra = {"x": spectrum(molecule, crystal, SMALL, occupied, G_CUT)}
    return fields(spectra, {"x": crystal}, factors, FieldsSpec(g_cut=G_CUT))


@pytest.mark.parametrize("element", list(TABULATED))
def test_free_atoms_scatter_as_tabulated(element):
    found = form_factors([element], SPEC, 4 * np.pi * SINES)[0]
    assert found[0] == pytest.approx(TABULATED[element][0], abs=1e-9)
    assert found == pytest.approx(TABULATED[element], rel=0.015)


@pytest.mark.parametrize(("name", "electrons"), [("H2", 2), ("H2O", 10)])
def test_the_cell_holds_all_electrons(orbitals, name, electrons):
    molecule = of_g2(name)
    found = spectrum(molecule, box(molecule), SMALL, orbitals[name], G_CUT)
    assert found.n_electrons == pytest.approx(electrons, rel=1e-6)


def test_superposed_atoms_hold_as_many(orbitals, factors):
    made = fields_of(of_g2("H2O"), orbitals["H2O"], factors)
    assert made.spectrum(0, made.atoms).n_electrons == pytest.approx(10, rel=1e-6)
    # Atoms are near, but no more: bonds are what maps have to learn.
    error = density_error_percent(made.spectrum(0, made.atoms), made.spectrum(0))
    assert 5 < error < 20


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


def test_a_turned_molecule_has_the_turned_density(orbitals, factors):
    still, turned = of_g2("H2O"), of_g2("H2O", TURN)
    boxes = [box(m) for m in (still, turned)]
    edges = [np.linalg.norm(b.lattice, axis=1) for b in boxes]
    assert edges[0] == pytest.approx(edges[1])
    made = [fields_of(m, orbitals[n], factors) for n, m in (("H2O", still), ("turned", turned))]
    points = around(still)
    there = [
        on_points(f.spectrum(0), b, m, p)
        for f, b, m, p in zip(
            made, boxes, (still, turned), (points, TURN.apply(points)), strict=True
        )
    ]
    assert there[0] == pytest.approx(there[1], abs=2e-3)
    first, second = (
        observables(f.spectrum(0, f.atoms), f.spectrum(0), OF_DENSITIES)[1] for f in made
    )
    assert first == pytest.approx(second, rel=1e-3)
    sizes = [np.sort(np.abs(f.density)) for f in made]
    assert sizes[0] == pytest.approx(sizes[1], abs=1e-4)
