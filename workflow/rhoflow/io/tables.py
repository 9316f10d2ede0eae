"""Tables: Parquet and CSV."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rhoflow.descriptors.base import VectorSet, stack_padded
from rhoflow.errors import DataError
from rhoflow.io.files import PathLike, metadata, refuse_mixed, replace, unreadable, write_text
from rhoflow.tables import ARCHIVE, ARCHIVE_NEEDS, TARGET_TABLE

METADATA_KEY = b"rhoflow"
VECTORS = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float64())),
    ]
)


def write_table(
    path: PathLike,
    table: pd.DataFrame,
    schema: pa.Schema | None = None,
    *,
    spec: Mapping[str, Any] | None = None,
) -> None:
    """Write a table as Parquet (``.parquet``) or CSV (``.csv``), its columns as in the schema."""
    columns = pa.Schema.from_pandas(table, preserve_index=False) if schema is None else schema
    missing = [name for name in columns.names if name not in table.columns]
    if missing:
        raise DataError(f"{path}: the table lacks the columns {missing}")
    table = table[columns.names]
    if str(path).endswith(".csv"):
        text = table.to_csv(index=False, lineterminator="\n")
        write_text(path, text)
        return
    if table.empty:  # pandas forgets what the columns of no rows held
        arrow = columns.empty_table()
    else:
        arrow = pa.Table.from_pandas(table, schema=columns, preserve_index=False)
    arrow = arrow.replace_schema_metadata({METADATA_KEY: json.dumps(metadata(spec))})
    replace(
        path,
        lambda tmp: pq.write_table(arrow, tmp, compression="zstd", write_page_checksum=True),
    )


def read_table(path: PathLike, schema: pa.Schema | None = None) -> pd.DataFrame:
    """Read a Parquet or CSV table and check that it has the schema's columns."""
    if not str(path).endswith(".csv"):
        return _read_arrow(path, schema).to_pandas()
    try:
        # An arm may be called "nan": only an empty cell is no number.
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    _require_columns(path, table.columns, schema)
    return table


def read_archive_table(path: PathLike) -> pd.DataFrame:
    """Read a shard of an archive; columns that its version did not have are null.

    Raises:
        DataError: it is unreadable or no shard of an archive.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: is damaged ({error}); fetch this file of the archive anew"
        ) from error
    lacking = sorted(set(ARCHIVE_NEEDS) - set(table.column_names))
    if lacking:
        raise DataError(f"{path}: is no shard of an archive, it lacks the columns {lacking}")
    for field in ARCHIVE:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(ARCHIVE.names).to_pandas()


def read_targets(path: PathLike) -> pd.DataFrame:
    """Read a table of targets; those that the version which wrote it did not have are null.

    Raises:
        DataError: it is unreadable or names no structures.
    """
    table = read_table(path, pa.schema([TARGET_TABLE.field("material_id")]))
    return table.reindex(columns=TARGET_TABLE.names)


def _require_columns(path: PathLike, columns: Iterable[str], schema: pa.Schema | None) -> None:
    missing = sorted(set(schema.names if schema else ()) - set(columns))
    if missing:
        raise DataError(f"{path}: lacks the columns {missing}; delete it and run snakemake again")


def _read_arrow(path: PathLike, schema: pa.Schema | None) -> pa.Table:
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from error
    _require_columns(path, table.column_names, schema)
    return table


def read_tables(
    paths: Iterable[PathLike], schema: pa.Schema | None = None, *, same_spec: bool = True
) -> pd.DataFrame:
    """Read the shards of one table and join them in the given order.

    Raises:
        DataError: a shard is unreadable, or (``same_spec``) was made with another spec.
    """
    names = list(paths)
    tables = [_read_arrow(path, schema) for path in names]
    if same_spec:
        refuse_mixed(names, [_table_spec(t) for t in tables])
    return pd.concat([t.to_pandas() for t in tables], ignore_index=True)


def read_table_spec(path: PathLike) -> dict[str, Any]:
    """The spec that a table was made with."""
    return _table_spec(_read_arrow(path, None)) or {}


def _table_spec(table: pa.Table) -> Any:
    return json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}")).get("spec")


def write_vectors(
    path: PathLike,
    ids: Sequence[str],
    vectors: Sequence[NDArray[np.float64]],
    *,
    spec: Mapping[str, Any] | None = None,
) -> None:
    """Write one shard of a vector descriptor; the vectors may differ in length."""
    table = pd.DataFrame({"material_id": list(ids), "vector": [np.asarray(v) for v in vectors]})
    write_table(path, table, VECTORS, spec=spec)


def read_vectors(paths: Iterable[PathLike]) -> VectorSet:
    """Read the shards of a vector descriptor, zeros at the end of the shorter vectors."""
    table = read_tables(paths, VECTORS)
    return stack_padded(
        [str(i) for i in table["material_id"]],
        [np.asarray(v, dtype=np.float64) for v in table["vector"]],
    )
