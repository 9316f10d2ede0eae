"""One calculation in one process: ``python -m rhoflow.dft.worker JOB.json``.

The job file holds ``engine``, ``spec``, ``log`` (path of the engine's own text), ``folder``
(where the results go), ``stop_with_parent``, and either ``crystal`` or ``element``. The results
are ``arrays.npz`` and then ``result.json``, whose presence says that the job is done. The parent
pins the threads in the environment, before this process loads numpy. The engine-free
part imports neither pandas nor pymatgen: for small cells the imports are much of the time.
"""

import json
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.density.spectrum import Spectrum
from rhoflow.dft.base import Result, crystal_from_json, crystal_to_json, load_engine
from rhoflow.errors import EngineError
from rhoflow.processes import exit_at_end_of_stdin

STARTED = time.monotonic()


def run(job: dict[str, Any]) -> Result:
    """Do what the job says; for an element the result is a record alone."""
    engine = load_engine(job["engine"])
    spec = engine.SPEC.model_validate(job["spec"])
    log_path = Path(job["log"])
    if "element" in job:
        return Result(engine.atomic_reference(job["element"], spec, log_path), None)
    return engine.calculate(crystal_from_json(job["crystal"]), spec, log_path)


def arrays(result: Result) -> dict[str, NDArray[Any]]:
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
    """Run one job file."""
    job = json.loads(job_path.read_text(encoding="utf-8"))
    if job["stop_with_parent"]:
        threading.Thread(target=exit_at_end_of_stdin, daemon=True).start()
    folder = Path(job["folder"])
    try:
        result = run(job)
        np.savez(folder / "arrays.npz", allow_pickle=False, **arrays(result))
        crystal = None if result.crystal is None else crystal_to_json(result.crystal)
        content = {"record": result.record, "crystal": crystal, "cost": result.cost or cost()}
    except EngineError as error:
        content = {"engine_error": str(error)}
    (folder / "result.json").write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def cost() -> dict[str, float]:
    """CPU seconds and peak memory (MB) of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_time_s": round(usage.ru_utime + usage.ru_stime, 3),
        "wall_time_s": round(time.monotonic() - STARTED, 3),
        "peak_memory_mb": round(_peak_memory_mb(usage.ru_maxrss), 1),
    }


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
