"""Densities of molecules on uniform grids, and Gaussian's cube files of them.

Points of a uniform grid cannot follow the density at a nucleus: the 1s shell of oxygen decays
within 0.04 Å, and with points 0.2 Å apart water has 8.8 electrons. So a value here is the mean of
the density over its voxel, and all values times the volume of a voxel add up to the electrons in
the box, those of the cores with them.

The text is that of Gaussian's program ``cubegen``, in bohr and e/bohr³.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from numpy.typing import NDArray
from scipy.spatial import KDTree

from rhoflow.errors import DataError
from rhoflow.molecule import Molecule

# A density: (p, 3) positions in Å to (p,) e/Å³.
Density = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# A voxel is divided while its edge is longer than this share of its distance to a nucleus, and
# than the least edge (Å). Water at B3LYP/6-31G(2df,p) then has 9.9996 to 10.0001 electrons on
# grids of 0.15 to 0.3 Å; with twice the share, 9.96.
_SHARE = 0.5
_LEAST_EDGE = 0.01
# Points at which a density is asked for at a time.
_BLOCK = 80_000
# Corners of a cube of edge 2.
_CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))
_GAUSS = 1 / np.sqrt(3)
_A_LINE = 6


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels side by side.

    Attributes:
        origin: (3,) Å, the centre of the first voxel.
        steps: (3, 3) Å; rows lead from a voxel to the next one along each axis.
        shape: number of voxels along each axis.
    """

    origin: NDArray[np.float64]
    steps: NDArray[np.float64]
    shape: tuple[int, int, int]

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel, Å³."""
        return float(abs(np.linalg.det(self.steps)))

    def points(self) -> NDArray[np.float64]:
        """(voxels, 3) centres of all voxels in Å, the last axis fastest."""
        return self.origin + np.indices(self.shape).reshape(3, -1).T @ self.steps


@dataclass(frozen=True, eq=False)
class Cube:
    """The density of a molecule on a grid.

    Attributes:
        molecule: its atoms.
        grid: its voxels.
        values: (n1, n2, n3) e/Å³.
    """

    molecule: Molecule
    grid: Grid
    values: NDArray[np.float64]

    @property
    def n_electrons(self) -> float:
        """The integral over the grid."""
        return float(self.values.sum()) * self.grid.voxel_volume


def grid_around(molecule: Molecule, *, spacing: float = 0.2, margin: float = 3.0) -> Grid:
    """Cubic voxels in a box around a molecule.

    Args:
        molecule: any.
        spacing: edge of a voxel, Å.
        margin: least distance from an atom to the faces of the box, Å; of water's electrons
            0.001 lie beyond 2 Å, and less beyond 3 Å.
    """
    low, high = molecule.positions.min(axis=0) - margin, molecule.positions.max(axis=0) + margin
    n = np.ceil((high - low) / spacing).astype(int)
    origin = (low + high) / 2 - spacing * (n - 1) / 2
    return Grid(origin, spacing * np.eye(3), (int(n[0]), int(n[1]), int(n[2])))


def density_cube(molecule: Molecule, density: Density, grid: Grid) -> Cube:
    """The mean of a molecule's density over every voxel of a grid."""
    return Cube(molecule, grid, voxel_means(density, grid, molecule.positions))


