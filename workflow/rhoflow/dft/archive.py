"""Finished calculations of an archive, taken as they are.

An archive is a folder that the rules ``archive_shard`` and ``archive_atoms`` wrote: for each shard
a table (``tables.ARCHIVE``) beside the spectra of its densities and potentials, and the isolated
atoms with their densities. Nothing is computed; the records keep the engine and version that made
them.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from rhoflow import io, tables
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.dft.base import EngineSpec, Result, structure_identity
from rhoflow.errors import DataError


class ArchiveSpec(EngineSpec):
    """Takes finished calculations from the archive that the structures come from."""

    kind: Literal["archive"] = "archive"
    algorithm: Literal[1] = 1
    path: str = Field(
        description="Folder of the archive, that of the data set's source; relative to the "
        "working directory, or to the workflow's own folder if it is not there."
    )


SPEC = ArchiveSpec
IN_PROCESS = True


def version() -> str:
    """Version of the archive's layout."""
    return "1"


def identity(crystal: Crystal, spec: ArchiveSpec) -> dict[str, Any]:
    """Structure and entry."""
    return {**structure_identity(crystal), "origin": crystal.origin}


def calculate(crystal: Crystal, spec: ArchiveSpec, log_path: Path) -> Result:
    """Look up one crystal by the entry that its ``origin`` (``file#id``) names."""
    try:
        stem, _, entry = (crystal.origin or "").partition(".parquet#")
        file = f"{stem}.parquet"
        table, densities, potentials = _shard(file)
        if entry not in table.index:
            raise DataError(f"{file}: holds no entry '{entry}'")
        row = table.loc[entry]
        if entry not in densities and row["status"] == tables.STATUS_OK:
            raise DataError(f"{file}: the density of '{entry}' is missing beside it")
    except DataError as error:
        return Result({"status": "failed", "reason": str(error)}, None)
    names = [n for n in tables.DFT_RECORDS.names if n not in ("material_id", "n_atoms")]
    return Result(
        record={name: _plain(row[name]) for name in names},
        spectrum=densities.get(entry),
        crystal=tables.table_to_crystals(row.to_frame().T)[0],
        potential=potentials.get(entry),
        cost={n: float(row[n]) for n in tables.DFT_COST.names if n != "material_id"},
    )


@cache
def _shard(file: str) -> tuple[pd.DataFrame, dict[str, Spectrum], dict[str, Spectrum]]:
    """Table, densities and potentials of one shard, read once a process."""
    stem = file.removesuffix(".parquet")
    table = io.read_archive_table(file).drop_duplicates("material_id")
    table = table.set_index("material_id", drop=False)
    try:
        densities = io.read_spectra(f"{stem}.density.npz", field="density")
        potentials = io.read_spectra(f"{stem}.potential.npz", field="potential")
    except DataError as error:
        what = str(error).split("It is truncated")[0]
        raise DataError(f"{what} Fetch this file of the archive anew") from error
    return table, densities, potentials


def _plain(value: Any) -> Any:
    """A table's cell as plain data, absent values as None."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if pd.isna(value) else value


@cache
def _atoms(path: str) -> pd.DataFrame:
    return io.read_table(Path(path) / tables.ARCHIVE_ATOMS, tables.ATOMS).set_index(
        "element", drop=False
    )


def atom_identity(element: str, spec: ArchiveSpec) -> dict[str, Any]:
    """The element alone."""
    return {"element": element}


def atomic_reference(element: str, spec: ArchiveSpec, log_path: Path) -> dict[str, Any]:
    """The row of the archive's own table of isolated atoms."""
    atoms = _atoms(spec.path)
    if element not in atoms.index:
        return {"element": element, "status": "failed", "reason": "not in the archive"}
    return {name: _plain(value) for name, value in atoms.loc[element].items()}
