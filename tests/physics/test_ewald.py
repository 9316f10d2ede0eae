"""Ewald sums against tabulated lattice constants and independent implementations."""

import numpy as np
import pytest
from ase.data import atomic_numbers
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Lattice, Structure

from rhoflow.crystal import Crystal
from rhoflow.density.ewald import COULOMB_EV_ANGSTROM, ion_energy
from rhoflow.descriptors.coulomb import CoulombSpec, coulomb_matrix
from rhoflow.errors import DataError

FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
BCC = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
SC = np.eye(3)


def crystal(lattice, symbols, frac_coords) -> Crystal:
    return Crystal("test", np.asarray(lattice, float), tuple(symbols), np.asarray(frac_coords))


def random_crystal(n_atoms: int = 6) -> Crystal:
    rng = np.random.default_rng(7)
    lattice = np.array([[4.1, 0.3, -0.2], [1.5, 5.2, 0.4], [-0.7, 0.9, 6.3]])
    return crystal(lattice, ["O"] * n_atoms, rng.random((n_atoms, 3)))


# Madelung constants by nearest distance and the charges of the ions. Fluorite is exactly the sum
# of caesium chloride's and twice zincblende's, whose sublattices it joins.
CSCL, ZINCBLENDE = 1.762674773071, 1.638055053388
MADELUNG = {
    "rocksalt": (FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [1, -1], 0.5, 1.747564594633),
    "caesium chloride": (SC, [[0, 0, 0], [0.5, 0.5, 0.5]], [1, -1], np.sqrt(3) / 2, CSCL),
    "zincblende": (FCC, [[0, 0, 0], [0.25] * 3], [1, -1], np.sqrt(3) / 4, ZINCBLENDE),
    "fluorite": (
        FCC,
        [[0, 0, 0], [0.25] * 3, [0.75] * 3],
        [2, -1, -1],
        np.sqrt(3) / 4,
        CSCL + 2 * ZINCBLENDE,
    ),
}


@pytest.mark.parametrize("name", MADELUNG)
def test_madelung_constants(name):
    cell, frac_coords, charges, nearest, expected = MADELUNG[name]
    edge = 5.3
    energy = ion_energy(crystal(edge * cell, ["O"] * len(charges), frac_coords), charges)
    madelung = -energy * nearest * edge / COULOMB_EV_ANGSTROM
    assert madelung == pytest.approx(expected, abs=2e-12 * len(charges) + 1e-12)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [(BCC, -0.895929255682), (FCC, -0.895873615195), (SC, -0.8800594421)],
    ids=["bcc", "fcc", "sc"],
)
def test_wigner_crystal_in_its_background(cell, expected):
    """Energy per electron in e²/r_s: the classical energies of the cubic Wigner crystals."""
    lattice = 3.7 * cell
    radius = (3 * abs(np.linalg.det(lattice)) / (4 * np.pi)) ** (1 / 3)
    energy = ion_energy(crystal(lattice, ["H"], [[0.2, 0.3, 0.4]]), [-1])
    assert energy * radius / COULOMB_EV_ANGSTROM == pytest.approx(expected, abs=2e-11)


@pytest.mark.parametrize("neutral", [True, False], ids=["neutral", "charged"])
def test_agrees_with_pymatgen(neutral):
    cell = random_crystal()
    charges = np.array([2.0, -1.0, 3.0, -2.0, -1.5, -0.5])
    charges = charges if neutral else charges + 1.2
    structure = Structure(Lattice(cell.lattice), cell.symbols, cell.frac_coords)
    structure.add_site_property("charge", list(charges))
    structure.add_oxidation_state_by_site(list(charges))
    reference = EwaldSummation(structure, acc_factor=14)
    assert ion_energy(cell, charges) == pytest.approx(reference.total_energy, abs=1e-6)


