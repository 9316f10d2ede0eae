"""From candidates to a dataset: filters, duplicates, a reproducible random sample.

The paper's rule (Kajita et al., Sci. Rep. 7, 16991, 2017) is oxides with fewer than 50 atoms in the
primitive cell. Every filter is a row of the funnel, and every candidate that falls is named.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import Literal, Self

import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from pymatgen.core import DummySpecies, Structure

from rhoflow import tables
from rhoflow.crystal import Crystal, known_elements
from rhoflow.errors import DataError
from rhoflow.spec import Spec
from rhoflow.structures.candidates import Candidate
from rhoflow.structures.canonical import (
    CanonicalCell,
    PrimitiveCell,
    canonical_cell,
    standard_orientation,
)
from rhoflow.structures.funnel import (
    ATOMS,
    DISTANCES,
    DISTINCT,
    EXCLUDED,
    FOUND,
    ORDERED,
    READABLE,
    REQUIRED,
    SAMPLE,
    funnel_table,
    steps_with,
    too_few,
)

_SYMPREC = 0.01
_ONE_PLACE_ANGSTROM = 0.01
_NAME_LENGTH = 80
_REASON_LENGTH = 200

# Space groups that are each other's mirror image: one crystal may be filed under either.
_ENANTIOMORPH = {
    78: 76, 95: 91, 96: 92, 145: 144, 153: 151, 154: 152,
    170: 169, 172: 171, 179: 178, 181: 180, 213: 212,
}  # fmt: skip


class SelectionSpec(Spec):
    """Which of the candidates become the dataset."""

    kind: Literal["selection"] = Field(
        default="selection", description="filters and a random sample"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    size: int = Field(ge=1, le=1_000_000, description="number of structures drawn (structures)")
    min_size: int | None = Field(
        default=None,
        ge=1,
        description="fewest structures that the data set may have where fewer than size are left; "
        "null: exactly size (structures)",
    )
    max_atoms: int = Field(
        default=49, ge=1, description="largest number of atoms in the primitive cell (atoms)"
    )
    required_elements: tuple[str, ...] = Field(
        default=("O",), description="elements that every structure contains (symbols)"
    )
    excluded_elements: tuple[str, ...] = Field(
        default=(), description="elements that no structure contains (symbols)"
    )
    min_distance_angstrom: float = Field(
        default=0.7, ge=0, le=3, description="shortest distance allowed between two atoms, in Å"
    )
    drop_duplicates: bool = Field(
        default=True,
        description="whether of equal crystals only the first, by source id, is kept",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="seed of the sample; with one seed, a larger size only adds structures",
    )

    @field_validator("required_elements", "excluded_elements")
    @classmethod
    def _elements_exist(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return known_elements(symbols)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        both = sorted({*self.required_elements} & {*self.excluded_elements})
        if both:
            raise ValueError(f"{', '.join(both)} both required and excluded; keep one of the two")
        if self.min_size is not None and self.min_size > self.size:
            raise ValueError(f"min_size = {self.min_size} is more than size = {self.size}")
        return self


@dataclass(frozen=True, eq=False)
class Selection:
    """A dataset and how it came about.

    Attributes:
        structures: rows of ``tables.STRUCTURES`` in the order of the draw.
        funnel: rows of ``tables.FUNNEL``, one a step.
        rejected: rows of ``tables.REJECTED``, one for each candidate that fell at some step.
    """

    structures: pd.DataFrame
    funnel: pd.DataFrame
    rejected: pd.DataFrame


@dataclass(frozen=True)
class Rejection:
    """A candidate that falls, at which step of the funnel, and why."""

    source_id: str
    step: str
    reason: str


@dataclass(frozen=True, eq=False)
class _Survivor:
    source_id: str
    cell: CanonicalCell
    origin: str

    @property
    def group(self) -> tuple:
        """What two equal crystals have in common: formula unit, number of atoms, space group."""
        kinds, counts = np.unique(self.cell.numbers, return_counts=True)
        spacegroup = _ENANTIOMORPH.get(self.cell.spacegroup, self.cell.spacegroup)
        return (*kinds.tolist(), *counts.tolist(), spacegroup)

    def to_structure(self) -> Structure:
        return Structure(self.cell.lattice, self.cell.numbers.tolist(), self.cell.frac_coords)


def select(
    candidates: Iterable[Candidate],
    spec: SelectionSpec,
    *,
    source: str,
    source_steps: Mapping[str, str] | None = None,
) -> Selection:
    """Filter candidates and draw a random sample of them.

    The draw ranks the survivors by a hash of seed and source id. It depends neither on the order
    of the candidates nor on how many others there are, and a larger size keeps the smaller one's
    structures in front.

    Args:
        candidates: from any source, their ids unique.
        spec: the filters, size and seed.
        source: name of the source, written into the table.
        source_steps: the source's own rows of the funnel, in order, with what passes each.

    Raises:
        DataError: fewer structures are left than ``size``, or than ``min_size`` where that is set;
            the message holds the whole funnel.
        ValueError: a candidate falls at a step that the source does not declare.
    """
    own = dict(source_steps or {})
    survivors, rejections = _sift(candidates, spec, own)
    n_found = len(survivors) + len(rejections)
    if spec.drop_duplicates:
        survivors, duplicates = _drop_duplicates(survivors)
        rejections += duplicates
    ranked = sorted(survivors, key=lambda s: (rank(spec.seed, s.source_id), s.source_id))
    rejections += [
        Rejection(s.source_id, SAMPLE, f"drawn as number {place} of {len(ranked)}")
        for place, s in enumerate(ranked[spec.size :], start=spec.size + 1)
    ]
    steps, details = steps_with(own), _details(spec, len(ranked)) | own
    funnel = funnel_table(n_found, (r.step for r in rejections), steps, details)
    bound = ("size", spec.size) if spec.min_size is None else ("min_size", spec.min_size)
    if len(ranked) < bound[1]:
        fallen = ((r.source_id, r.step, r.reason) for r in rejections)
        raise DataError(too_few(len(ranked), bound, source, funnel, fallen))
    return Selection(_table(ranked[: spec.size], source), funnel, rejected_table(rejections, steps))


def _sift(
    candidates: Iterable[Candidate], spec: SelectionSpec, source_steps: Mapping[str, str]
) -> tuple[list[_Survivor], list[Rejection]]:
    """The candidates that pass every filter that looks at one alone, and the others."""
    survivors: list[_Survivor] = []
    rejections: list[Rejection] = []
    for candidate in candidates:
        if candidate.step and candidate.step not in source_steps:
            raise ValueError(
                f"'{candidate.step}' is no step of the source; it has {[*source_steps]}"
            )
        outcome = _examine(candidate, spec)
        if isinstance(outcome, _Survivor):
            survivors.append(outcome)
        else:
            rejections.append(outcome)
    return survivors, rejections


def _examine(candidate: Candidate, spec: SelectionSpec) -> _Survivor | Rejection:
    """All filters that look at one candidate alone, cheap ones first."""
    structure = candidate.structure
    if structure is None or candidate.step:
        step, reason = candidate.step or READABLE, candidate.reason or "no structure"
        return Rejection(candidate.source_id, step, reason)
    problem = _problem_of_species(structure)
    if problem is not None:
        return Rejection(candidate.source_id, *problem)
    numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)  # deuterium is H
    problem = _problem_of_elements(numbers, spec) or _problem_of_size(structure, numbers, spec)
    if problem is not None:
        return Rejection(candidate.source_id, *problem)
    try:
        cell = _canonical(structure, numbers, candidate.spacegroup)
    except DataError as error:
        return Rejection(candidate.source_id, ATOMS, str(error))
    if len(cell.numbers) > spec.max_atoms:
        reason = f"{len(cell.numbers)} atoms, more than {spec.max_atoms}"
        return Rejection(candidate.source_id, ATOMS, reason)
    return _Survivor(candidate.source_id, cell, candidate.origin)


def _canonical(
    structure: Structure, numbers: NDArray[np.int64], spacegroup: int | None
) -> CanonicalCell:
    if spacegroup is None:
        return canonical_cell(
            structure.lattice.matrix, structure.frac_coords, numbers, symprec=_SYMPREC
        )
    return standard_orientation(
        PrimitiveCell(structure.lattice.matrix, structure.frac_coords, numbers, spacegroup)
    )


def _problem_of_species(structure: Structure) -> tuple[str, str] | None:
    """Step and reason why a site holds no single element, or None."""
    if not structure.is_ordered:
        mixed = {site.species_string for site in structure if not site.is_ordered}
        return ORDERED, f"partial occupancy: {'; '.join(sorted(mixed))}"[:_REASON_LENGTH]
    if any(isinstance(site.specie, DummySpecies) for site in structure):
        return READABLE, f"unknown element in {structure.formula}"
    return None


def _problem_of_elements(numbers: NDArray[np.int64], spec: SelectionSpec) -> tuple[str, str] | None:
    """Step and reason why the elements rule it out, or None."""
    symbols = {chemical_symbols[z] for z in numbers.tolist()}
    missing = [e for e in spec.required_elements if e not in symbols]
    if missing:
        return REQUIRED, f"contains no {', '.join(missing)}"
    excluded = [e for e in spec.excluded_elements if e in symbols]
    if excluded:
        return EXCLUDED, f"contains {', '.join(excluded)}"
    return None


def _problem_of_size(
    structure: Structure, numbers: NDArray[np.int64], spec: SelectionSpec
) -> tuple[str, str] | None:
    """Atoms too close, or a formula unit that is itself too large, which spares a search."""
    limit = max(spec.min_distance_angstrom, _ONE_PLACE_ANGSTROM)
    first, second, _, distances = structure.get_neighbor_list(limit)
    if len(distances):
        i = int(np.argmin(distances))
        pair = "-".join(chemical_symbols[numbers[k]] for k in (first[i], second[i]))
        return DISTANCES, f"{pair} at {distances[i]:.2f} Å, less than {limit:g} Å"
    counts = Counter(numbers.tolist()).values()
    unit = len(numbers) // reduce(gcd, counts)
    if unit > spec.max_atoms:
        return ATOMS, f"{unit} atoms in the formula unit, more than {spec.max_atoms}"
    return None


def _drop_duplicates(
    survivors: Sequence[_Survivor],
) -> tuple[list[_Survivor], list[Rejection]]:
    """Keep the first, by source id, of every set of equal crystals.

    Equal means: same formula, primitive cell size and space group, and pymatgen's StructureMatcher
    (default tolerances, volumes scaled) fits one onto the other. Without the space group its wide
    tolerances would take cubic and tetragonal BaTiO3 for one.
    """
    groups: dict[tuple, list[_Survivor]] = defaultdict(list)
    for survivor in sorted(survivors, key=lambda s: s.source_id):
        groups[survivor.group].append(survivor)
    from pymatgen.analysis.structure_matcher import StructureMatcher  # not with the config

    matcher = StructureMatcher(primitive_cell=False)
    kept: list[_Survivor] = []
    dropped: list[Rejection] = []
    for members in groups.values():
        if len(members) == 1:
            kept += members
            continue
        originals: list[tuple[_Survivor, Structure]] = []
        for member in members:
            structure = member.to_structure()
            twin = next((s for s, other in originals if matcher.fit(other, structure)), None)
            if twin is None:
                originals.append((member, structure))
            else:
                dropped.append(Rejection(member.source_id, DISTINCT, f"equals {twin.source_id}"))
        kept += [s for s, _ in originals]
    return kept, dropped


def rank(seed: int, source_id: str) -> str:
    """The place of a candidate in the draw: depends on nothing but the seed and its id."""
    return hashlib.sha256(f"{seed}:{source_id}".encode()).hexdigest()


def _details(spec: SelectionSpec, n_left: int) -> dict[str, str]:
    """What passes each step of the selection."""
    drawn = f"{spec.size} drawn with seed {spec.seed}"
    return {
        FOUND: "",
        READABLE: "a crystal could be read",
        ORDERED: "no partial occupancy",
        REQUIRED: f"contains {', '.join(spec.required_elements) or 'anything'}",
        EXCLUDED: f"without {', '.join(spec.excluded_elements) or '(none excluded)'}",
        DISTANCES: f"all atoms at least {spec.min_distance_angstrom} Å apart",
        ATOMS: f"at most {spec.max_atoms} atoms",
        DISTINCT: "the first of every set of equal crystals"
        if spec.drop_duplicates
        else "(duplicates are kept)",
        SAMPLE: drawn if n_left >= spec.size else f"all {n_left}; size is {spec.size}",
    }


def _table(survivors: Sequence[_Survivor], source: str) -> pd.DataFrame:
    ids = material_ids(s.source_id for s in survivors)
    crystals = [
        Crystal(
            material_id=material_id,
            lattice=s.cell.lattice,
            symbols=tuple(chemical_symbols[z] for z in s.cell.numbers),
            frac_coords=s.cell.frac_coords,
        )
        for material_id, s in zip(ids, survivors, strict=True)
    ]
    return tables.crystals_to_table(
        crystals,
        spacegroup_numbers=[s.cell.spacegroup for s in survivors],
        source=source,
        source_ids=[s.source_id for s in survivors],
        origins=[s.origin or None for s in survivors],
    )


def material_ids(source_ids: Iterable[str]) -> Iterator[str]:
    """Names of letters, digits, dot, underscore and hyphen; later equal ones get -2, -3 ..."""
    taken: set[str] = set()
    for source_id in source_ids:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", source_id).strip("-.")[:_NAME_LENGTH] or "structure"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name)
        yield name


def rejected_table(rejections: Iterable[Rejection], steps: Iterable[str]) -> pd.DataFrame:
    """Rows of ``tables.REJECTED`` in the order of the steps."""
    order = {step: place for place, step in enumerate(steps)}
    rows = sorted(rejections, key=lambda r: (order[r.step], r.source_id))
    return pd.DataFrame(
        [(r.source_id, r.step, r.reason) for r in rows], columns=tables.REJECTED.names
    )
