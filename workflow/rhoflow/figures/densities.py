"""Predicted densities of crystals beside true ones, on planes through atoms."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, reciprocal_lattice
from rhoflow.errors import DataError
from rhoflow.figures.style import PAGE_INCH, house_style

# Planes are sought up to this Miller index; atoms nearer to one than this lie on it, Å.
_LARGEST_INDEX = 2
_ON_PLANE = 0.05
# Pictures are squares of so many points and so many Å at least and at most.
_POINTS = 201
_SIDES = (6.0, 10.0)
# Colours end at this quantile: few points beside the nuclei would take all of them.
_SHOWN = 0.995
# Names in files may be of any length; titles hold so many letters of one.
_LETTERS = 40
LABELS = ("true", "predicted")


@dataclass(frozen=True, eq=False)
class DensityPair:
    """A crystal's true density and the one that a model predicts.

    Attributes:
        material_id: of the crystal.
        formula: to be shown.
        crystal: its cell is that of both densities.
        true: of an engine.
        predicted: of a model.
        nmae_percent: normalised mean absolute error of the prediction.

    Raises:
        DataError: the densities have other cells than the crystal, or are not finite.
    """

    material_id: str
    formula: str
    crystal: Crystal
    true: Spectrum
    predicted: Spectrum
    nmae_percent: float

    def __post_init__(self) -> None:
        for name, spectrum in zip(LABELS, (self.true, self.predicted), strict=True):
            if not np.allclose(spectrum.lattice, self.crystal.lattice, atol=1e-4):
                raise DataError(
                    f"{self.material_id}: the {name} density has the lattice "
                    f"{spectrum.lattice.tolist()} Å, expected that of the crystal, "
                    f"{self.crystal.lattice.tolist()}; predict it for this crystal"
                )
            if not np.isfinite(spectrum.coefficients).all():
                raise DataError(
                    f"{self.material_id}: the {name} density holds values that are not finite; "
                    "compute it anew"
                )

    @property
    def title(self) -> str:
        """Formula and id, one line of limited length."""
        formula, name = (_short(text) for text in (self.formula, self.material_id))
        return formula if formula == name else f"{formula} ({name})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LETTERS else f"{line[: _LETTERS - 1]}…"


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane through atoms of a crystal.

    Attributes:
        hkl: Miller indices in the cell of the crystal.
        height: distance to the origin of the cell, Å.
        centre: (3,) an atom on it, Å.
        axes: (3, 3) orthonormal rows; the first along the shortest lattice vector in the plane,
            the last along its normal.
        side: edge of the square that is shown, Å.
    """

    hkl: tuple[int, int, int]
    height: float
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    side: float

    @property
    def line(self) -> NDArray[np.float64]:
        """(p,) x and y of the points of the picture, from its centre, Å."""
        return np.linspace(-self.side / 2, self.side / 2, _POINTS)


def chosen_plane(crystal: Crystal) -> Plane:
    """The plane that shows most of a crystal.

    Among all planes (hkl) with indices up to 2 through an atom: the one with most elements, of
    those the one with most atoms per area, of those the one of the lowest indices.
    """
    hkl = _miller_indices()  # (m, 3)
    g = hkl @ reciprocal_lattice(crystal.lattice)
    spacing = 2 * np.pi / np.linalg.norm(g, axis=1)  # (m,) Å
    turns = hkl @ crystal.frac_coords.T  # (m, n)
    apart = turns[:, :, None] - turns[:, None, :]
    apart = np.abs(apart - np.rint(apart)) * spacing[:, None, None]
    on = apart < _ON_PLANE  # (m, n, n): beside the plane through the second atom, the first ones
    kinds = np.unique(crystal.symbols, return_inverse=True)[1]
    held = np.stack([on[:, kinds == k].any(axis=1) for k in range(kinds.max() + 1)])
    # Atoms a lattice point of the plane, whose area is V / spacing; rounded: equal ones are ties.
    per_area = np.round(on.sum(axis=1) * spacing[:, None] / crystal.volume, 6)
    # The indices come in rising order and the sort is stable.
    order = np.lexsort((-per_area.ravel(), -held.sum(axis=0).ravel()))
    plane, atom = divmod(int(order[0]), crystal.n_atoms)
    fraction = turns[plane, atom] - np.floor(turns[plane, atom] + 1e-6)
    first, second = _shortest_within(crystal.lattice, hkl[plane])
    normal = g[plane] / np.linalg.norm(g[plane])
    along = first / np.linalg.norm(first)
    return Plane(
        hkl=(int(hkl[plane, 0]), int(hkl[plane, 1]), int(hkl[plane, 2])),
        height=float(max(fraction, 0.0) * spacing[plane]),
        centre=crystal.frac_coords[atom] @ crystal.lattice,
        axes=np.array([along, np.cross(normal, along), normal]),
        side=float(np.clip(1.5 * np.linalg.norm(second), *_SIDES)),
    )