def voxel_means(density: Density, grid: Grid, nuclei: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n1, n2, n3) mean of a density over each voxel, in the unit of the density.

    Two Gauss points along each edge, in voxels that are divided the more the nearer a nucleus is.

    Args:
        density: any function that is smooth but at nuclei.
        grid: the voxels.
        nuclei: (n, 3) Å, n at least 1.
    """
    tree = KDTree(nuclei)
    edge = float(np.linalg.norm(grid.steps, axis=1).max())
    centres, steps, share = grid.points(), grid.steps, 1.0
    owner = np.arange(len(centres))
    means = np.zeros(len(centres))
    while len(centres):
        distance, _ = tree.query(centres)
        fine = edge <= np.maximum(_LEAST_EDGE, _SHARE * distance)
        points = centres[fine, None] + _GAUSS * (_CORNERS / 2) @ steps  # (fine, 8, 3)
        values = _in_blocks(density, points.reshape(-1, 3)).reshape(-1, 8).mean(axis=1)
        means += share * np.bincount(owner[fine], values, len(means))
        centres = (centres[~fine, None] + (_CORNERS / 4) @ steps).reshape(-1, 3)
        owner = np.repeat(owner[~fine], 8)
        edge, steps, share = edge / 2, steps / 2, share / 8
    return means.reshape(grid.shape)


def _in_blocks(density: Density, points: NDArray[np.float64]) -> NDArray[np.float64]:
    blocks = [density(points[i : i + _BLOCK]) for i in range(0, len(points), _BLOCK)]
    return np.concatenate([np.zeros(0), *blocks])


# Cube files --------------------------------------------------------------------------------


def to_text(cube: Cube, title: str, values_are: str = "means over voxels") -> str:
    """A cube file: two lines of comment that state the integral, atoms, and six values a line."""
    n1, n2, n3 = cube.grid.shape
    values = cube.values.reshape(n1 * n2, n3) * Bohr**3
    # An exponent of three digits would touch the number beside it.
    values = np.where(np.abs(values) < 1e-99, 0, values)
    rows = ["".join(_row(row)) for row in values.tolist()]
    return "".join([*_header(cube, title, values_are), *rows])


def _header(cube: Cube, title: str, values_are: str) -> list[str]:
    """All lines above the values."""
    molecule, grid = cube.molecule, cube.grid
    atoms = zip(molecule.numbers.tolist(), molecule.positions / Bohr, strict=True)
    return [
        f"{' '.join(title.split())}\n",
        f"electron density in e/bohr^3, {values_are}; integral {cube.n_electrons:.6f} e\n",
        _line(molecule.n_atoms, grid.origin / Bohr),
        *(_line(n, step / Bohr) for n, step in zip(grid.shape, grid.steps, strict=True)),
        *(_line(z, [float(z), *position]) for z, position in atoms),
    ]


def _line(n: int, numbers: "NDArray[np.float64] | list[float]") -> str:
    return f"{n:5d}" + "".join(f"{x:12.6f}" for x in numbers) + "\n"


def _row(values: list[float]) -> list[str]:
    """The values along the last axis, which begin a line of their own."""
    starts = range(0, len(values), _A_LINE)
    return ["".join(f"{v:13.5E}" for v in values[i : i + _A_LINE]) + "\n" for i in starts]


def from_text(text: str, name: str) -> Cube:
    """Read a cube file of one field in bohr, from this or another program.

    Args:
        text: the file's.
        name: named in errors; the molecule's id.

    Raises:
        DataError: it is no cube file, is cut off, or holds several fields (orbitals).
    """
    try:
        return _parse(text, name)
    except ValueError as error:
        raise DataError(
            f"{name}: is no whole cube file of one density ({error}); write it anew"
        ) from error


def _parse(text: str, name: str) -> Cube:
    lines = text.split("\n", 6)
    if len(lines) < 7:
        raise ValueError(f"{len(lines)} lines")
    # A fifth number says how many values a point has: one, if it is missing.
    n_atoms, origin = _numbers(lines[2], 3 if len(lines[2].split()) < 5 else 4)
    axes = [_numbers(line, 3) for line in lines[3:6]]
    if n_atoms < 0 or origin[3:] not in ([], [1.0]):
        raise ValueError("several fields, such as orbitals")
    if any(n <= 0 for n, _ in axes):
        raise ValueError("numbers of voxels below 1, which may mean another unit than bohr")
    *rows, rest = lines[6].split("\n", n_atoms)
    if len(rows) != n_atoms:
        raise ValueError(f"{len(rows)} of {n_atoms} atoms")
    atoms = [_numbers(line, 4) for line in rows]
    positions = np.array([p[1:] for _, p in atoms]).reshape(-1, 3) * Bohr
    shape = (axes[0][0], axes[1][0], axes[2][0])
    steps = np.array([step for _, step in axes]) * Bohr
    return Cube(
        Molecule(name, tuple(_symbol(z) for z, _ in atoms), positions),
        Grid(np.array(origin[:3]) * Bohr, steps, shape),
        _values(rest, shape) / Bohr**3,
    )


def _numbers(line: str, count: int) -> tuple[int, list[float]]:
    """A whole number and so many others, as a line of the header holds them."""
    words = line.split()
    numbers = [float(word) for word in words[1:]]
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"line {line[:80]!r}: expected {count + 1} numbers")
    return int(words[0]), numbers


def _symbol(number: int) -> str:
    if not 0 < number < len(chemical_symbols):
        raise ValueError(f"an atom of atomic number {number}")
    return chemical_symbols[number]


def _values(text: str, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """(n1, n2, n3) as they stand in the file."""
    values = np.array(text.split(), dtype=np.float64)
    n = shape[0] * shape[1] * shape[2]
    if len(values) != n:
        raise ValueError(f"{len(values)} values of {n}")
    if not np.isfinite(values).all():
        raise ValueError("values that are no numbers")
    return values.reshape(shape)
