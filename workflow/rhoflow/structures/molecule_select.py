"""From candidate molecules to a dataset: filters, duplicates, a reproducible random sample.

As for crystals (``select``), every filter is a row of the funnel and every molecule that falls is
named. The filters look at all molecules of one size at once, so that those of QM9 take seconds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from rhoflow import molecule_tables
from rhoflow.crystal import known_elements
from rhoflow.errors import DataError
from rhoflow.molecule import Molecule
from rhoflow.spec import Spec
from rhoflow.structures.funnel import (
    DISTANCES,
    DISTINCT,
    FOUND,
    READABLE,
    SAMPLE,
    funnel_table,
    too_few,
)
from rhoflow.structures.molecule_candidates import MoleculeCandidate
from rhoflow.structures.molecule_twins import twins
from rhoflow.structures.select import Rejection, Selection, material_ids, rank, rejected_table

ALLOWED = "allowed elements"
NEUTRAL = "neutral"
PAIRED = "closed shell"
SIZE = "size of the molecule"
STEPS = (FOUND, READABLE, ALLOWED, NEUTRAL, PAIRED, SIZE, DISTANCES, DISTINCT, SAMPLE)
"""The rows of the funnel of molecules in order; those of a source stand after ``READABLE``."""

_CHUNK_PAIRS = 5_000_000


class MoleculeSelectionSpec(Spec):
    """Which of the candidate molecules become the dataset."""

    kind: Literal["molecule_selection"] = Field(
        default="molecule_selection", description="filters and a random sample"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    size: int = Field(ge=1, le=1_000_000, description="number of molecules drawn (molecules)")
    min_size: int | None = Field(
        default=None,
        ge=1,
        description="fewest molecules that the data set may have where fewer than size are left; "
        "null: exactly size (molecules)",
    )
    min_atoms: int = Field(default=1, ge=1, description="smallest number of atoms (atoms)")
    max_atoms: int | None = Field(
        default=None, ge=1, description="largest number of atoms; null: any (atoms)"
    )
    elements: tuple[str, ...] | None = Field(
        default=None, description="elements that molecules may contain; null: all (symbols)"
    )
    charged: bool = Field(default=False, description="whether charged molecules are kept")
    open_shell: bool = Field(
        default=False, description="whether molecules with an odd number of electrons are kept"
    )
    min_distance_angstrom: float = Field(
        default=0.5, ge=0, le=3, description="shortest distance allowed between two atoms, in Å"
    )
    drop_duplicates: bool = Field(
        default=True,
        description="whether of equal molecules only the first, by source id, is kept: equal are "
        "those of one canonical SMILES, or of one formula and the same distances to 1e-3 Å where "
        "no SMILES is known",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="seed of the sample; with one seed, a larger size only adds molecules",
    )

    @field_validator("elements")
    @classmethod
    def _elements_exist(cls, symbols: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if symbols is None else known_elements(symbols)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.min_size is not None and self.min_size > self.size:
            raise ValueError(f"min_size = {self.min_size} is more than size = {self.size}")
        if self.max_atoms is not None and self.min_atoms > self.max_atoms:
            raise ValueError(
                f"min_atoms = {self.min_atoms} is more than max_atoms = {self.max_atoms}"
            )
        return self


@dataclass(frozen=True)
class _Survivor:
    source_id: str
    molecule: Molecule
    known: Mapping[str, float]


def select_molecules(
    candidates: Iterable[MoleculeCandidate],
    spec: MoleculeSelectionSpec,
    *,
    source: str,
    source_steps: Mapping[str, str] | None = None,
) -> Selection:
    """Filter candidate molecules and draw a random sample of them.

    The draw is that of ``select.select``: it depends neither on the order of the candidates nor on
    how many others there are.

    Args:
        candidates: from any source, their ids unique.
        spec: the filters, size and seed.
        source: name of the source, written into the table.
        source_steps: the source's own rows of the funnel, in order, with what passes each.

    Returns:
        The selection; its ``structures`` are rows of ``tables.MOLECULES``.

    Raises:
        DataError: fewer molecules are left than ``size``, or than ``min_size`` where that is set;
            the message holds the whole funnel.
        ValueError: a candidate falls at a step that the source does not declare.
    """
    own = dict(source_steps or {})
    survivors, rejections = _sift(candidates, spec, own)
    n_found = len(survivors) + len(rejections)
    survivors, crowded = _drop_crowded(survivors, spec.min_distance_angstrom)
    rejections += crowded
    if spec.drop_duplicates:
        survivors, equal = _drop_duplicates(survivors)
        rejections += equal
    ranked = sorted(survivors, key=lambda s: (rank(spec.seed, s.source_id), s.source_id))
    rejections += [
        Rejection(s.source_id, SAMPLE, f"drawn as number {place} of {len(ranked)}")
        for place, s in enumerate(ranked[spec.size :], start=spec.size + 1)
    ]
    steps, details = _steps_with(own), _details(spec, len(ranked)) | own
    funnel = funnel_table(n_found, (r.step for r in rejections), steps, details)
    bound = ("size", spec.size) if spec.min_size is None else ("min_size", spec.min_size)
    if len(ranked) < bound[1]:
        fallen = ((r.source_id, r.step, r.reason) for r in rejections)
        raise DataError(too_few(len(ranked), bound, source, funnel, fallen))
    drawn = ranked[: spec.size]
    structures = molecule_tables.molecules_to_table(
        _named(drawn),
        source=source,
        source_ids=[s.source_id for s in drawn],
        known=[s.known for s in drawn],
    )
    return Selection(structures, funnel, rejected_table(rejections, steps))


def _named(drawn: Sequence[_Survivor]) -> list[Molecule]:
    """The molecules under the names that they have in the dataset."""
    names = material_ids(s.source_id for s in drawn)
    return [replace(s.molecule, material_id=name) for name, s in zip(names, drawn, strict=True)]


def _steps_with(source_steps: Iterable[str]) -> tuple[str, ...]:
    place = STEPS.index(READABLE) + 1
    return (*STEPS[:place], *source_steps, *STEPS[place:])


def _sift(
    candidates: Iterable[MoleculeCandidate],
    spec: MoleculeSelectionSpec,
    source_steps: Mapping[str, str],
) -> tuple[list[_Survivor], list[Rejection]]:
    """The candidates that pass every filter that looks at elements and charge, and the others."""
    allowed = None if spec.elements is None else frozenset(spec.elements)
    survivors: list[_Survivor] = []
    rejections: list[Rejection] = []
    for candidate in candidates:
        molecule, source_id = candidate.molecule, candidate.source_id
        if candidate.step and candidate.step not in source_steps:
            raise ValueError(
                f"'{candidate.step}' is no step of the source; it has {[*source_steps]}"
            )
        if molecule is None or candidate.step:
            step, reason = candidate.step or READABLE, candidate.reason or "no molecule"
            rejections.append(Rejection(source_id, step, reason))
            continue
        problem = _problem(molecule, spec, allowed)
        if problem is None:
            survivors.append(_Survivor(source_id, molecule, candidate.known))
        else:
            rejections.append(Rejection(source_id, *problem))
    return survivors, rejections


def _problem(
    molecule: Molecule, spec: MoleculeSelectionSpec, allowed: frozenset[str] | None
) -> tuple[str, str] | None:
    """Step and reason why elements, charge or size rule a molecule out, or None."""
    if allowed is not None and not allowed.issuperset(molecule.symbols):
        others = sorted(set(molecule.symbols) - allowed)
        return ALLOWED, f"contains {', '.join(others)}"
    if molecule.charge and not spec.charged:
        return NEUTRAL, f"charge {molecule.charge:+d}"
    if molecule.n_electrons % 2 and not spec.open_shell:
        return PAIRED, f"{molecule.n_electrons} electrons, an odd number"
    if molecule.n_atoms < spec.min_atoms:
        return SIZE, f"{molecule.n_atoms} atoms, fewer than {spec.min_atoms}"
    if spec.max_atoms is not None and molecule.n_atoms > spec.max_atoms:
        return SIZE, f"{molecule.n_atoms} atoms, more than {spec.max_atoms}"
    return None


def _drop_crowded(
    survivors: Sequence[_Survivor], limit: float
) -> tuple[list[_Survivor], list[Rejection]]:
    """Those in which two atoms are nearer than the limit fall."""
    groups: dict[int, list[int]] = defaultdict(list)
    for place, survivor in enumerate(survivors):
        groups[survivor.molecule.n_atoms].append(place)
    crowded: dict[int, str] = {}
    for n_atoms, places in groups.items():
        if n_atoms < 2:
            continue
        step = max(1, _CHUNK_PAIRS // n_atoms**2)
        for begin, end in pairwise([*range(0, len(places), step), len(places)]):
            part = places[begin:end]
            found = _closest([survivors[place].molecule for place in part])
            for place, (distance, pair) in zip(part, found, strict=True):
                if distance < limit:
                    crowded[place] = f"{pair} at {distance:.2f} Å, less than {limit:g} Å"
    kept = [s for place, s in enumerate(survivors) if place not in crowded]
    return kept, [
        Rejection(survivors[place].source_id, DISTANCES, reason)
        for place, reason in crowded.items()
    ]


def _closest(molecules: Sequence[Molecule]) -> list[tuple[float, str]]:
    """For molecules of one size, the shortest distance in Å and the elements that it joins."""
    positions = np.stack([m.positions for m in molecules])  # (molecules, atoms, 3)
    first, second = np.triu_indices(positions.shape[1], 1)
    squares = ((positions[:, first] - positions[:, second]) ** 2).sum(axis=2)
    nearest = squares.argmin(axis=1)
    return [
        (float(np.sqrt(row[k])), "-".join(m.symbols[i] for i in (first[k], second[k])))
        for m, row, k in zip(molecules, squares, nearest, strict=True)
    ]


def _drop_duplicates(
    survivors: Sequence[_Survivor],
) -> tuple[list[_Survivor], list[Rejection]]:
    """Keep the first, by source id, of every set of equal molecules."""
    ordered = sorted(survivors, key=lambda s: s.source_id)
    equal = twins([s.molecule for s in ordered])
    dropped = [
        Rejection(ordered[place].source_id, DISTINCT, f"equals {ordered[first].source_id}")
        for place, first in equal.items()
    ]
    return [s for place, s in enumerate(ordered) if place not in equal], dropped


def _details(spec: MoleculeSelectionSpec, n_left: int) -> dict[str, str]:
    """What passes each step of the selection."""
    drawn = f"{spec.size} drawn with seed {spec.seed}"
    at_most = "" if spec.max_atoms is None else f", at most {spec.max_atoms}"
    return {
        FOUND: "",
        READABLE: "a molecule could be read",
        ALLOWED: "any" if spec.elements is None else f"none but {', '.join(spec.elements)}",
        NEUTRAL: "(charged ones are kept)" if spec.charged else "no charge",
        PAIRED: "(open shells are kept)" if spec.open_shell else "an even number of electrons",
        SIZE: f"at least {spec.min_atoms} atoms{at_most}",
        DISTANCES: f"all atoms at least {spec.min_distance_angstrom} Å apart",
        DISTINCT: "the first of every set of equal molecules"
        if spec.drop_duplicates
        else "(duplicates are kept)",
        SAMPLE: drawn if n_left >= spec.size else f"all {n_left}; size is {spec.size}",
    }