def test_agrees_with_the_coulomb_matrix_of_dscribe():
    cell = random_crystal()
    cell = crystal(cell.lattice, ["Ti", "O", "O", "Sr", "H", "Al"], cell.frac_coords)
    nuclei = [atomic_numbers[s] for s in cell.symbols]
    matrix = coulomb_matrix(cell, CoulombSpec(accuracy=1e-13))
    expected = np.triu(matrix).sum() * COULOMB_EV_ANGSTROM
    assert ion_energy(cell, nuclei) == pytest.approx(expected, rel=1e-11)


def test_supercell_has_as_many_times_the_energy():
    cell = random_crystal()
    charges = np.array([2.0, -1.0, 3.0, -2.0, -1.5, 0.5])
    doubled = crystal(
        cell.lattice * [[2], [1], [1]],
        cell.symbols * 2,
        np.concatenate([cell.frac_coords, cell.frac_coords + np.array([1, 0, 0])]) / [2, 1, 1],
    )
    assert ion_energy(doubled, np.tile(charges, 2)) == pytest.approx(
        2 * ion_energy(cell, charges), rel=1e-11
    )


def test_choice_of_cell_and_origin_do_not_matter():
    cell = random_crystal()
    charges = np.array([2.0, -1.0, 3.0, -2.0, -1.5, 0.5])
    shear = np.array([[1, 3, 0], [0, 1, -2], [0, 0, 1]])
    lattice_shifts = np.random.default_rng(2).integers(-9, 10, size=(6, 3))
    moved = cell.frac_coords + np.array([0.3, -4.2, 11.7]) + lattice_shifts
    sheared = crystal(shear @ cell.lattice, cell.symbols, moved @ np.linalg.inv(shear))
    assert ion_energy(sheared, charges) == pytest.approx(ion_energy(cell, charges), rel=1e-11)


def test_layered_cell_keeps_its_accuracy():
    """A flat cell needs many images along the short vectors and few along the long one."""
    flat = crystal(np.diag([2.1, 2.3, 31.0]), ["O"] * 2, [[0, 0, 0.1], [0.4, 0.3, 0.33]])
    block = np.array([(i, j, 0) for i in range(7) for j in range(7)])
    cubic_like = crystal(
        flat.lattice * [[7], [7], [1]],
        ["O"] * 98,
        np.concatenate([(flat.frac_coords + shift) / [7, 7, 1] for shift in block]),
    )
    assert ion_energy(cubic_like, np.tile([1.0, -0.7], 49)) == pytest.approx(
        49 * ion_energy(flat, [1.0, -0.7]), rel=1e-11
    )


@pytest.mark.parametrize("charges", [[1.0, -1.0], [[1.0] * 6], [np.nan] * 6])
def test_charges_that_do_not_fit_are_refused(charges):
    with pytest.raises(DataError, match="test: got charges of shape"):
        ion_energy(random_crystal(), charges)


def test_coincident_atoms_are_refused():
    frac_coords = [[0.1, 0.2, 0.3], [0.6, 0.5, 0.5], [1.1, -0.8, 0.3]]
    with pytest.raises(DataError, match="atoms 0 and 2 lie at the same place"):
        ion_energy(crystal(4 * np.eye(3), ["O"] * 3, frac_coords), [1, 1, 1])


def test_atoms_that_nearly_coincide_have_an_energy():
    """Two close charges: one of their sum, their repulsion 1/d, and their background's 2πd²/3V."""
    edge, d = 4.0, 0.05
    pair = crystal(edge * SC, ["O"] * 2, [[0.1, 0.2, 0.3], [0.1 + d / edge, 0.2, 0.3]])
    merged = ion_energy(crystal(edge * SC, ["O"], [[0.1, 0.2, 0.3]]), [2])
    expected = merged + COULOMB_EV_ANGSTROM * (1 / d + 2 * np.pi * d**2 / (3 * edge**3))
    assert ion_energy(pair, [1, 1]) == pytest.approx(expected, abs=1e-5)
