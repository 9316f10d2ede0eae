"""The canonical cell: one crystal, one cell, whatever the cell it came in."""

import numpy as np
import pytest
from ase.data import atomic_numbers
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from rhoflow.errors import DataError
from rhoflow.structures.canonical import CanonicalCell, canonical_cell


def canonical(structure: Structure) -> CanonicalCell:
    numbers = np.array([site.specie.Z for site in structure])
    return canonical_cell(structure.lattice.matrix, structure.frac_coords, numbers, symprec=0.01)


def to_structure(cell: CanonicalCell) -> Structure:
    return Structure(cell.lattice, cell.numbers.tolist(), cell.frac_coords)


def rutile() -> Structure:
    lattice = Lattice.tetragonal(4.594, 2.959)
    return Structure.from_spacegroup(
        "P4_2/mnm", lattice, ["Ti", "O"], [[0, 0, 0], [0.3053, 0.3053, 0]]
    )


def olivine() -> Structure:
    species = ["Mg", "Mg", "Si", "O", "O", "O"]
    coords = [
        [0, 0, 0],
        [0.2774, 0.25, 0.9915],
        [0.0940, 0.25, 0.4262],
        [0.0919, 0.25, 0.7657],
        [0.4474, 0.25, 0.2215],
        [0.1628, 0.0331, 0.2777],
    ]
    return Structure.from_spacegroup("Pnma", Lattice.orthorhombic(10.192, 5.978, 4.752), species,
                                     coords)  # fmt: skip


def quartz() -> Structure:
    return Structure.from_spacegroup(
        "P3_221",
        Lattice.hexagonal(4.913, 5.405),
        ["Si", "O"],
        [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]],
    )


def rocksalt() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def corundum() -> Structure:
    return Structure.from_spacegroup(
        "R-3c", Lattice.hexagonal(4.7587, 12.9929), ["Al", "O"], [[0, 0, 0.3522], [0.3064, 0, 0.25]]
    )


CRYSTALS = [
    (rutile, 6, 136),
    (olivine, 28, 62),
    (quartz, 9, 154),
    (rocksalt, 2, 225),
    (corundum, 10, 167),
]


@pytest.mark.parametrize(("crystal", "n_atoms", "spacegroup"), CRYSTALS)
def test_standard_form(crystal, n_atoms, spacegroup):
    cell = canonical(crystal())

    assert len(cell.numbers) == n_atoms
    assert cell.spacegroup == spacegroup
    assert (np.diag(cell.lattice) > 0).all()
    assert (np.triu(cell.lattice, 1) == 0).all()
    assert cell.frac_coords.min() >= 0
    assert cell.frac_coords.max() < 1
    niggli = Lattice(cell.lattice).get_niggli_reduced_lattice()
    assert np.allclose(niggli.abc, Lattice(cell.lattice).abc)


@pytest.mark.parametrize(("crystal", "n_atoms", "spacegroup"), CRYSTALS)
def test_same_crystal(crystal, n_atoms, spacegroup):
    original = crystal()
    matcher = StructureMatcher(scale=False, ltol=1e-3, stol=1e-3, angle_tol=0.01)

    assert matcher.fit(original, to_structure(canonical(original)))


@pytest.mark.parametrize(("crystal", "n_atoms", "spacegroup"), CRYSTALS)
@pytest.mark.parametrize(
    "change",
    [
        np.diag([2, 1, 1]),
        np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]),  # sheared
        np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]]),  # left-handed
        np.diag([-1, -1, 1]),
    ],
)
def test_other_cells_give_the_same_lattice_and_space_group(crystal, n_atoms, spacegroup, change):
    original = crystal()
    other = original.copy()
    other.make_supercell(change, to_unit_cell=False)
    turn = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    other = Structure(other.lattice.matrix @ turn, other.species, other.frac_coords + 0.137)

    first, second = canonical(original), canonical(other)

    assert np.allclose(first.lattice, second.lattice, atol=1e-6)
    assert np.array_equal(first.numbers, second.numbers)
    assert second.spacegroup == spacegroup


def test_negative_axes_come_out_positive():
    original = olivine()
    flipped = Structure(
        original.lattice.matrix @ np.diag([-1, -1, 1]), original.species, original.frac_coords
    )

    cell = canonical(flipped)

    assert np.allclose(cell.lattice, np.diag([4.752, 5.978, 10.192]))


def test_chirality_is_kept_from_a_left_handed_cell():
    right = quartz()
    # The same atoms, their axes listed in another order: a left-handed basis, no mirror.
    left = Structure(
        right.lattice.matrix[[1, 0, 2]], right.species, right.frac_coords[:, [1, 0, 2]]
    )
    mirror = Structure(-right.lattice.matrix, right.species, right.frac_coords)

    assert canonical(left).spacegroup == 154
    assert canonical(mirror).spacegroup == 152


def test_noise_below_symprec_is_removed():
    noisy = rutile()
    noisy.perturb(1e-4)

    cell = canonical(noisy)

    assert cell.spacegroup == 136
    is_ti = cell.numbers == atomic_numbers["Ti"]
    separation = np.abs(np.diff(cell.frac_coords[is_ti], axis=0)) % 1.0
    assert np.allclose(separation, 0.5, atol=1e-9)


def test_cations_come_before_oxygen():
    symbols = to_structure(canonical(olivine())).labels

    assert symbols == ["Mg"] * 8 + ["Si"] * 4 + ["O"] * 16


def test_overlapping_atoms_are_an_error():
    overlapping = Structure(Lattice.cubic(4.0), ["Mg", "Mg"], [[0, 0, 0], [0, 0, 0]])

    with pytest.raises(DataError, match="overlap"):
        canonical(overlapping)
