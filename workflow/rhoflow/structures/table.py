"""Structures from a table: one row a crystal, Parquet or CSV.

Numbers may be lists (Parquet) or text: JSON, the output of Python or numpy, or words with blanks or
commas between them. Rows are streamed; a bad one becomes a candidate without structure.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pymatgen.core import Structure

from rhoflow.errors import ConfigError, DataError, did_you_mean
from rhoflow.spec import Spec
from rhoflow.structures.candidates import ONE_ENTRY, Candidate, once_each
from rhoflow.structures.folder import fingerprint_of, user_path
from rhoflow.structures.reading import (
    ID_LENGTH,
    REASON_LENGTH,
    attempt,
    build,
    cell_lattice,
    one_line,
    symbol_of,
)

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
# A field or line beyond it is an unclosed quotation mark or no table at all.
_MAX_LINE = 10_000_000
_BATCH_ROWS = 1000
_PUNCTUATION = re.compile(r"[\s,;\[\](){}'\"]+|\barray\b")

Row = Mapping[str, Any]

# Where a row of text that takes several lines remembers which; no column's name, as those are text.
_SPAN: Any = object()


class TableSource(Spec):
    """A table with a crystal in each row: lattice, species, coordinates."""

    kind: Literal["table"] = Field(default="table", description="rows of a Parquet or CSV table")
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    path: str = Field(description="the table: *.parquet, *.csv or *.tsv, the latter also *.gz")
    id_column: str = Field(default="material_id", description="column with the name of the row")
    lattice_column: str | None = Field(
        default="lattice",
        description="column with the lattice vectors, nine numbers in Å, rows one after the other; "
        "null where cell_columns are given",
    )
    cell_columns: tuple[str, str, str, str, str, str] | None = Field(
        default=None,
        description="columns with a, b, c (Å) and alpha, beta, gamma (degrees), in place of "
        "lattice_column",
    )
    species_column: str = Field(
        default="species", description="column with the element symbols or numbers of the atoms"
    )
    coords_column: str = Field(
        default="frac_coords", description="column with three coordinates for each atom"
    )
    cartesian: bool = Field(
        default=False, description="whether the coordinates are in Å; otherwise fractional"
    )
    limit: int | None = Field(
        default=None, ge=1, description="read the first so many rows; null for all (rows)"
    )

    @model_validator(mode="after")
    def _one_cell(self) -> Self:
        if (self.lattice_column is None) == (self.cell_columns is None):
            raise ValueError(
                "give either lattice_column or cell_columns (with lattice_column: null), not both"
            )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        cell = self.cell_columns or (self.lattice_column or "",)
        return (self.id_column, *cell, self.species_column, self.coords_column)


def table_steps() -> dict[str, str]:
    """The source's own rows of the funnel, with what passes each."""
    return {ONE_ENTRY: "the first row of every id"}


def table_fingerprint(spec: TableSource) -> str:
    """SHA-256 of the table's name, size and time.

    Raises:
        ConfigError: there is no such file.
    """
    path = table_path(spec)
    return fingerprint_of([path], path.parent)


def read_table(spec: TableSource) -> Iterator[Candidate]:
    """Yield the rows of a table in their order; ``source_id`` is what the id column says.

    Raises:
        ConfigError: there is no such file, its name is of no known kind, or it lacks a column.
        DataError: the file is corrupt (while iterating, where only a part of it is).
    """
    path = table_path(spec)
    rows = parquet_rows(path, spec) if ending(path) == ".parquet" else csv_rows(path, spec)
    first = next(rows, None)  # so that a wrong column stops here, not in the middle of the loop
    return once_each(_candidates(spec, first, rows))


