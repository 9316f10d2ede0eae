"""Surfaces of equal density of crystals, to be turned by hand: one HTML page that needs no network.

The page holds each density on a grid that resolves it, at half precision, and follows rays through
it on the graphics processor of the browser (WebGL2; isosurface.js and isosurface.glsl in
workflow/report/). Where there is none, and in print, a static picture stands in its place.
"""

import base64
from collections.abc import Sequence
from itertools import product
from typing import Any

import jinja2
import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import to_grid
from rhoflow.errors import DataError
from rhoflow.figures.densities import DensityPair, slices
from rhoflow.figures.style import render

# Points along each edge of a cube of the cell's volume, and the most that every browser takes.
_POINTS = 48
_MOST_POINTS = 256
# Radius of an atom, Å, and how near to a face of the cell it is drawn at the opposite one too.
_ATOM = 0.28
_AT_FACE = 1e-3
# Parts of the cell inside the surfaces that are shown first: of densities, of differences.
_INSIDE = (0.15, 0.1)


def grid_shape(pair: DensityPair) -> tuple[int, int, int]:
    """Grid points along the lattice vectors: equal spacing, and fine enough for both densities.

    Raises:
        DataError: the cell is too long for a texture of a graphics processor.
    """
    lengths = np.linalg.norm(pair.crystal.lattice, axis=1)
    even = _POINTS * lengths / lengths.prod() ** (1 / 3)
    largest = [np.abs(s.hkl).max(axis=0).astype(int) for s in (pair.true, pair.predicted)]
    shape = np.maximum(np.rint(even).astype(int), 2 * np.max(largest, axis=0) + 1)
    if shape.max() > _MOST_POINTS:
        raise DataError(
            f"{pair.material_id}: its cell of {', '.join(f'{v:.1f}' for v in lengths)} Å needs "
            f"{shape.tolist()} voxels, expected at most {_MOST_POINTS} along an edge; show another "
            "crystal"
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def voxels(pairs: Sequence[DensityPair]) -> dict[str, NDArray[Any]]:
    """The numbers behind ``page``: arrays by name, for one file.

    Returns:
        Of all crystals material_id; of the i-th one lattice_i (3, 3) Å, and true_i and
        predicted_i (n1, n2, n3) float32, e/Å³, point (j, k, l) at fractional
        (j/n1, k/n2, l/n3).
    """
    arrays: dict[str, NDArray[Any]] = {"material_id": np.array([p.material_id for p in pairs])}
    for i, pair in enumerate(pairs):
        arrays[f"lattice_{i}"] = pair.crystal.lattice
        for name, spectrum in (("true", pair.true), ("predicted", pair.predicted)):
            arrays[f"{name}_{i}"] = to_grid(spectrum, grid_shape(pair)).astype(np.float32)
    return arrays


def page(
    pairs: Sequence[DensityPair],
    template: str,
    script: str,
    shader: str,
    labels: tuple[str, str] = ("true", "predicted"),
) -> str:
    """The page as one HTML text; everything that comes from data is escaped.

    Args:
        pairs: the crystals that can be chosen, one at least.
        template: workflow/report/isosurface.html.j2.
        script: workflow/report/isosurface.js.
        shader: workflow/report/isosurface.glsl.
        labels: what to call the true and the predicted densities.

    Raises:
        DataError: as ``grid_shape``.
    """
    still = base64.b64encode(render(slices(pairs, labels=labels), "png")).decode()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        pairs=[_shown(pair) for pair in pairs],
        labels=labels,
        still=still,
        script=script,
        shader=shader,
    )


def _shown(pair: DensityPair) -> dict[str, Any]:
    """What the script reads of one crystal."""
    shape = grid_shape(pair)
    true, predicted = (to_grid(s, shape) for s in (pair.true, pair.predicted))
    symbols, centres = _drawn_atoms(pair.crystal)
    return {
        "title": f"{pair.title}, NMAE {pair.nmae_percent:.2f} %",
        "lattice": pair.crystal.lattice.round(6).ravel().tolist(),
        "shape": list(shape),
        "true": _packed(true),
        # Of both, half precision would not leave enough of a small difference.
        "difference": _packed(predicted - true),
        "density": _levels(np.maximum(true, predicted), _INSIDE[0]),
        "change": _levels(np.abs(predicted - true), _INSIDE[1]),
        "centres": centres.round(4).tolist(),
        "radius": _ATOM,
        "symbols": symbols,
        "colours": {s: _colour(s) for s in dict.fromkeys(pair.crystal.symbols)},
    }


def _packed(values: NDArray[np.float64]) -> str:
    """Half precision, little-endian, the last axis fastest, as base64."""
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def _levels(values: NDArray[np.float64], inside: float) -> list[float]:
    """Least and largest level (e/Å³) that can be chosen, and the first one."""
    top = max(float(values.max()), 1e-4)
    first = float(np.quantile(values, 1 - inside))
    return [float(f"{v:.4g}") for v in (1e-3 * top, 0.98 * top, max(first, 2e-3 * top))]


def _drawn_atoms(crystal: Crystal) -> tuple[list[str], NDArray[np.float64]]:
    """Atoms inside the cell and on all of its faces: symbols, and (n, 3) positions in Å."""
    symbols, centres = [], []
    margin = _AT_FACE / np.linalg.norm(crystal.lattice, axis=1)
    for symbol, position in zip(crystal.symbols, crystal.frac_coords, strict=True):
        inside = position - np.floor(position + margin)
        images = [(0, 1) if near else (0,) for near in np.abs(inside) <= margin]
        for shift in product(*images):
            symbols.append(symbol)
            centres.append((inside + shift) @ crystal.lattice)
    return symbols, np.array(centres)


def _colour(symbol: str) -> str:
    """The colour of an element in Jmol, #rrggbb."""
    red, green, blue = (round(255 * float(v)) for v in jmol_colors[atomic_numbers[symbol]])
    return f"#{red:02x}{green:02x}{blue:02x}"
