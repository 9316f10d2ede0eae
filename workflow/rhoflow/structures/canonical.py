"""One cell for every crystal: primitive, Niggli-reduced, in standard orientation."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Element

from rhoflow.errors import DataError

_DECIMALS = 10
_NIGGLI_EPS = 1e-5

# Conventional axes to primitive ones, by the letter of the centring (rows: primitive vectors).
_CENTRING = {
    "P": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}


@dataclass(frozen=True, eq=False)
class PrimitiveCell:
    """A crystal in a primitive cell.

    Attributes:
        lattice: (3, 3) Å, rows.
        frac_coords: (n_atoms, 3).
        numbers: (n_atoms,) atomic numbers.
        spacegroup: number in the International Tables.
    """

    lattice: NDArray[np.float64]
    frac_coords: NDArray[np.float64]
    numbers: NDArray[np.int64]
    spacegroup: int


class CanonicalCell(PrimitiveCell):
    """A primitive cell in standard form.

    The cell is Niggli-reduced and the lattice lower triangular with a positive diagonal: a lies
    along x, b in the xy plane, and the axes are right-handed. Coordinates lie in [0, 1). Atoms are
    sorted by electronegativity, then atomic number, then coordinates.
    """


def canonical_cell(
    lattice: NDArray[np.float64],
    frac_coords: NDArray[np.float64],
    numbers: NDArray[np.int64],
    *,
    symprec: float,
) -> CanonicalCell:
    """Reduce a crystal to its canonical cell; positions become exactly symmetric.

    Args:
        lattice: (3, 3) Å, rows; either handedness.
        frac_coords: (n_atoms, 3).
        numbers: (n_atoms,) atomic numbers.
        symprec: distance in Å within which positions count as symmetric.

    Raises:
        DataError: no symmetry is found, as for overlapping atoms.
    """
    return standard_orientation(primitive_cell(lattice, frac_coords, numbers, symprec=symprec))


def primitive_cell(
    lattice: NDArray[np.float64],
    frac_coords: NDArray[np.float64],
    numbers: NDArray[np.int64],
    *,
    symprec: float,
) -> PrimitiveCell:
    """A primitive cell with exactly symmetric lattice and positions; arguments as above.

    Raises:
        DataError: no symmetry is found, as for overlapping atoms.
    """
    lattice, frac_coords = _right_handed(lattice, frac_coords)
    dataset = spglib.get_symmetry_dataset(
        (lattice.tolist(), frac_coords.tolist(), numbers.tolist()), symprec=symprec
    )
    if dataset is None:
        raise DataError("no primitive cell found (atoms that overlap, or a degenerate lattice)")
    axes = _CENTRING[dataset.international[0]]
    # Of the atoms that lattice translations make equal, the first stands for all.
    _, first = np.unique(dataset.std_mapping_to_primitive, return_index=True)
    return PrimitiveCell(
        axes @ dataset.std_lattice,
        dataset.std_positions[first] @ np.linalg.inv(axes),
        np.asarray(dataset.std_types[first], dtype=np.int64),
        int(dataset.number),
    )


def standard_orientation(cell: PrimitiveCell) -> CanonicalCell:
    """The Niggli-reduced form of a primitive cell, upright, with its atoms in a fixed order.

    Programs that draw or grid a cell expect axes in positive directions, and databases do not
    deliver them: an orthorhombic cell diag(-a, -b, c) comes out as diag(a, b, c), its axes in
    ascending order.

    Raises:
        DataError: the lattice is degenerate.
    """
    reduced = spglib.niggli_reduce(cell.lattice, eps=_NIGGLI_EPS)
    if reduced is None:
        raise DataError("no Niggli cell found (degenerate lattice)")
    change = np.round(reduced @ np.linalg.inv(cell.lattice))  # integers: new axes in the old ones
    lattice, coords = _right_handed(change @ cell.lattice, cell.frac_coords @ np.linalg.inv(change))
    coords = np.round(coords % 1.0, _DECIMALS) % 1.0
    # Electropositive first, as formulas are written and POSCAR files sorted.
    electronegativity = np.array([_electronegativity(z) for z in cell.numbers.tolist()])
    order = np.lexsort((coords[:, 2], coords[:, 1], coords[:, 0], cell.numbers, electronegativity))
    # The Cholesky factor of the metric tensor is the lattice in standard orientation.
    upright = np.asarray(np.linalg.cholesky(lattice @ lattice.T), dtype=np.float64)
    return CanonicalCell(
        np.round(upright, _DECIMALS), coords[order], cell.numbers[order], cell.spacegroup
    )


@cache
def _electronegativity(number: int) -> float:
    """Pauling's scale; the noble gases that it leaves out come last."""
    element = Element.from_Z(number)
    return 9.0 if element.is_noble_gas else element.X


def _right_handed(
    lattice: NDArray[np.float64], frac_coords: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same crystal on right-handed axes: all three turned round where they are left-handed."""
    if np.linalg.det(lattice) < 0:
        return -lattice, -frac_coords
    return lattice, frac_coords
