"""Structures of an archive of finished calculations.

The engine ``archive`` takes the calculations themselves; any other engine computes the structures
anew, at the volumes that the archive found.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from pymatgen.core import Structure

from rhoflow import io, tables
from rhoflow.errors import ConfigError, DataError
from rhoflow.spec import Spec
from rhoflow.structures.candidates import ONE_ENTRY, Candidate, once_each
from rhoflow.structures.folder import user_path
from rhoflow.structures.reading import (
    ID_LENGTH,
    REASON_LENGTH,
    attempt,
    build,
    one_line,
    symbol_of,
)

# Tables beside the shards.
OF_ATOMS = (tables.ARCHIVE_ATOMS, tables.ARCHIVE_ATOM_DENSITIES)


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

    Structures whose calculation failed are candidates without structure, with its reason; a row
    that is damaged is one too, and so is one whose id has come before, in whichever shard.

    Raises:
        ConfigError: the folder is missing or holds no shard of an archive.
        DataError: a shard is unreadable.
    """
    return once_each(_candidates(archive_shards(spec)))


def archive_steps() -> dict[str, str]:
    """The source's own rows of the funnel, with what passes each."""
    return {ONE_ENTRY: "the first entry of every id"}


def _candidates(shards: list[Path]) -> Iterator[Candidate]:
    for path in shards:
        try:
            table = io.read_archive_table(path)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: holds text that is not UTF-8 ({one_line(error, 100)}); fetch or write "
                "the archive anew"
            ) from error
        for number, row in enumerate(table.to_dict("records"), start=1):
            yield _candidate(row, path, number)


def _candidate(row: Mapping[str, Any], path: Path, number: int) -> Candidate:
    name = _text(row["material_id"])
    if not name:
        return Candidate(f"{path.stem}#row-{number}", None, "entry without id")
    shown = one_line(name, ID_LENGTH)
    status = _text(row["status"])
    if status != tables.STATUS_OK:
        reason = _text(row["reason"]) or (
            f"status '{status}'" if status else "entry without status"
        )
        return Candidate(shown, None, one_line(reason, REASON_LENGTH))
    return replace(attempt(shown, _structure_of, row), origin=f"{path}#{name}")


def _text(value: object) -> str:
    """A cell of text; empty where the table holds nothing or no text."""
    return value if isinstance(value, str) else ""


def _structure_of(row: Mapping[str, Any]) -> Structure:
    lattice, symbols, coords = (row[n] for n in ("lattice_angstrom", "symbols", "frac_coords"))
    if lattice is None or symbols is None or coords is None:
        raise ValueError("no lattice, symbols or coordinates")
    if len(lattice) != 9 or len(coords) != 3 * len(symbols):
        raise ValueError(
            f"{len(lattice)} numbers of the lattice and {len(coords)} coordinates for "
            f"{len(symbols)} atoms; expected 9 and {3 * len(symbols)}"
        )
    positions = np.asarray(coords, dtype=np.float64).reshape(-1, 3)
    names = [symbol_of(str(symbol)) for symbol in symbols]
    return build(np.asarray(lattice, dtype=np.float64).reshape(3, 3), names, positions)


def archive_shards(spec: ArchiveSource) -> list[Path]:
    """The shards' tables in order.

    Raises:
        ConfigError: the folder is missing or holds none.
    """
    folder = user_path(spec.path, "archive")
    found = sorted(p for p in folder.glob("*.parquet") if p.name not in OF_ATOMS and p.is_file())
    if not found:
        raise ConfigError(
            f"archive: '{folder}' holds no shard of an archive (0000.parquet ...); set the path to "
            "a folder that the target `archives` has written"
        )
    # The path of a shard becomes text in the table of structures.
    odd = [p for p in found if any("\ud800" <= c <= "\udfff" for c in str(p))]
    if odd:
        raise ConfigError(
            f"archive: the path of the shard {str(odd[0])!r} is not UTF-8; rename the file or its "
            "folder"
        )
    return found


def archive_fingerprint(spec: ArchiveSource) -> str:
    """SHA-256 of the contents of the tables, and of the names and sizes of the spectra.

    Raises:
        ConfigError: as ``archive_shards``.
    """
    told = hashlib.sha256()
    shards = archive_shards(spec)
    atoms = [p for name in OF_ATOMS if (p := shards[0].with_name(name)).is_file()]
    for path in [*shards, *atoms]:
        told.update(os.fsencode(path.name) + b"\0" + path.read_bytes())
    for path in sorted(shards[0].parent.glob("*.npz")):
        told.update(os.fsencode(path.name) + f" {path.stat().st_size}\n".encode())
    return told.hexdigest()
