"""Densities of crystals as files that other programs open: CHGCAR and Gaussian's cube.

Both hold the density on the points of a grid that resolves its spectrum, so that reading them back
gives the spectrum again.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.cube import Cube, Grid, to_text
from rhoflow.density.match import require_density_of
from rhoflow.density.spectrum import RIM, Spectrum, to_grid
from rhoflow.molecule import Molecule

COMMENT = "predicted by rhoflow, no augmentation occupancies"
_A_LINE = 5
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Exported:
    """A density as a file's text.

    Attributes:
        text: the whole file.
        shape: points along each axis.
        n_negative: how many of them hold a negative density; near nuclei a pseudo density may.
    """

    text: str
    shape: Shape
    n_negative: int


def grid_shape(spectrum: Spectrum) -> Shape:
    """Points along each axis that hold every coefficient of a spectrum, in numbers that FFTs like.

    The sphere of g that such a grid resolves reaches ``g_max``.
    """
    enough = 2 * np.abs(spectrum.hkl).max(axis=0).astype(int) + 1
    if np.isfinite(spectrum.g_max):
        edges = np.linalg.norm(spectrum.lattice, axis=1)
        half = np.ceil(spectrum.g_max / RIM * edges / (2 * np.pi) - 0.5).astype(int)
        enough = np.maximum(enough, 2 * half + 1)
    n1, n2, n3 = (scipy.fft.next_fast_len(int(n), real=True) for n in enough)
    return int(n1), int(n2), int(n3)


def fine_shape(lattice: NDArray[np.float64], spacing: float) -> Shape:
    """Points along each axis, at most a spacing (Å) apart, in numbers that FFTs like."""
    least = np.ceil(np.linalg.norm(lattice, axis=1) / spacing).astype(int)
    n1, n2, n3 = (scipy.fft.next_fast_len(int(n), real=True) for n in least)
    return int(n1), int(n2), int(n3)


def to_chgcar(
    crystal: Crystal, spectrum: Spectrum, shape: Shape | None = None, comment: str = COMMENT
) -> Exported:
    """A CHGCAR: structure, then density times volume (electrons), x fastest, five a line.

    Args:
        crystal: its cell is that of the spectrum.
        spectrum: e/Å³.
        shape: points along each axis; None: the fewest that resolve the spectrum.
        comment: the first line.

    Raises:
        DataError: the spectrum is not finite or of another cell, or the grid is too coarse.
    """
    values, negative = _values(crystal, spectrum, shape)
    n1, n2, n3 = values.shape
    flat = _three_digits(values * crystal.volume).ravel(order="F").tolist()
    rows = [flat[i : i + _A_LINE] for i in range(0, len(flat), _A_LINE)]
    lines = [
        *_poscar(crystal, comment),
        "",
        f"{n1:5d}{n2:5d}{n3:5d}",
        *("".join(f" {v:17.11E}" for v in row) for row in rows),
    ]
    return Exported("\n".join(lines) + "\n", (n1, n2, n3), negative)


def to_cube(
    crystal: Crystal, spectrum: Spectrum, shape: Shape | None = None, comment: str = COMMENT
) -> Exported:
    """A cube file of one cell: e/bohr³ at points, the first of them at the cell's origin.

    Arguments and errors as for ``to_chgcar``. Values have six digits, positions 1e-6 bohr.
    """
    values, negative = _values(crystal, spectrum, shape)
    atoms = Molecule(crystal.material_id, crystal.symbols, crystal.frac_coords @ crystal.lattice)
    n1, n2, n3 = values.shape
    steps = crystal.lattice / np.array([[n1], [n2], [n3]])
    cube = Cube(atoms, Grid(np.zeros(3), steps, (n1, n2, n3)), values)
    text = to_text(cube, f"{crystal.material_id}, {comment}", "values at points")
    return Exported(text, (n1, n2, n3), negative)


def _values(
    crystal: Crystal, spectrum: Spectrum, shape: Shape | None
) -> tuple[NDArray[np.float64], int]:
    """(n1, n2, n3) e/Å³, and how many of them are negative."""
    require_density_of(crystal, spectrum)
    values = to_grid(spectrum, shape or grid_shape(spectrum))
    return values, int(np.count_nonzero(values < 0))


def _three_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same with zeros for what would need an exponent of three digits, which VASP misreads."""
    return np.where(np.abs(values) < 1e-99, 0, values)


def _poscar(crystal: Crystal, comment: str) -> list[str]:
    """Lines of the structure, atoms in their order: an element may come several times."""
    runs = [(symbol, len(list(group))) for symbol, group in groupby(crystal.symbols)]
    return [
        " ".join(comment.split()),
        "   1.00000000000000",
        *("".join(f" {x:21.16f}" for x in vector) for vector in crystal.lattice),
        "".join(f" {symbol:>4}" for symbol, _ in runs),
        "".join(f" {count:4d}" for _, count in runs),
        "Direct",
        *("".join(f" {x:19.16f}" for x in place) for place in crystal.frac_coords),
    ]
