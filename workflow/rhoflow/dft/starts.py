"""Self-consistent runs from superposed atoms and from given densities, side by side."""

import hashlib
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.dft import gpaw
from rhoflow.dft.base import crystal_to_json, structure_identity
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.jobs import Job, digest, run_jobs
from rhoflow.dft.shard import to_table
from rhoflow.dft.start import ALGORITHM, write_start
from rhoflow.tables import START_RUNS

SUPERPOSED = "superposed atoms"


def compare_starts(
    crystals: Sequence[Crystal],
    spec: GPAWSpec,
    starts: Mapping[str, Mapping[str, Spectrum]],
    *,
    done_folder: Path,
    workers: int = 1,
    time_limit_s: float | None = None,
    log: logging.Logger | None = None,
) -> pd.DataFrame:
    """Run every crystal from superposed atoms, and from each density that is given of it.

    Args:
        crystals: as they are to be computed: ``equation_of_state`` is not obeyed.
        spec: settings of the runs.
        starts: valence densities by name of the start ("predicted", say) and material id.
        done_folder: finished runs; what is found there is not run again.
        workers: processes at once.
        time_limit_s: wall time after which a run is given up.
        log: gets a line a run.

    Returns:
        ``tables.START_RUNS``: crystal by crystal, superposed atoms first. A run that failed, with
        a density of another cell or without numbers, say, is a row with a reason.

    Raises:
        EngineError: GPAW is not installed.
    """
    runs = [
        (crystal, name, densities.get(crystal.material_id))
        for crystal in crystals
        for name, densities in {SUPERPOSED: {}, **starts}.items()
        if name == SUPERPOSED or crystal.material_id in densities
    ]
    with tempfile.TemporaryDirectory(prefix="rhoflow-starts-") as folder:
        jobs = [_job(*run, spec, Path(folder)) for run in runs]
        outcomes = run_jobs(
            jobs, done_folder=done_folder, workers=workers, time_limit_s=time_limit_s, log=log
        )
    rows = [
        {**outcomes[job.digest].record, "material_id": crystal.material_id, "start": name}
        for job, (crystal, name, _) in zip(jobs, runs, strict=True)
    ]
    return to_table(rows, START_RUNS)


def _job(
    crystal: Crystal, name: str, density: Spectrum | None, spec: GPAWSpec, folder: Path
) -> Job:
    """One run; its digest holds structure, settings, version and the density it begins from."""
    made_with = {
        "structure": structure_identity(crystal),
        "spec": spec.crystal_settings(),
        "engine_version": gpaw.version(),
        "start": None if density is None else _fingerprint(density),
        "algorithm": ALGORITHM,
    }
    identity = digest(made_with)
    path = None
    if density is not None:
        path = folder / f"{identity}.npz"
        write_start(path, density)
    task = {
        "engine": "gpaw",
        "spec": spec.model_dump(mode="json"),
        "crystal": crystal_to_json(crystal),
        "start": None if path is None else str(path),
    }
    return Job(identity, f"{crystal.material_id}, {name}", task, size=crystal.n_atoms)


def _fingerprint(density: Spectrum) -> str:
    arrays = (density.lattice, density.hkl, density.coefficients)
    text = hashlib.sha256(f"{density.n_atoms} {density.g_max}".encode())
    for array in arrays:
        text.update(np.ascontiguousarray(array).tobytes())
    return text.hexdigest()