def table_path(spec: TableSource) -> Path:
    """The file that a source names; raises ConfigError where there is none of a known ending."""
    path = user_path(spec.path, "table")
    if not path.is_file():
        raise ConfigError(f"table: '{path}' is not a file; set the source's path to your table")
    if ending(path) not in (".parquet", *_DELIMITERS):
        raise ConfigError(
            f"table: '{path}' is of no known kind; expected a name that ends in .parquet, .csv, "
            ".tsv, .csv.gz or .tsv.gz"
        )
    return path


def ending(path: Path) -> str:
    """What a table is by its name: its suffix in lower case, that of packing left out."""
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    return ".parquet.gz" if kind == ".parquet" and name.endswith(".gz") else kind


def _candidates(
    spec: TableSource, first: Row | str | None, rest: Iterator[Row | str]
) -> Iterator[Candidate]:
    rows = [] if first is None else [first]
    numbered = enumerate((row for part in (rows, rest) for row in part), start=1)
    for number, row in islice(numbered, spec.limit):
        if isinstance(row, str):
            yield Candidate(f"row-{number}", None, row)
            continue
        name = row[spec.id_column]
        source_id = "" if _is_nothing(name) else one_line(name, ID_LENGTH)
        candidate = attempt(source_id or f"row-{number}", _structure_of, row, spec)
        if candidate.structure is None and _SPAN in row:
            reason = one_line(f"{row[_SPAN]}; {candidate.reason}", REASON_LENGTH)
            candidate = Candidate(candidate.source_id, None, reason)
        yield candidate


def _structure_of(row: Row, spec: TableSource) -> Structure:
    species = _species(row[spec.species_column], spec.species_column)
    coords = _numbers(row[spec.coords_column], spec.coords_column)
    if len(coords) != 3 * len(species):
        raise ValueError(
            f"{spec.coords_column} has {len(coords)} numbers for {len(species)} atoms, expected "
            f"{3 * len(species)}"
        )
    if spec.cell_columns:
        cell = [_one_number(row[name], name) for name in spec.cell_columns]
        lattice = cell_lattice(cell[:3], cell[3:]).matrix
    else:
        name = str(spec.lattice_column)
        lattice = _numbers(row[name], name)
        if len(lattice) != 9:
            raise ValueError(f"{name} has {len(lattice)} numbers, expected 9")
        lattice = lattice.reshape(3, 3)
    return build(lattice, species, coords.reshape(-1, 3), cartesian=spec.cartesian)


def _is_nothing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and np.isnan(value))


def _words(value: object, column: str) -> list[Any]:
    """The items of a cell, whatever their nesting and notation."""
    if _is_nothing(value):
        raise ValueError(f"{column} is empty")
    if isinstance(value, str):
        content = _json(value)
        if not isinstance(content, list):
            return [word for word in _PUNCTUATION.split(value) if word]
        value = content
    if isinstance(value, (list, tuple, np.ndarray)):
        flat = [item for part in value for item in _items(part)]
        return [item for part in flat for item in _items(part)]
    return [value]


