"""Energies of isolated atoms, against which the cohesive energy is measured."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from rhoflow.dft.base import EngineSpec, load_engine
from rhoflow.dft.jobs import Job, digest, run_jobs
from rhoflow.dft.shard import to_table
from rhoflow.tables import ATOMS


def run_atoms(
    elements: Iterable[str],
    spec: EngineSpec,
    *,
    done_folder: Path,
    workers: int = 1,
    time_limit_s: float | None = None,
    log: logging.Logger | None = None,
) -> pd.DataFrame:
    """The atomic reference of every element, each in a process of its own.

    Args:
        elements: chemical symbols; each is computed once.
        spec: engine and settings.
        done_folder: finished elements; what is found there is not computed again.
        workers: processes at once.
        time_limit_s: wall time after which an element is given up.
        log: gets a line an element.

    Returns:
        ``tables.ATOMS``, one row an element in alphabetical order; an element that failed has
        status ``failed`` and a reason, and the structures with it no cohesive energy.

    Raises:
        EngineError: the engine is not installed.
    """
    names = sorted(set(elements))
    jobs = [_job(element, spec) for element in names]
    outcomes = run_jobs(
        jobs, done_folder=done_folder, workers=workers, time_limit_s=time_limit_s, log=log
    )
    rows: list[dict[str, Any]] = [
        {**outcomes[job.digest].record, "element": name}
        for job, name in zip(jobs, names, strict=True)
    ]
    return to_table(rows, ATOMS)


def _job(element: str, spec: EngineSpec) -> Job:
    settings = spec.atom_settings()
    kind = str(settings["kind"])
    engine = load_engine(kind)
    version = engine.version()
    made_with = {"spec": settings, "engine_version": version}
    return Job(
        digest=digest({**engine.atom_identity(element, spec), **made_with}),
        label=f"atom {element}",
        task={"engine": kind, "spec": spec.model_dump(mode="json"), "element": element},
        in_process=engine.IN_PROCESS,
    )
