"""Densities of free atoms in the definition of an engine's density."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from rhoflow import io, tables
from rhoflow.dft.archive import ArchiveSpec
from rhoflow.dft.base import EngineSpec
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.pyscf import PySCFSpec
from rhoflow.errors import DataError, EngineError

G_MAX = 12.0
STEP = 0.05
INSTEAD = "set `reference: fitted`, which fits spherical atoms to the densities that are trained on"


def atom_densities(elements: Iterable[str], spec: EngineSpec) -> pd.DataFrame:
    """Form factors of the free atoms of some elements.

    Args:
        elements: chemical symbols.
        spec: the engine that gave the densities of the crystals or molecules.

    Returns:
        ``tables.ATOM_DENSITIES``, one row an element in alphabetical order, up to 12 1/Å.

    Raises:
        EngineError: the engine tells no free atoms.
        DataError: the archive holds none, or not those of every element.
    """
    names = sorted(set(elements))
    if isinstance(spec, GPAWSpec):
        from rhoflow.dft.gpaw_density import atomic_form_factors  # imports GPAW

        return atomic_form_factors(names, spec, G_MAX, STEP)
    if isinstance(spec, PySCFSpec):
        return _of_pyscf(names, spec)
    if isinstance(spec, ArchiveSpec):
        return _of_archive(names, spec)
    kind = spec.model_dump()["kind"]
    raise EngineError(f"engine {kind}: its files tell no densities of free atoms; {INSTEAD}")


def _of_pyscf(names: list[str], spec: PySCFSpec) -> pd.DataFrame:
    """The valence electrons of each atom, as they are kept of molecules."""
    from rhoflow.dft.pyscf_density import form_factors  # imports PySCF

    g = STEP * np.arange(round(G_MAX / STEP) + 1, dtype=np.float64)
    factors = form_factors(names, spec, g)[:, 0]
    columns = {
        "element": names,
        "n_valence_electrons": factors[:, 0],
        "step_per_angstrom": STEP,
        "form_factor": list(factors),
    }
    return pd.DataFrame(columns, columns=tables.ATOM_DENSITIES.names)


def _of_archive(names: list[str], spec: ArchiveSpec) -> pd.DataFrame:
    path = Path(spec.path) / tables.ARCHIVE_ATOM_DENSITIES
    if not path.exists():
        raise DataError(
            f"{path}: this archive holds no densities of free atoms; fetch it anew, pack it with "
            f"this version (the target archives), or {INSTEAD}"
        )
    kept = io.read_table(path, tables.ATOM_DENSITIES).set_index("element", drop=False)
    missing = [name for name in names if name not in kept.index]
    if missing:
        raise DataError(f"{path}: holds no free atom of {', '.join(missing)}; {INSTEAD}")
    return kept.loc[names].reset_index(drop=True)
