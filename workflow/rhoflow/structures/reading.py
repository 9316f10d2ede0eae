"""Untrusted text to a structure: every failure becomes a reason, none an exception."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from pymatgen.core import Composition, DummySpecies, Lattice, Structure
from pymatgen.core.periodic_table import get_el_sp

from rhoflow.structures.candidates import Candidate

REASON_LENGTH = 200
ID_LENGTH = 200
# No crystal is larger; a neighbour search on such a cell would ask for gigabytes.
MAX_EDGE_ANGSTROM = 200.0
MAX_ATOMS = 10_000
_MIN_VOLUME = 1e-3
# Beyond these a neighbour search asks for gigabytes.
_MIN_HEIGHT_ANGSTROM = 1e-3
_MAX_PAIRS_PER_ANGSTROM3 = 1e6
_MAX_FRACTION = 1e4

# What parsers raise on malformed text: they index and convert without checking first.
PARSE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    UserWarning,  # made an error: pymatgen's of a POSCAR
)


def attempt(source_id: str, read: Callable[..., Structure], *content: object) -> Candidate:
    """Read quietly; turn a failure, an unknown element or an impossible cell into a reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = read(*content)
        check(structure)
    except PARSE_ERRORS as error:
        return unreadable(source_id, error)
    return Candidate(source_id, structure)


def unreadable(source_id: str, error: BaseException) -> Candidate:
    """A candidate without structure whose reason is the error's text, on one line."""
    text = _in_words(error)
    return Candidate(source_id, None, one_line(f"unreadable: {text}", REASON_LENGTH))


def _in_words(error: BaseException) -> str:
    """What an error says, where Python itself only names a key or its own types."""
    if type(error) is KeyError and error.args:
        return f"lacks {one_line(error.args[0], 60)}"
    if isinstance(error, (TypeError, AttributeError)):
        return f"holds a value of another kind than expected ({type(error).__name__})"
    if isinstance(error, IndexError):
        return "ends too early, or its lists differ in length"
    return one_line(error) or type(error).__name__


def one_line(text: object, length: int = 10_000) -> str:
    """Text without line breaks and control characters, cut to a length."""
    words = " ".join(str(text).split())
    return "".join(c for c in words if c.isprintable())[:length]


def check(structure: Structure) -> None:
    """Refuse what no crystal looks like, before anything costly is done with it.

    Raises:
        ValueError: no atoms or too many, an unknown element, numbers that are not finite, or a
            cell that is flat or absurdly large.
    """
    if len(structure) == 0:
        raise ValueError("no atoms")
    if len(structure) > MAX_ATOMS:
        raise ValueError(f"{len(structure)} atoms, more than {MAX_ATOMS}")
    unknown = {s.symbol for s in structure.composition if isinstance(s, DummySpecies)}
    if unknown:
        raise ValueError(f"unknown element {', '.join(sorted(unknown))}")
    lattice = structure.lattice
    if not (np.isfinite(lattice.matrix).all() and np.isfinite(structure.frac_coords).all()):
        raise ValueError("lattice or coordinates are not finite numbers")
    if max(lattice.abc) > MAX_EDGE_ANGSTROM:
        raise ValueError(
            f"cell edge of {max(lattice.abc):.4g} Å, more than {MAX_EDGE_ANGSTROM:g} Å"
        )
    if structure.volume < _MIN_VOLUME:
        raise ValueError(f"cell volume {structure.volume:.2g} Å³")
    _check_cost(structure)


