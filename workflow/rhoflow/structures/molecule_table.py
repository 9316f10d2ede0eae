"""Molecules from a table: one row a molecule, Parquet or CSV, read as tables of crystals are."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from pydantic import Field, field_validator

from rhoflow import tables
from rhoflow.errors import did_you_mean
from rhoflow.spec import Spec
from rhoflow.structures import table
from rhoflow.structures.candidates import ONE_ENTRY
from rhoflow.structures.folder import fingerprint_of
from rhoflow.structures.molecule_candidates import (
    MoleculeCandidate,
    Reading,
    attempt_molecule,
    build_molecule,
    once_each_molecule,
)
from rhoflow.structures.reading import ID_LENGTH, one_line
from rhoflow.structures.table import Row, TableSource


class MoleculeTableSource(Spec):
    """A table with a molecule in each row: elements, positions, perhaps charge and properties."""

    kind: Literal["molecule_table"] = Field(
        default="molecule_table", description="molecules from the rows of a Parquet or CSV table"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    path: str = Field(description="the table: *.parquet, *.csv or *.tsv, the latter also *.gz")
    id_column: str = Field(default="material_id", description="column with the name of the row")
    symbols_column: str = Field(
        default="symbols", description="column with the element symbols or numbers of the atoms"
    )
    positions_column: str = Field(
        default="positions_angstrom", description="column with three coordinates (Å) for each atom"
    )
    charge_column: str | None = Field(
        default=None, description="column with the charge; null: all molecules are neutral"
    )
    smiles_column: str | None = Field(
        default=None, description="column with the bonds as SMILES; null: not known"
    )
    known_columns: dict[str, str] = Field(
        default_factory=dict,
        description="columns with known properties, by the name of the property: "
        + ", ".join(tables.KNOWN_PROPERTIES),
    )
    limit: int | None = Field(
        default=None, ge=1, description="read the first so many rows; null for all (rows)"
    )

    @field_validator("known_columns")
    @classmethod
    def _properties_exist(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in tables.KNOWN_PROPERTIES:
                hint = did_you_mean(name, tables.KNOWN_PROPERTIES)
                raise ValueError(f"no property '{name}'{hint}")
        return columns

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        optional = [c for c in (self.charge_column, self.smiles_column) if c is not None]
        own = (self.id_column, self.symbols_column, self.positions_column)
        return (*own, *optional, *self.known_columns.values())


def molecule_table_steps() -> dict[str, str]:
    """The source's own rows of the funnel, with what passes each."""
    return {ONE_ENTRY: "the first row of every id"}


def molecule_table_fingerprint(spec: MoleculeTableSource) -> str:
    """SHA-256 of the table's name, size and time.

    Raises:
        ConfigError: there is no such file.
    """
    path = _path(spec)
    return fingerprint_of([path], path.parent)


def read_molecule_table(spec: MoleculeTableSource) -> Iterator[MoleculeCandidate]:
    """Yield the rows of a table in their order; ``source_id`` is what the id column says.

    Raises:
        ConfigError: there is no such file, its name is of no known kind, or it lacks a column.
        DataError: the file is corrupt (while iterating, where only a part of it is).
    """
    path = _path(spec)
    read = table.parquet_rows if table.ending(path) == ".parquet" else table.csv_rows
    rows = read(path, cast(TableSource, spec))  # of which it takes the columns alone
    first = next(rows, None)  # so that a wrong column stops here, not in the middle of the loop
    found = chain([] if first is None else [first], rows)
    return once_each_molecule(_candidates(spec, found))


def _path(spec: MoleculeTableSource) -> Path:
    return table.table_path(cast(TableSource, spec))


def _candidates(
    spec: MoleculeTableSource, rows: Iterator[Row | str]
) -> Iterator[MoleculeCandidate]:
    for number, row in enumerate(islice(rows, spec.limit), start=1):
        if isinstance(row, str):
            yield MoleculeCandidate(f"row-{number}", None, row)
            continue
        name = row[spec.id_column]
        source_id = "" if table._is_nothing(name) else one_line(name, ID_LENGTH)
        source_id = source_id or f"row-{number}"
        yield attempt_molecule(source_id, _molecule_of, source_id, row, spec)


def _molecule_of(source_id: str, row: Row, spec: MoleculeTableSource) -> Reading:
    symbols = table._species(row[spec.symbols_column], spec.symbols_column)
    numbers = table._numbers(row[spec.positions_column], spec.positions_column)
    if len(numbers) != 3 * len(symbols):
        raise ValueError(
            f"{spec.positions_column} has {len(numbers)} numbers for {len(symbols)} atoms, "
            f"expected {3 * len(symbols)}"
        )
    known = {
        name: table._one_number(row[column], column)
        for name, column in spec.known_columns.items()
        if not table._is_nothing(row[column])
    }
    if not np.isfinite(list(known.values())).all():
        raise ValueError(f"known properties {one_line(known, 100)} are not finite numbers")
    molecule = build_molecule(
        source_id,
        symbols,
        numbers.reshape(-1, 3),
        charge=_charge(row, spec.charge_column),
        smiles=_smiles(row, spec.smiles_column),
    )
    return molecule, known


def _charge(row: Row, column: str | None) -> int:
    if column is None or table._is_nothing(row[column]):
        return 0
    charge = table._one_number(row[column], column)
    if not charge.is_integer():
        raise ValueError(f"{column} is {charge:g}, expected a whole number")
    return int(charge)


def _smiles(row: Row, column: str | None) -> str | None:
    value: Any = None if column is None else row[column]
    return None if table._is_nothing(value) else one_line(value)
