"""What must not change a descriptor, applied to every vector descriptor alike."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rhoflow.crystal import Crystal
from rhoflow.descriptors.base import VectorSet
from rhoflow.descriptors.composition import CompositionSpec, composition_vectors
from rhoflow.descriptors.coulomb import CoulombSpec, coulomb_vectors
from rhoflow.descriptors.soap import SOAPSpec, soap_vectors

Compute = Callable[[list[Crystal]], VectorSet]

DESCRIPTORS: dict[str, Compute] = {
    "soap": lambda crystals: soap_vectors(crystals, SOAPSpec()),
    "soap_all_centres": lambda crystals: soap_vectors(
        crystals, SOAPSpec(centre_element=None, n_max=5, l_max=4)
    ),
    "soap_identity": lambda crystals: soap_vectors(
        crystals, SOAPSpec(similarity="identity", elements=("O", "Na", "Al", "Si"), n_max=5)
    ),
    "coulomb": lambda crystals: coulomb_vectors(crystals, CoulombSpec(accuracy=1e-10)),
    "composition": lambda crystals: composition_vectors(crystals, CompositionSpec()),
}


def triclinic() -> Crystal:
    """A crystal without symmetry, some of its atoms outside the cell."""
    frac_coords = np.array(
        [
            [0.02, 0.13, 0.97],
            [0.41, 0.55, 0.32],
            [1.71, 0.20, 0.63],
            [0.22, -0.15, 0.51],
            [0.66, 0.38, 0.95],
            [0.12, 0.44, 0.70],
            [0.83, 0.77, 0.18],
        ]
    )
    lattice = np.array([[4.6, 0.3, 0.2], [0.5, 5.4, -0.4], [1.0, 0.6, 5.9]])
    return Crystal("NaAlSiO4", lattice, ("Na", "Al", "Si", "O", "O", "O", "O"), frac_coords)


def translated(c: Crystal) -> Crystal:
    return Crystal(
        c.material_id, c.lattice, c.symbols, c.frac_coords + np.array([0.37, -1.21, 5.6])
    )


def permuted(c: Crystal) -> Crystal:
    order = np.random.default_rng(3).permutation(c.n_atoms)
    symbols = tuple(c.symbols[i] for i in order)
    return Crystal(c.material_id, c.lattice, symbols, c.frac_coords[order])


def rotated(c: Crystal) -> Crystal:
    turn = Rotation.from_euler("zyz", [0.7, 1.1, -2.3]).as_matrix()
    return Crystal(c.material_id, c.lattice @ turn.T, c.symbols, c.frac_coords)


def mirrored(c: Crystal) -> Crystal:
    return Crystal(c.material_id, c.lattice * [1, 1, -1], c.symbols, c.frac_coords)


def sheared(c: Crystal) -> Crystal:
    """The same crystal, described by a long slanted cell of the same volume."""
    shear = np.array([[1, 2, 0], [0, 1, -2], [0, 0, 1]])
    frac_coords = c.frac_coords @ np.linalg.inv(shear)
    return Crystal(c.material_id, shear @ c.lattice, c.symbols, frac_coords)


def doubled(c: Crystal) -> Crystal:
    frac_coords = np.concatenate([c.frac_coords, c.frac_coords + np.array([1, 0, 0])]) / [2, 1, 1]
    return Crystal(c.material_id, c.lattice * [[2], [1], [1]], c.symbols * 2, frac_coords)


def strained(c: Crystal) -> Crystal:
    return Crystal(c.material_id, c.lattice * 1.01, c.symbols, c.frac_coords)


CHANGES = (translated, permuted, rotated, mirrored, sheared, doubled)


def largest_change(compute: Compute, change: Callable[[Crystal], Crystal]) -> float:
    """Largest change of a component, relative to the longest component."""
    before, after = (compute([c]).values[0] for c in (triclinic(), change(triclinic())))
    if len(before) != len(after):
        return np.inf
    return float(np.abs(after - before).max() / np.abs(before).max())


CASES = [
    pytest.param(name, change, id=f"{name}-{change.__name__}")
    for name in DESCRIPTORS
    for change in CHANGES
    if (name, change) != ("coulomb", doubled)  # depends on the cell: tested below
]


@pytest.mark.parametrize(("name", "change"), CASES)
def test_descriptor_does_not_change(name, change):
    assert largest_change(DESCRIPTORS[name], change) < 1e-8


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_strain_changes_the_descriptor(name):
    """A descriptor that never changes would pass the tests above."""
    assert largest_change(DESCRIPTORS[name], strained) > 1e-4


def test_coulomb_matrix_depends_on_the_cell():
    """The paper names this weakness: 1x1x1 and 2x1x1 of one solid differ."""
    single, double = coulomb_vectors([triclinic(), doubled(triclinic())], CoulombSpec()).values
    assert np.abs(single - double).max() > 0.05 * np.abs(double).max()
    assert np.count_nonzero(single) == 7
    assert np.count_nonzero(double) == 14
