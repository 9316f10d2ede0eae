"""Short chains of known polymers: repeat units joined head to tail, capped with hydrogen."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rhoflow.errors import DataError
from rhoflow.spec import Spec
from rhoflow.structures.molecule_candidates import (
    MoleculeCandidate,
    attempt_molecule,
    require_rdkit,
)
from rhoflow.structures.molecule_embed import embedded
from rhoflow.structures.reading import one_line

COLUMNS = ("name", "repeat_unit")


class OligomersSource(Spec):
    """Chains of the polymers in resources/polymers.csv, embedded in space by RDKit."""

    kind: Literal["oligomers"] = Field(
        default="oligomers", description="short chains of known polymers of H, C, N, O and F"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    units: int = Field(default=2, ge=1, le=20, description="repeat units of the longest chains")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="seed of the embedding")


@dataclass(frozen=True)
class Polymer:
    """A polymer: its name, and its repeat unit as SMILES with two open bonds ``[*]``."""

    name: str
    repeat_unit: str


def read_polymers(path: Path) -> list[Polymer]:
    """The polymers of a table (CSV).

    Raises:
        DataError: it is unreadable, lacks a column, or names a polymer twice.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        polymers = [Polymer(*(row[column] for column in COLUMNS)) for row in rows]
    except (OSError, KeyError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"polymers {path}: cannot be read ({type(error).__name__}: {one_line(error, 100)}); "
            f"expected a CSV table with the columns {', '.join(COLUMNS)}"
        ) from error
    names = [polymer.name for polymer in polymers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"polymers {path}: {', '.join(twice)} occur twice; give each one row")
    return polymers


def read_oligomers(spec: OligomersSource, polymers: Path) -> Iterator[MoleculeCandidate]:
    """Yield the chains of each polymer, short ones first; ``source_id`` is ``name-units``.

    Args:
        spec: how long they become.
        polymers: the table of repeat units (``resources/polymers.csv``).

    Raises:
        DataError: the table is unreadable.
        EngineError: RDKit is not installed.
    """
    require_rdkit("oligomers")
    return _candidates(spec, read_polymers(polymers))


def _candidates(spec: OligomersSource, polymers: list[Polymer]) -> Iterator[MoleculeCandidate]:
    for polymer in polymers:
        for units in range(1, spec.units + 1):
            source_id = f"{polymer.name}-{units}"
            yield attempt_molecule(
                source_id,
                lambda name, unit, n, seed: embedded(name, chain(unit, n), seed),
                source_id,
                polymer.repeat_unit,
                units,
                spec.seed,
            )


def chain(repeat_unit: str, units: int) -> str:
    """SMILES of a chain capped with hydrogen.

    Args:
        repeat_unit: SMILES with two open bonds ``[*]``, the first of which is the head.
        units: how many.

    Raises:
        ValueError: it is no SMILES with two single open bonds.
    """
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        unit = Chem.MolFromSmiles(repeat_unit)
    if unit is None:
        raise ValueError(f"'{one_line(repeat_unit, 60)}' is no valid SMILES")
    head, tail = _open_ends(unit, repeat_unit)
    # A nitrogen of an aromatic ring would not get the hydrogen that caps it.
    Chem.Kekulize(unit, clearAromaticFlags=True)
    size = unit.GetNumAtoms()
    joined = Chem.RWMol(unit)
    for _ in range(units - 1):
        joined.InsertMol(unit)
    for place in range(units - 1):
        last, following = tail[0] + place * size, head[0] + (place + 1) * size
        joined.AddBond(last, following, Chem.BondType.SINGLE)
    joined.BeginBatchEdit()
    for place in range(units):
        joined.RemoveAtom(head[1] + place * size)
        joined.RemoveAtom(tail[1] + place * size)
    joined.CommitBatchEdit()
    with BlockLogs():
        Chem.SanitizeMol(joined)
    return Chem.MolToSmiles(joined)


def _open_ends(unit: Any, smiles: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """For head and tail: the atom that binds, and the mark of the open bond."""
    marks = [atom for atom in unit.GetAtoms() if atom.GetAtomicNum() == 0]
    if len(marks) != 2 or any(mark.GetDegree() != 1 for mark in marks):
        raise ValueError(
            f"'{one_line(smiles, 60)}' has {len(marks)} marks [*]; expected two, each with one bond"
        )
    if any(mark.GetBonds()[0].GetBondTypeAsDouble() != 1.0 for mark in marks):
        raise ValueError(f"'{one_line(smiles, 60)}': the bonds to [*] must be single")
    head, tail = ((mark.GetNeighbors()[0].GetIdx(), mark.GetIdx()) for mark in marks)
    return head, tail
