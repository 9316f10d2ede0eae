"""Runs an engine over the structures of one shard."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import RIM, Spectrum
from rhoflow.dft.base import (
    EngineSpec,
    crystal_from_json,
    crystal_to_json,
    load_engine,
    structure_identity,
)
from rhoflow.dft.jobs import Job, Outcome, digest, run_jobs
from rhoflow.errors import DataError
from rhoflow.tables import DFT_COST, DFT_RECORDS


@dataclass(frozen=True, eq=False)
class ShardResult:
    """What became of the structures of a shard, in their order.

    Attributes:
        records: ``tables.DFT_RECORDS``.
        cost: ``tables.DFT_COST``, as it was when the structure was computed.
        crystals: the crystals as computed (at another volume, say); as given where that failed.
        densities: valence densities (e/Å³) of those with status ``ok``, by material id.
        potentials: local potentials (eV) of those whose engine tells them.
    """

    records: pd.DataFrame
    cost: pd.DataFrame
    crystals: list[Crystal]
    densities: dict[str, Spectrum]
    potentials: dict[str, Spectrum]


def run_shard(
    crystals: Sequence[Crystal],
    spec: EngineSpec,
    *,
    g_store: float = 0.0,
    done_folder: Path,
    workers: int = 1,
    time_limit_s: float | None = None,
    log: logging.Logger | None = None,
) -> ShardResult:
    """Calculate every crystal, each in a process of its own.

    Args:
        crystals: any cells.
        spec: engine and settings.
        g_store: radius (1/Å) that a density must reach; a structure whose grid is coarser fails.
        done_folder: finished structures; what is found there is not computed again.
        workers: processes at once.
        time_limit_s: wall time after which a structure is given up.
        log: gets a line a structure.

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
    done = [_reaching(outcomes[job.digest], g_store) for job in jobs]
    computed = [_computed(c, o) for c, o in zip(crystals, done, strict=True)]
    records = [
        {**_common(job.task), **o.record, "material_id": c.material_id, "n_atoms": c.n_atoms}
        for c, job, o in zip(computed, jobs, done, strict=True)
    ]
    costs = [{**o.cost, "material_id": i} for o, i in zip(done, ids, strict=True)]
    return ShardResult(
        to_table(records, DFT_RECORDS),
        to_table(costs, DFT_COST),
        computed,
        _spectra("density", computed, done),
        _spectra("potential", computed, done),
    )


def crystal_jobs(crystals: Sequence[Crystal], spec: EngineSpec) -> list[Job]:
    """One job a crystal.

    Its digest holds what the engine says makes it the same one (the structure, usually), the
    settings that decide the numbers, and the engine's version.
    """
    settings = spec.crystal_settings()
    kind = str(settings["kind"])
    engine = load_engine(kind)
    version = engine.version()
    return [
        Job(
            digest=digest(
                {**engine.identity(c, spec), "spec": settings, "engine_version": version}
            ),
            label=c.material_id,
            task={
                "engine": kind,
                "spec": spec.model_dump(mode="json"),
                "crystal": crystal_to_json(c),
            },
            size=c.n_atoms,
            in_process=engine.IN_PROCESS,
        )
        for c in crystals
    ]


def _common(task: Mapping[str, Any]) -> dict[str, Any]:
    """What a record holds even if its process died."""
    return {"engine": task["engine"], "engine_version": load_engine(task["engine"]).version()}


def _reaching(outcome: Outcome, g_store: float) -> Outcome:
    """The outcome, failed if one of its spectra ends before the radius that later stages need."""
    ends = [float(a) for name, a in outcome.arrays.items() if name.endswith("g_max")]
    reach = min(ends, default=np.inf)
    if reach * RIM >= g_store:
        return outcome
    reason = (
        f"its spectrum ends at |g| = {reach:.2f} 1/Å, density.g_store is {g_store:g} 1/Å: lower "
        "g_store, or compute on a finer grid"
    )
    return Outcome({**outcome.record, "status": "failed", "reason": reason}, cost=outcome.cost)


def _computed(crystal: Crystal, outcome: Outcome) -> Crystal:
    """The crystal that record and spectra belong to, under the caller's name."""
    if outcome.crystal is None:
        return crystal
    stored = crystal_from_json(outcome.crystal)
    if structure_identity(stored.scaled(crystal.volume)) == structure_identity(crystal):
        return crystal.scaled(stored.volume)  # whoever computed it first may have turned it
    return replace(stored, material_id=crystal.material_id, origin=crystal.origin)


def _spectra(
    name: str, crystals: Sequence[Crystal], outcomes: Sequence[Outcome]
) -> dict[str, Spectrum]:
    """Spectra of one kind; their hkl do not depend on the orientation of the lattice."""
    return {
        crystal.material_id: Spectrum(
            lattice=np.asarray(crystal.lattice, dtype=np.float64),
            n_atoms=crystal.n_atoms,
            hkl=outcome.arrays[f"{name}_hkl"],
            coefficients=outcome.arrays[f"{name}_coefficients"],
            g_max=float(outcome.arrays[f"{name}_g_max"]),
        )
        for crystal, outcome in zip(crystals, outcomes, strict=True)
        if f"{name}_hkl" in outcome.arrays
    }


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pd.DataFrame:
    """Rows as a table of that schema; what a row lacks is null."""
    return pa.Table.from_pylist(list(rows), schema=schema).to_pandas()
