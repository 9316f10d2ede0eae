"""Oxide crystals made offline: known prototypes filled with cations of matching charge and size.

The table of prototypes (geometry, roles, coordination) and of oxidation states is data; one rule
sizes them all. Every cation site wants its mean distance to the oxygens around it to be the sum
of Shannon's ionic radii (Acta Cryst. A32, 751, 1976) at the coordination of both ions. The cell
follows the sites in proportion to Pauling's bond strength, charge over coordination. Where two
sites want cells too different, the filling is dropped: Goldschmidt's tolerance factor for any
prototype.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from pymatgen.core import Element, Lattice, Structure

from rhoflow.errors import ConfigError, did_you_mean
from rhoflow.spec import Spec
from rhoflow.structures.candidates import Candidate
from rhoflow.structures.prototype_table import Geometry, Prototype, read_table

MIN_OXYGEN_DISTANCE = 2.1
"""Å between oxygens: just below the 2.2 Å of a carbonate group, far above a peroxide's 1.5 Å."""

MIN_CATION_DISTANCE = 2.0
"""Å between cations: below any pair of them in an oxide."""

_ROMAN = {
    label: number
    for number, label in enumerate(
        ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"), start=1
    )
}


class PrototypesSource(Spec):
    """Oxide prototypes filled with cations, generated from a table that ships."""

    kind: Literal["prototypes"] = Field(
        default="prototypes", description="oxide prototypes filled with cations; needs no download"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    prototypes: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="names of the prototypes to fill; null for all of the table",
    )
    cations: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="element symbols to fill them with; null for all of the table",
    )
    radius_tolerance: float = Field(
        default=0.10,
        ge=0,
        le=1,
        description="largest relative difference between the cell sizes that two cation sites "
        "ask for; a filling beyond it is dropped (no unit)",
    )
    per_prototype: int | None = Field(
        default=None,
        ge=1,
        description="at most so many fillings of each prototype, drawn at random before anything "
        "else, so that prototypes with many fillings do not dominate; null for all of them "
        "(structures)",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="seed of the draw that per_prototype makes; with one seed, a larger "
        "per_prototype only adds fillings",
    )


@dataclass(frozen=True)
class Filling:
    """A choice of cations that fits a prototype.

    Attributes:
        elements: role -> element symbol, roles in alphabetical order.
        scale: factor on the table's cell.
        mismatch: relative difference between the largest and the smallest wanted factor.
    """

    elements: dict[str, str]
    scale: float
    mismatch: float


def read_prototypes(spec: PrototypesSource, table_path: Path) -> Iterator[Candidate]:
    """Yield the charge-neutral fillings of the chosen prototypes, one candidate each.

    ``source_id`` is ``prototype-formula`` with the cations in the order of their roles, so that
    two orders of the same elements differ (``spinel-MgAl2O4``, ``spinel-SiMg2O4``).

    Raises:
        ConfigError: an unknown prototype or a cation without oxidation state in the table.
        DataError: the table is missing or malformed.
    """
    table = read_table(table_path)
    names = _known(spec.prototypes, table.prototypes, f"prototype in {table_path.name}")
    cations = _known(spec.cations, table.cations, f"cation in {table_path.name}")
    states = {element: table.cations[element] for element in cations}
    return _generate({name: table.prototypes[name] for name in names}, states, spec)


def _known(chosen: tuple[str, ...] | None, known: Mapping[str, object], what: str) -> list[str]:
    for name in chosen or ():
        if name not in known:
            raise ConfigError(f"'{name}' is not a {what}{did_you_mean(name, known)}")
    return [name for name in known if chosen is None or name in chosen]


def _generate(
    prototypes: Mapping[str, Prototype],
    states: Mapping[str, tuple[int, ...]],
    spec: PrototypesSource,
) -> Iterator[Candidate]:
    for name, prototype in prototypes.items():
        geometry = prototype.geometry()
        found = fillings(prototype, geometry, states, spec.radius_tolerance)
        by_id = {f"{name}-{formula}": filling for formula, filling in found.items()}
        for source_id in _draw(by_id, spec):
            structure = build(geometry, by_id[source_id])
            yield Candidate(source_id, structure, spacegroup=prototype.spacegroup)