def _miller_indices() -> NDArray[np.int64]:
    """(m, 3) coprime indices, one of each pair ±(hkl), in rising order of their squares."""
    line = range(-_LARGEST_INDEX, _LARGEST_INDEX + 1)
    found = [i for i in product(line, repeat=3) if i > (0, 0, 0) and gcd(*i) == 1]
    return np.array(sorted(found, key=lambda i: (sum(v * v for v in i), [-v for v in i])))


def _shortest_within(
    lattice: NDArray[np.float64], hkl: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two shortest lattice vectors (Å) that span a plane, among small multiples of the axes."""
    line = range(-4, 5)
    cells = np.array([n for n in product(line, repeat=3) if n > (0, 0, 0) and not np.dot(n, hkl)])
    vectors = cells @ lattice
    vectors = vectors[np.argsort(np.round(np.linalg.norm(vectors, axis=1), 6), kind="stable")]
    first = vectors[0]
    beside = np.linalg.norm(np.cross(vectors, first), axis=1) > 1e-3
    return first, vectors[beside][0]


def slice_points(pairs: Sequence[DensityPair]) -> pd.DataFrame:
    """The numbers behind ``slices``.

    Returns:
        Columns material_id, hkl, height_angstrom, x_angstrom and y_angstrom from the middle of the
        picture, true_e_per_angstrom3, predicted_e_per_angstrom3.
    """
    tables = []
    for pair in pairs:
        plane = chosen_plane(pair.crystal)
        y, x = np.meshgrid(plane.line, plane.line, indexing="ij")
        table = pd.DataFrame({"x_angstrom": x.ravel(), "y_angstrom": y.ravel()})
        table.insert(0, "material_id", pair.material_id)
        table.insert(1, "hkl", " ".join(map(str, plane.hkl)))
        table.insert(2, "height_angstrom", plane.height)
        for name, spectrum in zip(LABELS, (pair.true, pair.predicted), strict=True):
            table[f"{name}_e_per_angstrom3"] = _values(spectrum, plane).ravel()
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _values(spectrum: Spectrum, plane: Plane) -> NDArray[np.float64]:
    """(y, x) e/Å³: the Fourier sum itself at the points of a plane, nothing interpolated.

    A wave in a plane is a wave along x times one along y, so the sum is a matrix product.
    """
    g = spectrum.g_vectors()
    along = np.exp(1j * np.multiply.outer(plane.line, g @ plane.axes[:2].T))  # (p, n, 2)
    weight = np.where(spectrum.hkl.any(axis=1), 2.0, 1.0)  # both members of a Friedel pair
    waves = weight * spectrum.coefficients * np.exp(1j * (g @ plane.centre))  # (n,)
    return np.asarray(((along[:, :, 1] * waves) @ along[:, :, 0].T).real, dtype=np.float64)


def slices(
    pairs: Sequence[DensityPair],
    points: pd.DataFrame | None = None,
    labels: tuple[str, str] = LABELS,
) -> Figure:
    """True density, predicted density and their difference on a plane, a crystal a row.

    Args:
        pairs: one or more crystals of different ids.
        points: ``slice_points`` of them; None: computed here.
        labels: what to call the true and the predicted densities.
    """
    table = slice_points(pairs) if points is None else points
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 2.6 * len(pairs)))
        rows = np.atleast_1d(np.asarray(figure.subfigures(len(pairs), 1, hspace=0.04)))
        for row, pair in zip(rows, pairs, strict=True):
            shown = table[table["material_id"] == pair.material_id]
            _draw_row(row, pair, shown, labels)
    return figure


def _draw_row(
    row: SubFigure, pair: DensityPair, table: pd.DataFrame, labels: tuple[str, str]
) -> None:
    plane = chosen_plane(pair.crystal)
    true, predicted = (
        table[f"{n}_e_per_angstrom3"].to_numpy().reshape(_POINTS, _POINTS) for n in LABELS
    )
    top = float(np.quantile(np.concatenate([true, predicted]), _SHOWN))
    far = float(np.quantile(np.abs(predicted - true), _SHOWN))
    density = PowerNorm(0.5, vmin=0, vmax=max(top, 1e-6))
    change = Normalize(-max(far, 1e-6), max(far, 1e-6))
    indices = " ".join(str(i).replace("-", "−") for i in plane.hkl)
    title = f"{pair.title}\nNMAE {pair.nmae_percent:.2f} %, plane ({indices}) of its cell"
    row.suptitle(f"{title}, {plane.height:.2f} Å from the origin", fontsize=8, parse_math=False)
    axes = list(row.subplots(1, 3, sharey=True))
    images = [
        _draw_plane(axes[0], true, plane, density, "viridis"),
        _draw_plane(axes[1], predicted, plane, density, "viridis"),
        _draw_plane(axes[2], predicted - true, plane, change, "RdBu_r"),
    ]
    for ax, name in zip(axes, [*labels, f"{labels[1]} − {labels[0]}"], strict=True):
        ax.set_title(name, parse_math=False)
        ax.set_xlabel("x (Å)")
        ax.xaxis.set_major_locator(MultipleLocator(2))
        ax.yaxis.set_major_locator(MultipleLocator(2))
        _name_atoms(ax, pair.crystal, plane)
    axes[0].set_ylabel("y (Å)")
    row.colorbar(images[1], ax=axes[:2], label=r"$\rho$ (e/Å$^3$)", extend="max", aspect=25)
    row.colorbar(images[2], ax=axes[2], label=r"$\Delta\rho$ (e/Å$^3$)", extend="both", aspect=25)


def _draw_plane(
    ax: Axes, values: NDArray[np.float64], plane: Plane, norm: Normalize, colours: str
) -> AxesImage:
    """(y, x) values as colours; a point is the middle of its pixel."""
    half = (plane.side + plane.side / (_POINTS - 1)) / 2
    extent = (-half, half, -half, half)
    return ax.imshow(
        values, origin="lower", extent=extent, norm=norm, cmap=colours, interpolation="none"
    )


def _name_atoms(ax: Axes, crystal: Crystal, plane: Plane) -> None:
    """Symbols of the atoms that lie on the plane."""
    for symbol, (x, y) in atoms_on(crystal, plane):
        text = ax.text(x, y, symbol, color="black", ha="center", va="center", fontsize=6)
        text.set_path_effects([withStroke(linewidth=1.3, foreground="white")])


def atoms_on(crystal: Crystal, plane: Plane) -> list[tuple[str, NDArray[np.float64]]]:
    """Symbol and (2,) position (Å) of every atom on the plane inside its square."""
    # Cells that a ball around the square's middle can meet.
    reach = 0.71 * plane.side
    heights = 2 * np.pi / np.linalg.norm(reciprocal_lattice(crystal.lattice), axis=1)
    middle = plane.centre @ np.linalg.inv(crystal.lattice)
    found = []
    for symbol, position in zip(crystal.symbols, crystal.frac_coords, strict=True):
        low = np.ceil(middle - position - reach / heights).astype(int)
        high = np.floor(middle - position + reach / heights).astype(int)
        cells = np.array(list(product(*map(range, low, high + 1)))).reshape(-1, 3)
        local = ((cells + position) @ crystal.lattice - plane.centre) @ plane.axes.T
        near = np.abs(local[:, 2]) < _ON_PLANE
        near &= (np.abs(local[:, :2]) < 0.47 * plane.side).all(axis=1)
        found += [(symbol, p) for p in local[near, :2]]
    return found
