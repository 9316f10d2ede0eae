"""Runs an engine over the structures of one shard."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.dft.base import EngineSpec, crystal_to_json, load_engine
from rhoflow.dft.jobs import Job, Outcome, digest, run_jobs
from rhoflow.errors import DataError
from rhoflow.tables import DFT_COST, DFT_RECORDS

ROUNDING = 1e-6


def run_shard(
    crystals: Sequence[Crystal],
    spec: EngineSpec,
    *,
    done_folder: Path,
    workers: int = 1,
    time_limit_s: float | None = None,
    log: logging.Logger | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Spectrum]]:
    """Calculate every crystal, each in a process of its own.

    Args:
        crystals: any cells.
        spec: engine and settings.
        done_folder: finished structures; what is found there is not computed again.
        workers: processes at once.
        time_limit_s: wall time after which a structure is given up.
        log: gets a line a structure.

    Returns:
        Records (``tables.DFT_RECORDS``) and costs (``tables.DFT_COST``) in the order of
        ``crystals``, the costs as they were when the structure was computed; and the spectra of
        those with status ``ok``, by material id.

    Raises:
        DataError: a material id occurs twice.
        EngineError: the engine is not installed.
    """
    ids = [c.material_id for c in crystals]
    if len(set(ids)) != len(ids):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise DataError(f"DFT shard: material ids occur twice: {twice}; make them unique")
    jobs = crystal_jobs(crystals, spec)
    outcomes = run_jobs(
        jobs, done_folder=done_folder, workers=workers, time_limit_s=time_limit_s, log=log
    )
    done = [outcomes[job.digest] for job in jobs]
    common = [_common(c, job.task) for c, job in zip(crystals, jobs, strict=True)]
    records = [{**o.record, **c} for o, c in zip(done, common, strict=True)]
    costs = [{**o.cost, "material_id": i} for o, i in zip(done, ids, strict=True)]
    spectra = {
        c.material_id: _spectrum(c, o) for c, o in zip(crystals, done, strict=True) if o.arrays
    }
    return to_table(records, DFT_RECORDS), to_table(costs, DFT_COST), spectra


def crystal_jobs(crystals: Sequence[Crystal], spec: EngineSpec) -> list[Job]:
    """One job a crystal.

    Its digest holds the structure (independent of its name and orientation, coordinates and
    metric of the lattice to 1e-6), the settings that decide the numbers, and the engine's version.
    """
    settings = spec.crystal_settings()
    kind = str(settings["kind"])
    version = load_engine(kind).version()
    return [
        Job(
            digest=digest({**canonical(c), "spec": settings, "engine_version": version}),
            label=c.material_id,
            task={
                "engine": kind,
                "spec": spec.model_dump(mode="json"),
                "crystal": crystal_to_json(c),
            },
            size=c.n_atoms,
        )
        for c in crystals
    ]


def canonical(crystal: Crystal) -> dict[str, Any]:
    """What makes a structure the same one: symbols, metric of the cell, coordinates in [0, 1)."""
    metric = (crystal.lattice @ crystal.lattice.T)[np.tril_indices(3)]  # Å²
    periods = round(1 / ROUNDING)
    return {
        "symbols": list(crystal.symbols),
        "metric": np.rint(metric / ROUNDING).astype(int).tolist(),
        "frac_coords": (np.rint(crystal.frac_coords / ROUNDING).astype(int) % periods).tolist(),
    }


def _common(crystal: Crystal, task: Mapping[str, Any]) -> dict[str, Any]:
    """What a record holds whatever became of the process."""
    return {
        "material_id": crystal.material_id,
        "engine": task["engine"],
        "engine_version": load_engine(task["engine"]).version(),
        "n_atoms": crystal.n_atoms,
    }


def _spectrum(crystal: Crystal, outcome: Outcome) -> Spectrum:
    """The stored coefficients on the caller's lattice: hkl do not depend on its orientation."""
    return Spectrum(
        lattice=np.asarray(crystal.lattice, dtype=np.float64),
        n_atoms=crystal.n_atoms,
        hkl=outcome.arrays["hkl"],
        coefficients=outcome.arrays["coefficients"],
        g_max=float(outcome.arrays["g_max"]),
    )


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pd.DataFrame:
    """Rows as a table of that schema; what a row lacks is null."""
    return pa.Table.from_pylist(list(rows), schema=schema).to_pandas()