def _draw(source_ids: Iterable[str], spec: PrototypesSource) -> list[str]:
    """At most ``per_prototype`` of the names, in their own order.

    Which ones depends on seed and name alone. The selection ranks by a hash of seed and name too:
    were it the same hash, equal seeds would put the drawn fillings of a wide prototype in front.
    """
    names = list(source_ids)
    ranked = sorted(
        names, key=lambda n: hashlib.sha256(f"prototype:{spec.seed}:{n}".encode()).digest()
    )
    drawn = {*ranked[: spec.per_prototype]}
    return [name for name in names if name in drawn]


def fillings(
    prototype: Prototype,
    geometry: Geometry,
    states: Mapping[str, tuple[int, ...]],
    radius_tolerance: float,
) -> dict[str, Filling]:
    """All fillings of a prototype that are neutral and fit, by formula in the order of roles.

    Args:
        prototype: the entry of the table.
        geometry: its crystal.
        states: element -> oxidation states that it may take.
        radius_tolerance: largest mismatch (no unit).
    """
    found: dict[str, Filling] = {}
    for charges in prototype.oxidation:
        choices = [[e for e in states if charge in states[e]] for charge in charges]
        for elements in product(*choices):
            if len(set(elements)) < len(elements):
                continue
            filling = fit(geometry, elements, charges)
            if filling is not None and filling.mismatch <= radius_tolerance:
                found.setdefault(prototype.formula_with(filling.elements), filling)
    return found


def fit(geometry: Geometry, elements: Sequence[str], charges: Sequence[int]) -> Filling | None:
    """Size a prototype for given cations; None where an ion or a distance is impossible.

    Args:
        geometry: the prototype's crystal.
        elements: element symbols of the roles A, B, ... in this order.
        charges: their oxidation states.
    """
    roles = {role: (e, q) for role, e, q in zip("ABC", elements, charges, strict=False)}
    oxygen = oxygen_radius(geometry.oxygen_coordination)
    wanted: list[float] = []
    strength: list[float] = []
    for site in geometry.cation_sites:
        element, charge = roles[site.role]
        radius = ionic_radius(element, charge, site.coordination)
        if radius is None:
            return None
        wanted.append((radius + oxygen) / site.mean_distance)
        strength.append(charge / site.n_neighbours)
    scale = sum(w * s for w, s in zip(wanted, strength, strict=True)) / sum(strength)
    if scale * geometry.min_oxygen_distance < MIN_OXYGEN_DISTANCE:
        return None
    if scale * geometry.min_cation_distance < MIN_CATION_DISTANCE:
        return None
    mismatch = max(wanted) / min(wanted) - 1
    return Filling({role: e for role, (e, _) in roles.items()}, scale, mismatch)


def build(geometry: Geometry, filling: Filling) -> Structure:
    """The primitive cell of a filled prototype."""
    species = [filling.elements.get(role, "O") for role in geometry.roles]
    return Structure(Lattice(filling.scale * geometry.lattice), species, geometry.frac_coords)


@cache
def ionic_radius(element: str, charge: int, coordination: int | str) -> float | None:
    """Shannon's ionic radius in Å, high spin where he distinguishes; None where he has none.

    A coordination number that he does not list takes the nearest that he does, if it is at most
    a third away: an ion listed as six-fold may sit on an eight-fold site, but not on a twelve-fold
    one. A label with a shape (IVSQ) is looked up as it is.
    """
    radii = _shannon_table(element, charge)
    if isinstance(coordination, str):
        return radii.get(coordination)
    listed = {_ROMAN[label]: radius for label, radius in radii.items() if label in _ROMAN}
    if not listed:
        return None
    nearest = min(listed, key=lambda number: (abs(number - coordination), number))
    return listed[nearest] if 3 * abs(nearest - coordination) <= coordination else None


def oxygen_radius(coordination: float) -> float:
    """Shannon's ionic radius of O2- in Å, linear between the coordination numbers he lists."""
    radii = {_ROMAN[label]: radius for label, radius in _shannon_table("O", -2).items()}
    numbers = sorted(radii)
    return float(np.interp(coordination, numbers, [radii[n] for n in numbers]))


@cache
def _shannon_table(element: str, charge: int) -> dict[str, float]:
    by_label = Element(element).data.get("Shannon radii", {}).get(str(charge), {})
    return {
        label: next(
            by_spin[spin]["ionic_radius"]
            for spin in ("High Spin", "", "Low Spin")
            if spin in by_spin
        )
        for label, by_spin in by_label.items()
    }
