"""Structures of an archive of finished calculations.

The engine ``archive`` takes the calculations themselves; any other engine computes the structures
anew, at the volumes that the archive found.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from pymatgen.core import Structure

from rhoflow import io, tables
from rhoflow.errors import ConfigError
from rhoflow.spec import Spec
from rhoflow.structures.candidates import Candidate

ATOMS_FILE = "atoms.parquet"


class ArchiveSource(Spec):
    """Structures of an archive of finished calculations."""

    kind: Literal["archive"] = Field(
        default="archive", description="structures of an archive of finished calculations"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    path: str = Field(
        description="folder of the archive, relative to the working directory, or to the "
        "workflow's own folder if it is not there"
    )


def read_archive(spec: ArchiveSource) -> Iterator[Candidate]:
    """Yield the entries of an archive in its order.

    Structures whose calculation failed are candidates without structure, with its reason.

    Raises:
        ConfigError: the folder is missing or holds no shard of an archive.
        DataError: a shard is unreadable.
    """
    for path in archive_shards(spec):
        table = io.read_archive_table(path)
        crystals = tables.table_to_crystals(table)
        for row, crystal in zip(table.to_dict("records"), crystals, strict=True):
            name = crystal.material_id
            if row["status"] != tables.STATUS_OK:
                yield Candidate(name, None, str(row["reason"] or row["status"]))
                continue
            structure = Structure(
                np.asarray(crystal.lattice), list(crystal.symbols), crystal.frac_coords
            )
            yield Candidate(name, structure, origin=f"{path}#{name}")


def archive_shards(spec: ArchiveSource) -> list[Path]:
    """The shards' tables in order.

    Raises:
        ConfigError: the folder is missing or holds none.
    """
    folder = Path(spec.path).expanduser()
    found = sorted(p for p in folder.glob("*.parquet") if p.name != ATOMS_FILE)
    if not found:
        raise ConfigError(
            f"archive: '{folder}' holds no shard of an archive (0000.parquet ...); set the path to "
            "a folder that the target `archives` has written"
        )
    return found


def archive_fingerprint(spec: ArchiveSource) -> str:
    """SHA-256 of the contents of the tables, and of the names and sizes of the spectra.

    Raises:
        ConfigError: as ``archive_shards``.
    """
    told = hashlib.sha256()
    shards = archive_shards(spec)
    for path in [*shards, *sorted(shards[0].parent.glob(ATOMS_FILE))]:
        told.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in sorted(shards[0].parent.glob("*.npz")):
        told.update(f"{path.name} {path.stat().st_size}\n".encode())
    return told.hexdigest()
