"""The table of prototypes: its file, its checks, and the crystal of an entry."""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Self

import numpy as np
import spglib
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pymatgen.core import Element, Lattice

from rhoflow.errors import DataError
from rhoflow.structures.canonical import primitive_cell

OXYGEN = "O"
_ROLES = "ABC"
_SHAPES = {"IVSQ": 4, "IVPY": 4}
_SAME_POSITION = 1e-3
_SYMPREC = 0.01

SiteRow = tuple[str, float, float, float] | tuple[str, float, float, float, int | str]


@dataclass(frozen=True)
class CationSite:
    """One orbit of cations.

    Attributes:
        role: A, B or C.
        coordination: number of oxygen neighbours, or Shannon's label of a shape.
        n_neighbours: number of oxygen neighbours.
        mean_distance: mean distance to them in Å, in the table's cell.
    """

    role: str
    coordination: int | str
    n_neighbours: int
    mean_distance: float


@dataclass(frozen=True, eq=False)
class Geometry:
    """The crystal of a prototype, its elements still open.

    Attributes:
        lattice: (3, 3) Å, rows; a primitive cell, in the size of the reference compound.
        roles: (n_atoms,) A, B, C or O.
        frac_coords: (n_atoms, 3).
        cation_sites: the orbits of cations.
        oxygen_coordination: mean number of cations around an oxygen.
        min_oxygen_distance: shortest distance between oxygens in Å.
        min_cation_distance: shortest distance between cations in Å.
    """

    lattice: NDArray[np.float64]
    roles: tuple[str, ...]
    frac_coords: NDArray[np.float64]
    cation_sites: tuple[CationSite, ...]
    oxygen_coordination: float
    min_oxygen_distance: float
    min_cation_distance: float


