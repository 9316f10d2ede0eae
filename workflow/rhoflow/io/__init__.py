"""Files: the only package that knows formats.

Everything is written to a temporary name and renamed, so a file is either whole or absent.
Tables are Parquet and arrays NPZ without pickled objects; both carry the spec that made them
and the version of rhoflow. No file names the time at which it was made: equal inputs give
equal bytes.
"""

from collections.abc import Sequence
from typing import Any

from rhoflow.descriptors.base import VectorSet
from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.descriptors.r3dvs import SpotSet
from rhoflow.io.arrays import (
    FIELD_UNITS,
    read_arrays,
    read_geometry,
    read_spectra,
    read_spots,
    write_arrays,
    write_geometry,
    write_spectra,
    write_spots,
)
from rhoflow.io.files import PathLike, read_text, write_bytes, write_text
from rhoflow.io.logs import start_log
from rhoflow.io.tables import (
    read_archive_table,
    read_table,
    read_table_spec,
    read_tables,
    read_vectors,
    write_table,
    write_vectors,
)

__all__ = [
    "FIELD_UNITS",
    "PathLike",
    "read_archive_table",
    "read_arrays",
    "read_descriptors",
    "read_geometry",
    "read_spec",
    "read_spectra",
    "read_spots",
    "read_table",
    "read_tables",
    "read_text",
    "read_vectors",
    "start_log",
    "write_arrays",
    "write_bytes",
    "write_geometry",
    "write_spectra",
    "write_spots",
    "write_table",
    "write_text",
    "write_vectors",
]


def read_spec(path: PathLike) -> dict[str, Any]:
    """The spec that a table or array file was made with."""
    if str(path).endswith(".npz"):
        return read_arrays(path)[1].get("spec", {})
    return read_table_spec(path)


def read_descriptors(paths: Sequence[PathLike]) -> VectorSet | SpotSet | MoleculeSet:
    """Read the shards of a descriptor: vectors (``.parquet``), spots or molecules (``.npz``)."""
    if not str(paths[0]).endswith(".npz"):
        return read_vectors(paths)
    kind = (read_spec(paths[0]) or {}).get("kind")
    return read_geometry(paths) if kind == "geometry" else read_spots(paths)