def _json(text: str) -> object:
    """What a text holds as JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _items(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]


def _numbers(value: object, column: str) -> NDArray[np.float64]:
    """All numbers of a cell, (n,)."""
    words = _words(value, column)
    try:
        return np.array(words, dtype=np.float64)
    except (TypeError, ValueError):
        wrong = next((w for w in words if not _is_number(w)), words)
        raise ValueError(f"{column} holds {one_line(wrong, 40)!r}, no number") from None


def _one_number(value: object, column: str) -> float:
    numbers = _numbers(value, column)
    if len(numbers) != 1:
        raise ValueError(f"{column} has {len(numbers)} numbers, expected 1")
    return float(numbers[0])


def _is_number(word: object) -> bool:
    try:
        np.float64(word)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return False
    return True


def _species(value: object, column: str) -> list[str]:
    words = _words(value, column)
    if any(isinstance(word, (float, bool, dict)) for word in words):
        raise ValueError(f"{column} holds {one_line(words, 40)}, expected symbols or numbers")
    numbers = [word for word in words if word is not None and _is_number(word)]
    if numbers and len(numbers) < len(words):
        raise ValueError(
            f"{column} mixes symbols and numbers ('{one_line(' '.join(map(str, words)), 40)}'); "
            "expected one symbol, or one atomic number, for each atom"
        )
    return [
        symbol_of(int(w) if isinstance(w, (int, np.integer)) or str(w).isdecimal() else str(w))
        for w in words
    ]


# Files -------------------------------------------------------------------------------------


def _check_columns(path: Path, spec: TableSource, found: Sequence[str]) -> None:
    for column in spec.columns:
        if column not in found:
            raise ConfigError(
                f"table: '{path}' has no column '{column}'{did_you_mean(column, found)}; name "
                "yours in the source's *_column keys"
            )


def parquet_rows(path: Path, spec: TableSource) -> Iterator[Row | str]:
    """The rows of a Parquet table, or why one cannot be read; the columns of the spec alone."""
    with _corruption_named(path), pq.ParquetFile(path) as table:
        _check_columns(path, spec, table.schema_arrow.names)
        columns = [*dict.fromkeys(spec.columns)]
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            try:
                yield from batch.to_pylist()
            except UnicodeDecodeError:
                yield from _rows_one_by_one(batch)


def _rows_one_by_one(batch: pa.RecordBatch) -> Iterator[Row | str]:
    """Rows of a batch; one with text that cannot be decoded is the reason why it is none."""
    for number in range(len(batch)):
        row: dict[str, Any] = {}
        problem = ""
        for name in batch.schema.names:
            try:
                row[name] = batch[name][number].as_py()
            except UnicodeDecodeError:
                problem = f"column {one_line(name, 60)} holds text that is not UTF-8"
        yield problem or row


def csv_rows(path: Path, spec: TableSource) -> Iterator[Row | str]:
    """Rows as dicts of text; one with too many or too few fields is the reason why it is none."""
    with _corruption_named(path), _long_fields(), _text(path) as lines:
        found = _spans(lines, _DELIMITERS[ending(path)])
        header, _ = next(found, ([], ""))
        _check_columns(path, spec, header)
        for row, span in found:
            if len(row) == len(header):
                yield dict(zip(header, row, strict=True)) | ({_SPAN: span} if span else {})
            elif row:
                problem = f"row has {len(row)} fields, the header {len(header)}"
                yield f"{span}; {problem}" if span else problem


def _spans(lines: Iterator[str], delimiter: str) -> Iterator[tuple[list[str], str]]:
    """Fields of each row, with words on the lines that it takes where these are several."""
    reader = csv.reader(lines, delimiter=delimiter, strict=False)
    while True:
        before = reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            taken = reader.line_num - before
            raise csv.Error(f"line {before + 1}: {error}{_open_quote(taken)}") from error
        taken = reader.line_num - before
        yield row, f"line {before + 1}{_open_quote(taken)}" if taken > 1 else ""


def _open_quote(taken: int) -> str:
    """What to suspect where one row takes several lines."""
    if taken < 2:
        return ""
    return f": a quotation mark runs over the next {taken - 1} lines (is it not closed?)"


@contextmanager
def _text(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a text file, unpacked; none is longer than ``_MAX_LINE``."""
    options: dict[str, Any] = {"encoding": "utf-8-sig", "errors": "replace", "newline": ""}
    packed = path.suffix.lower() == ".gz"
    with gzip.open(path, "rt", **options) if packed else path.open(**options) as file:
        yield _lines(file)


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line of more than {_MAX_LINE} characters")
        yield line


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let the csv module take the coordinates of large cells, as long as this file is read."""
    before = csv.field_size_limit(_MAX_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


@contextmanager
def _corruption_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise DataError(
            f"table '{path}' cannot be read ({type(error).__name__}: {one_line(error, 200)}). It "
            "is truncated, corrupt or no such table: write or fetch it anew"
        ) from error
