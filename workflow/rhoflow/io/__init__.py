"""Files: the only package that knows formats.

Everything is written to a temporary name and renamed, so a file is either whole or absent.
Tables are Parquet and arrays NPZ without pickled objects; both carry the spec that made them
and the version of rhoflow. No file names the time at which it was made: equal inputs give
equal bytes.
"""

from collections.abc import Sequence
from typing import Any

from rhoflow.descriptors.base import VectorSet
from rhoflow.descriptors.fields import FieldSet
from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.descriptors.graph import GraphSet
from rhoflow.descriptors.image import ImageSet
from rhoflow.descriptors.r3dvs import SpotSet
from rhoflow.io.arrays import (
    FIELD_UNITS,
    read_arrays,
    read_fields,
    read_geometry,
    read_graphs,
    read_images,
    read_spectra,
    read_spots,
    read_wells,
    write_arrays,
    write_fields,
    write_geometry,
    write_graphs,
    write_images,
    write_spectra,
    write_spots,
    write_wells,
)
from rhoflow.io.files import PathLike, read_text, write_bytes, write_text
from rhoflow.io.logs import start_log
from rhoflow.io.tables import (
    read_archive_table,
    read_table,
    read_table_spec,
    read_tables,
    read_targets,
    read_vectors,
    write_table,
    write_vectors,
)
from rhoflow.wells import WellSet

__all__ = [
    "FIELD_UNITS",
    "PathLike",
    "read_archive_table",
    "read_arrays",
    "read_descriptors",
    "read_fields",
    "read_geometry",
    "read_graphs",
    "read_images",
    "read_spec",
    "read_spectra",
    "read_spots",
    "read_table",
    "read_tables",
    "read_targets",
    "read_text",
    "read_vectors",
    "read_wells",
    "start_log",
    "write_arrays",
    "write_bytes",
    "write_fields",
    "write_geometry",
    "write_graphs",
    "write_images",
    "write_spectra",
    "write_spots",
    "write_table",
    "write_text",
    "write_vectors",
    "write_wells",
]


def read_spec(path: PathLike) -> dict[str, Any]:
    """The spec that a table or array file was made with."""
    if str(path).endswith(".npz"):
        return read_arrays(path)[1].get("spec", {})
    return read_table_spec(path)


def read_descriptors(
    paths: Sequence[PathLike],
) -> VectorSet | SpotSet | ImageSet | FieldSet | GraphSet | MoleculeSet | WellSet:
    """Read the shards of a descriptor: vectors (``.parquet``), or what its spec names (``.npz``).

    Wells in a box have no shards.
    """
    if not str(paths[0]).endswith(".npz"):
        return read_vectors(paths)
    match (read_spec(paths[0]) or {}).get("kind"):
        case "geometry":
            return read_geometry(paths)
        case "fields":
            return read_fields(paths)
        case "density_image":
            return read_images(paths)
        case "crystal_graph":
            return read_graphs(paths)
        case "wells":
            return read_wells(paths[0])
    return read_spots(paths)