def _check_cost(structure: Structure) -> None:
    """Refuse a cell in which the search for neighbours would exhaust the memory."""
    axes, volume = structure.lattice.matrix, structure.volume
    areas = [np.linalg.norm(np.cross(axes[i], axes[i - 1])) for i in range(3)]
    height = volume / max(areas)
    if height < _MIN_HEIGHT_ANGSTROM:
        raise ValueError(
            f"flat cell, {height:.2g} Å high; expected {_MIN_HEIGHT_ANGSTROM:g} Å or more"
        )
    if len(structure) ** 2 / volume > _MAX_PAIRS_PER_ANGSTROM3:
        raise ValueError(f"{len(structure)} atoms in {volume:.3g} Å³, denser than any crystal")
    farthest = float(np.abs(structure.frac_coords).max())
    if farthest > _MAX_FRACTION:
        raise ValueError(
            f"fractional coordinate {farthest:.2g}; expected less than {_MAX_FRACTION:g}"
        )


def cell_lattice(edges: Sequence[float], angles: Sequence[float]) -> Lattice:
    """A lattice from its edges (3) in Å and angles (3) in degrees.

    Raises:
        ValueError: an edge that is not positive, or an angle not between 0 and 180.
    """
    check_cell(edges, angles)
    return Lattice.from_parameters(*edges, *angles)


def check_cell(edges: Sequence[float], angles: Sequence[float]) -> None:
    """Refuse cell parameters that describe no cell.

    Raises:
        ValueError: an edge that is not positive, or an angle not between 0 and 180.
    """
    for name, edge in zip("abc", edges, strict=True):
        if not edge > 0:
            raise ValueError(f"cell edge {name} = {edge:g} Å; expected a positive length")
    for name, angle in zip(("alpha", "beta", "gamma"), angles, strict=True):
        if not 0 < angle < 180:
            raise ValueError(f"cell angle {name} = {angle:g} degrees; expected 0 to 180")


def build(
    lattice: ArrayLike,
    species: Sequence[str | Mapping[str, float]],
    coords: ArrayLike,
    *,
    cartesian: bool = False,
) -> Structure:
    """A structure from plain numbers.

    Args:
        lattice: (3, 3) Å, rows.
        species: (n_atoms,) element symbols, or their occupancies where a site is shared.
        coords: (n_atoms, 3), fractional or in Å.
        cartesian: whether the coordinates are in Å.

    Raises:
        ValueError: shapes that do not fit, more atoms than any crystal has, unknown symbols.
    """
    positions = np.asarray(coords, dtype=np.float64)
    if positions.shape != (len(species), 3):
        raise ValueError(
            f"{len(species)} species but coordinates of shape {positions.shape}; expected "
            f"({len(species)}, 3)"
        )
    if len(species) > MAX_ATOMS:
        raise ValueError(f"{len(species)} atoms, more than {MAX_ATOMS}")
    matrix = np.asarray(lattice, dtype=np.float64)
    if matrix.shape != (3, 3):
        raise ValueError(f"lattice of shape {matrix.shape}; expected (3, 3)")
    axes = Lattice(matrix)
    if not (np.isfinite(axes.matrix).all() and np.isfinite(positions).all()):
        raise ValueError("lattice or coordinates are not finite numbers")
    if axes.volume < _MIN_VOLUME:
        raise ValueError(f"cell volume {axes.volume:.2g} Å³")
    sites = [_whole(s) if isinstance(s, str) else s for s in species]
    return Structure(axes, sites, positions, coords_are_cartesian=cartesian)


@cache
def _whole(symbol: str) -> Composition:
    """A site that holds one atom of an element; sharing it saves most of a structure's making."""
    return Composition({symbol: 1})


@cache
def symbol_of(name: str | int) -> str:
    """The element symbol that a name stands for: ``Fe``, ``Fe3+``, ``26``.

    Raises:
        ValueError: it stands for none.
    """
    # pymatgen would take 1e2 or 8.0 for an atomic number.
    if isinstance(name, str) and not (name.isdecimal() or name[:1].isalpha()):
        raise ValueError(f"unknown element {one_line(name, 40)}")
    try:
        species = get_el_sp(name)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"unknown element {one_line(name, 40)}") from error
    if isinstance(species, DummySpecies):
        raise ValueError(f"unknown element {one_line(name, 40)}")
    return species.symbol