class Prototype(BaseModel):
    """One entry of the table; the fields are explained in its head."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    formula: str
    spacegroup: int
    reference: str
    cell: tuple[float, float, float, float, float, float]
    oxidation: tuple[tuple[int, ...], ...]
    sites: tuple[SiteRow, ...]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Atoms of each role in one formula unit, in the order of the formula."""
        return {role: int(n or 1) for role, n in re.findall(r"([ABCO])(\d*)", self.formula)}

    def formula_with(self, elements: dict[str, str]) -> str:
        """The formula with elements for roles, as in ``MgAl2O4``."""
        return "".join(
            elements.get(role, OXYGEN) + (str(n) if n > 1 else "")
            for role, n in self.counts.items()
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        cations = [role for role in self.counts if role != OXYGEN]
        if cations != list(_ROLES[: len(cations)]) or OXYGEN not in self.counts:
            raise ValueError(f"formula '{self.formula}': expected roles A, B, C in order, then O")
        for charges in self.oxidation:
            if len(charges) != len(cations):
                raise ValueError(f"oxidation {charges}: expected one number for each of {cations}")
            charge = sum(q * self.counts[role] for q, role in zip(charges, cations, strict=True))
            if charge != 2 * self.counts[OXYGEN]:
                raise ValueError(f"oxidation {charges}: {self.formula} is not neutral")
        for role, *rest in self.sites:
            if role not in self.counts or (len(rest) == 4) != (role != OXYGEN):
                raise ValueError(
                    f"site {[role, *rest]}: expected a role and x, y, z, then a coordination for "
                    "cations only"
                )
            if len(rest) == 4 and isinstance(rest[3], str) and rest[3] not in _SHAPES:
                raise ValueError(f"coordination '{rest[3]}': expected a number or {[*_SHAPES]}")
        return self

    def geometry(self) -> Geometry:
        """The crystal: the orbits of all sites, their distances and a primitive cell.

        Raises:
            DataError: the orbits do not give the entry's own formula and space group.
        """
        return _geometry(self)


class PrototypeTable(BaseModel):
    """The whole table: what may be filled, and with what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cations: dict[str, tuple[int, ...]]
    prototypes: dict[str, Prototype]

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = [e for e in self.cations if not Element.is_valid_symbol(e)]
        if unknown:
            raise ValueError(f"cations {unknown} are not element symbols")
        return self


def read_table(path: Path) -> PrototypeTable:
    """Read and check the table.

    Raises:
        DataError: the file is missing, is not YAML, or an entry is malformed.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return PrototypeTable.model_validate(content)
    except OSError as error:
        raise DataError(f"table of prototypes {path}: {error.strerror}; restore it") from error
    except yaml.YAMLError as error:
        raise DataError(f"table of prototypes {path} is not valid YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise DataError(f"table of prototypes {path}, at {where}: {first['msg']}") from error


def _geometry(prototype: Prototype) -> Geometry:
    lattice = Lattice.from_parameters(*prototype.cell)
    orbits = [orbit(prototype.spacegroup, np.array(row[1:4])) for row in prototype.sites]
    roles = np.repeat([row[0] for row in prototype.sites], [len(o) for o in orbits])
    coords = np.concatenate(orbits)  # (n, 3)
    distances = _shortest_distances(lattice, coords)  # (n, n)
    is_oxygen = roles == OXYGEN
    primitive = _primitive(prototype, lattice.matrix, coords, roles)
    sites = []
    for row, members in zip(prototype.sites, orbits, strict=True):
        if len(row) == 5:
            n = _SHAPES[row[4]] if isinstance(row[4], str) else row[4]
            mean = _mean_neighbour_distance(lattice, members[0], coords[is_oxygen], n)
            sites.append((CationSite(row[0], row[4], n, mean), len(members)))
    return Geometry(
        *primitive,
        cation_sites=tuple(site for site, _ in sites),
        oxygen_coordination=sum(s.n_neighbours * n for s, n in sites) / is_oxygen.sum(),
        min_oxygen_distance=float(distances[np.ix_(is_oxygen, is_oxygen)].min()),
        min_cation_distance=float(distances[np.ix_(~is_oxygen, ~is_oxygen)].min()),
    )


@cache
def _operations(spacegroup: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Rotations (m, 3, 3) and translations (m, 3), origin choice 2 and hexagonal axes."""
    settings = {}
    for hall_number in range(1, 531):
        group = spglib.get_spacegroup_type(hall_number)
        if group is not None and group.number == spacegroup:
            settings.setdefault(group.choice, hall_number)
    preferred = [c for c in ("2", "H", "b", "b1", "") if c in settings]
    found = spglib.get_symmetry_from_database(settings[preferred[0]]) if preferred else None
    if found is None:
        raise DataError(f"space group {spacegroup} is not known; expected a number from 1 to 230")
    return found["rotations"], found["translations"]


def orbit(spacegroup: int, position: NDArray[np.float64]) -> NDArray[np.float64]:
    """All positions (m, 3) in the conventional cell equivalent to one fractional position (3,)."""
    rotations, translations = _operations(spacegroup)
    images = (rotations @ position + translations) % 1.0  # (operations, 3)
    apart = images[:, None] - images[None]
    apart -= np.round(apart)
    same = np.abs(apart).max(-1) < _SAME_POSITION  # (operations, operations)
    return images[np.argmax(same, axis=1) == np.arange(len(images))]


def _shortest_distances(lattice: Lattice, coords: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shortest distances (n, n) in Å, an atom to its own nearest image on the diagonal."""
    distances = lattice.get_all_distances(coords, coords)
    reduced = lattice.get_niggli_reduced_lattice()
    np.fill_diagonal(distances, min(reduced.abc))
    return distances


def _mean_neighbour_distance(
    lattice: Lattice, centre: NDArray[np.float64], others: NDArray[np.float64], n: int
) -> float:
    images = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    shifts = (others[:, None] + images[None] - centre).reshape(-1, 3)
    return float(np.sort(np.linalg.norm(shifts @ lattice.matrix, axis=1))[:n].mean())


def _primitive(
    prototype: Prototype,
    lattice: NDArray[np.float64],
    coords: NDArray[np.float64],
    roles: NDArray[np.str_],
) -> tuple[NDArray[np.float64], tuple[str, ...], NDArray[np.float64]]:
    """Primitive lattice, roles and coordinates, once formula and space group are confirmed."""
    names = [*prototype.counts]
    numbers = [names.index(role) + 1 for role in roles]
    try:
        cell = primitive_cell(lattice, coords, np.array(numbers), symprec=_SYMPREC)
        found = cell.spacegroup
    except DataError:
        cell, found = None, None
    counts = {role: int((roles == role).sum()) for role in names}
    units = {counts[role] / n for role, n in prototype.counts.items()}
    if cell is None or found != prototype.spacegroup or len(units) != 1:
        raise DataError(
            f"prototype {prototype.formula} ({prototype.reference}): its sites give {counts} in "
            f"space group {found}, expected {prototype.formula} in {prototype.spacegroup}"
        )
    return cell.lattice, tuple(names[i - 1] for i in cell.numbers), cell.frac_coords
