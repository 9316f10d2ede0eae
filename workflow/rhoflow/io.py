"""Files: the only module that knows formats.

Everything is written to a temporary name and renamed, so a file is either whole or absent.
Tables are Parquet and arrays NPZ without pickled objects; both carry the spec that made them
and the version of rhoflow. No file names the time at which it was made: equal inputs give
equal bytes.
"""

import json
import logging
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rhoflow import __version__
from rhoflow.density.spectrum import Spectrum
from rhoflow.descriptors.base import VectorSet, stack_padded
from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.descriptors.r3dvs import SpotSet
from rhoflow.errors import DataError, RhoflowError
from rhoflow.tables import ARCHIVE, ARCHIVE_NEEDS

METADATA_KEY = b"rhoflow"
FIELD_UNITS = {"density": "e/Å³", "potential": "eV"}
PathLike = str | Path


def start_log(path: PathLike, *, show: str | None = None) -> None:
    """Send logging, stdout and uncaught errors of this process to a rule's log file.

    An error that rhoflow raises on purpose is shown as its message, in the log and on the
    terminal; any other keeps its traceback in the log.

    Args:
        path: the log file.
        show: a logger whose lines appear on the terminal too, for steps that take long.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    stream = target.open("w", buffering=1, encoding="utf-8")
    terminal = sys.stderr
    sys.stdout = sys.stderr = stream
    logging.basicConfig(
        stream=stream, level=logging.INFO, format="%(asctime)s %(message)s", force=True
    )
    logging.captureWarnings(True)
    if show:
        echo = logging.StreamHandler(terminal)
        echo.setFormatter(logging.Formatter("  %(message)s"))
        logging.getLogger(show).addHandler(echo)

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if isinstance(error, RhoflowError):
            for out in (stream, terminal):
                print(f"\nrhoflow: {error}\n", file=out, flush=True)
        else:
            sys.__excepthook__(kind, error, trace)
            print(f"rhoflow: {kind.__name__}: {error} (log: {path})", file=terminal, flush=True)

    sys.excepthook = report


def _replace(path: PathLike, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Nodes of a cluster share the folder, and process numbers are no names there.
    temporary = target.with_name(f".{target.name[:80]}.{uuid4().hex}.tmp")
    try:
        write(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: PathLike, text: str) -> None:
    """Write a text file (UTF-8)."""
    _replace(path, lambda tmp: tmp.write_text(text, encoding="utf-8"))


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file that is made elsewhere, such as a figure."""
    _replace(path, lambda tmp: tmp.write_bytes(content))


def _metadata(spec: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"rhoflow_version": __version__, "spec": dict(spec or {})}


def _unreadable(path: PathLike, cause: Exception) -> DataError:
    return DataError(
        f"{path}: cannot be read ({type(cause).__name__}: {cause}). It is truncated or corrupt: "
        f"delete it and run snakemake again; only what depends on it is made anew"
    )


# Tables ------------------------------------------------------------------------------------


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
    arrow = arrow.replace_schema_metadata({METADATA_KEY: json.dumps(_metadata(spec))})
    _replace(
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
        raise _unreadable(path, error) from error
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


def _require_columns(path: PathLike, columns: Iterable[str], schema: pa.Schema | None) -> None:
    missing = sorted(set(schema.names if schema else ()) - set(columns))
    if missing:
        raise DataError(f"{path}: lacks the columns {missing}; delete it and run snakemake again")


def _read_arrow(path: PathLike, schema: pa.Schema | None) -> pa.Table:
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
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
        _refuse_mixed(names, [_table_spec(t) for t in tables])
    return pd.concat([t.to_pandas() for t in tables], ignore_index=True)


def _table_spec(table: pa.Table) -> Any:
    return json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}")).get("spec")


def read_spec(path: PathLike) -> dict[str, Any]:
    """The spec that a table or array file was made with."""
    if str(path).endswith(".npz"):
        return read_arrays(path)[1].get("spec", {})
    return _table_spec(_read_arrow(path, None)) or {}


def _refuse_mixed(paths: Sequence[PathLike], specs: Sequence[Any]) -> None:
    for path, spec in zip(paths, specs, strict=True):
        if spec != specs[0]:
            raise DataError(
                f"{path} was made with other settings than {paths[0]}: {spec} against {specs[0]}. "
                "Delete the older file and run snakemake again"
            )


# Arrays ------------------------------------------------------------------------------------


def write_arrays(
    path: PathLike, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any] | None = None
) -> None:
    """Write named arrays and JSON-able metadata as compressed NPZ, without pickled objects."""
    content = {name: np.asarray(array) for name, array in arrays.items()}
    objects = [name for name, array in content.items() if array.dtype.hasobject]
    if objects:
        raise DataError(f"{path}: arrays of Python objects are not stored: {objects}")
    content["__meta__"] = np.asarray(json.dumps(dict(meta or {}), sort_keys=True))

    def write(tmp: Path) -> None:
        with tmp.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **content)

    _replace(path, write)


