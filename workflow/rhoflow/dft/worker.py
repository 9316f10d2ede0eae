"""Calculations in a process of their own: ``python -m rhoflow.dft.worker JOB.json``.

The job file holds ``engine``, ``spec``, ``log`` (path of the engine's own text), ``folder``
(where the results go), ``stop_with_parent``, and one of ``crystal``, ``molecule`` (with what is
``known`` of it) and ``element``; beside a crystal may stand ``start``, the file of a density to
begin from, or null for superposed atoms. The results are ``arrays.npz`` and then ``result.json``,
whose presence says that the job is done. With ``several`` the process then waits for further job
files, whose names come as lines on its stdin, until that is closed. The parent pins the threads in
the environment, before this process loads numpy. The engine-free part imports neither pandas nor
pymatgen: for small cells the imports are much of the time.
"""

import json
import os
import resource
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.dft.base import (
    MoleculeResult,
    Result,
    crystal_from_json,
    crystal_to_json,
    load_engine,
    load_molecule_engine,
    molecule_from_json,
)
from rhoflow.errors import EngineError
from rhoflow.processes import exit_at_end_of_stdin

STARTED = time.monotonic()


@dataclass(frozen=True)
class Finished:
    """What a job left: as ``jobs.Outcome``, ``cost`` None where that of the process counts."""

    record: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    crystal: dict[str, Any] | None = None
    cost: dict[str, float] | None = None


def run(job: dict[str, Any]) -> Finished:
    """Do what the job says; for an element the result is a record alone."""
    if "molecule" in job:
        return _run_molecule(job)
    engine = load_engine(job["engine"])
    spec = engine.SPEC.model_validate(job["spec"])
    log_path = Path(job["log"])
    if "element" in job:
        return Finished(engine.atomic_reference(job["element"], spec, log_path), {})
    crystal = crystal_from_json(job["crystal"])
    if "start" in job:
        return _run_start(crystal, spec, job["start"], log_path)
    result = engine.calculate(crystal, spec, log_path)
    computed = None if result.crystal is None else crystal_to_json(result.crystal)
    return Finished(result.record, _arrays(result), computed, result.cost)


def _run_start(crystal: Crystal, spec: Any, path: str | None, log_path: Path) -> Finished:
    from rhoflow.dft.start import read_start, run_start

    start = None if path is None else read_start(Path(path))
    return Finished(run_start(crystal, spec, start, log_path), {})


def _run_molecule(job: dict[str, Any]) -> Finished:
    engine = load_molecule_engine(job["engine"])
    spec = engine.SPEC.model_validate(job["spec"])
    result: MoleculeResult = engine.calculate_molecule(
        molecule_from_json(job["molecule"]), spec, Path(job["log"]), job["known"]
    )
    return Finished(result.record, result.arrays)


def _arrays(result: Result) -> dict[str, NDArray[Any]]:
    """The spectra of a result as named arrays; those that it lacks are left out."""
    spectra = {"density": result.spectrum, "potential": result.potential}
    return {
        f"{name}_{part}": array
        for name, spectrum in spectra.items()
        if spectrum is not None
        for part, array in _parts(spectrum).items()
    }


def _parts(spectrum: Spectrum) -> dict[str, NDArray[Any]]:
    return {
        "hkl": spectrum.hkl,
        "coefficients": spectrum.coefficients,
        "g_max": np.asarray(spectrum.g_max),
    }


def main(job_path: Path) -> None:
    """Run one job file, and with ``several`` those that follow on stdin."""
    job = _read(job_path)
    if not job["several"]:
        if job["stop_with_parent"]:
            threading.Thread(target=exit_at_end_of_stdin, daemon=True).start()
        _do(job, Meter(STARTED, cpu_s=0.0))
        return
    waiting: SimpleQueue[Path] = SimpleQueue()
    threading.Thread(target=_take_jobs, args=(waiting,), daemon=True).start()
    _do(job, Meter(STARTED, cpu_s=0.0))
    while True:
        following = _read(waiting.get())
        _do(following, Meter.now())


def _read(job_path: Path) -> dict[str, Any]:
    return json.loads(job_path.read_text(encoding="utf-8"))


def _take_jobs(waiting: "SimpleQueue[Path]") -> None:
    """Pass on the job files that the parent names; end this process when the parent is gone."""
    for line in sys.stdin:
        waiting.put(Path(line.rstrip("\n")))
    os._exit(0)


def _do(job: dict[str, Any], meter: "Meter") -> None:
    """Run one job and leave its results in its folder."""
    folder = Path(job["folder"])
    try:
        done = run(job)
        np.savez(folder / "arrays.npz", allow_pickle=False, **done.arrays)
        cost = done.cost or meter.read()
        content = {"record": done.record, "crystal": done.crystal, "cost": cost}
    except EngineError as error:
        content = {"engine_error": str(error)}
    unfinished = folder / "unfinished.json"
    unfinished.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    unfinished.replace(folder / "result.json")


@dataclass(frozen=True)
class Meter:
    """Tells what a job took since it began.

    Attributes:
        started_s: clock at its beginning.
        cpu_s: CPU time of this process before it.
    """

    started_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> "Meter":
        """A meter that begins here, with the peak of the memory set back where Linux can."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return cls(time.monotonic(), _cpu_s())

    def read(self) -> dict[str, float]:
        """CPU seconds, wall time and peak memory (MB) since the beginning."""
        max_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "cpu_time_s": round(_cpu_s() - self.cpu_s, 3),
            "wall_time_s": round(time.monotonic() - self.started_s, 3),
            "peak_memory_mb": round(_peak_memory_mb(max_rss), 1),
        }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_memory_mb(max_rss: int) -> float:
    """Peak memory; on Linux not from ``ru_maxrss``, which begins at the size of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        peak = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        if peak:
            return int(peak[0]) / 1024
    return max_rss / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