def read_arrays(path: PathLike) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what ``write_arrays`` wrote: the arrays and the metadata."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(str(arrays.pop("__meta__", "{}")))
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _ragged(parts: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Join arrays along their first axis; offsets tell where each begins and ends."""
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    return (np.concatenate(parts) if parts else np.zeros(0)), offsets


def write_spectra(
    path: PathLike,
    spectra: Mapping[str, Spectrum],
    *,
    field: str = "density",
    spec: Mapping[str, Any] | None = None,
) -> None:
    """Write one shard of spectra of a field (``FIELD_UNITS``), in the mapping's order."""
    hkl, offsets = _ragged([s.hkl for s in spectra.values()])
    coefficients, _ = _ragged([s.coefficients for s in spectra.values()])
    write_arrays(
        path,
        {
            "material_id": np.asarray(list(spectra), dtype=str),
            "lattice": np.asarray([s.lattice for s in spectra.values()]).reshape(-1, 3, 3),
            "n_atoms": np.asarray([s.n_atoms for s in spectra.values()], dtype=np.int32),
            "offsets": offsets,
            "g_max": np.asarray([s.g_max for s in spectra.values()], dtype=np.float64),
            "hkl": hkl.reshape(-1, 3).astype(np.int16),
            "coefficients": coefficients.astype(np.complex64),
        },
        {**_metadata(spec), "field": field, "unit": FIELD_UNITS[field]},
    )


def read_spectra(path: PathLike, *, field: str = "density") -> dict[str, Spectrum]:
    """Read one shard of spectra.

    Raises:
        DataError: the file is damaged, or holds another field.
    """
    fields = ("material_id", "lattice", "n_atoms", "g_max", "offsets", "hkl", "coefficients")
    a, meta = _checked(path, fields)
    if meta.get("field") != field:
        raise DataError(f"{path}: holds spectra of a {meta.get('field')}, expected a {field}")
    bounds = zip(a["offsets"][:-1], a["offsets"][1:], strict=True)
    return {
        str(name): Spectrum(
            lattice, int(n_atoms), a["hkl"][i:j], a["coefficients"][i:j], float(g_max)
        )
        for name, lattice, n_atoms, g_max, (i, j) in zip(
            a["material_id"], a["lattice"], a["n_atoms"], a["g_max"], bounds, strict=True
        )
    }


def write_spots(path: PathLike, spots: SpotSet, *, spec: Mapping[str, Any] | None = None) -> None:
    """Write one shard of reciprocal spots."""
    write_arrays(
        path,
        {
            "material_id": np.asarray(spots.ids, dtype=str),
            "offsets": spots.offsets,
            "g": spots.g,
            "amplitude": spots.amplitude,
            "volume_per_atom": spots.volume_per_atom,
        },
        _metadata(spec),
    )


def read_spots(paths: Iterable[PathLike]) -> SpotSet:
    """Read the shards of a spot descriptor and join them in the given order."""
    ids, offsets, shards = _shards(paths, ("g", "amplitude", "volume_per_atom"))
    return SpotSet(
        ids=ids,
        offsets=offsets,
        g=np.concatenate([a["g"] for a in shards]),
        amplitude=np.concatenate([a["amplitude"] for a in shards], axis=1),
        volume_per_atom=np.concatenate([a["volume_per_atom"] for a in shards]),
    )


def _shards(
    paths: Iterable[PathLike], fields: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.int64], list[dict[str, NDArray[Any]]]]:
    """Shards of ragged arrays: all material ids, the offsets of the joined arrays, each shard."""
    names = list(paths)
    checked = [_checked(path, ("material_id", "offsets", *fields)) for path in names]
    _refuse_mixed(names, [meta.get("spec") for _, meta in checked])
    shards = [arrays for arrays, _ in checked]
    sizes = np.concatenate([np.diff(a["offsets"]) for a in shards])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return tuple(str(i) for a in shards for i in a["material_id"]), offsets, shards


def _checked(
    path: PathLike, fields: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    arrays, meta = read_arrays(path)
    missing = [name for name in fields if name not in arrays]
    if missing:
        raise DataError(f"{path}: lacks the arrays {missing}; delete it and run snakemake again")
    return arrays, meta


VECTORS = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float64())),
    ]
)


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


def write_geometry(
    path: PathLike, molecules: MoleculeSet, *, spec: Mapping[str, Any] | None = None
) -> None:
    """Write one shard of molecules' elements and positions."""
    write_arrays(
        path,
        {
            "material_id": np.asarray(molecules.ids, dtype=str),
            "offsets": molecules.offsets,
            "numbers": molecules.numbers,
            "positions": molecules.positions,
            "charges": molecules.charges,
        },
        _metadata(spec),
    )


def read_geometry(paths: Iterable[PathLike]) -> MoleculeSet:
    """Read the shards of molecules' elements and positions and join them in the given order."""
    fields = ("numbers", "positions", "charges")
    ids, offsets, shards = _shards(paths, fields)
    return MoleculeSet(
        ids, offsets, *(np.concatenate([a[name] for a in shards]) for name in fields)
    )


def read_descriptors(paths: Sequence[PathLike]) -> VectorSet | SpotSet | MoleculeSet:
    """Read the shards of a descriptor: vectors (``.parquet``), spots or molecules (``.npz``)."""
    if not str(paths[0]).endswith(".npz"):
        return read_vectors(paths)
    kind = (read_spec(paths[0]) or {}).get("kind")
    return read_geometry(paths) if kind == "geometry" else read_spots(paths)


def read_text(path: PathLike) -> str:
    """Read a text file (UTF-8)."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
