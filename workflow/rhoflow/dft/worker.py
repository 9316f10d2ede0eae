"""One calculation in one process: ``python -m rhoflow.dft.worker JOB.json``.

The job file holds ``engine``, ``spec``, ``log`` (path of the engine's own text), ``folder``
(where the results go), ``stop_with_parent``, and either ``crystal`` or ``element``. The results
are ``arrays.npz`` and then ``result.json``, whose presence says that the job is done. The parent
pins the threads in the environment, before this process loads numpy. Neither pandas nor pymatgen
is imported: for small cells the imports are a large part of the time.
"""

import json
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.dft.base import crystal_from_json, load_engine
from rhoflow.errors import EngineError


def run(job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Do what the job says: a record and the arrays of its density, if any."""
    engine = load_engine(job["engine"])
    spec = engine.SPEC.model_validate(job["spec"])
    log_path = Path(job["log"])
    if "element" in job:
        return engine.atomic_reference(job["element"], spec, log_path), {}
    result = engine.calculate(crystal_from_json(job["crystal"]), spec, log_path)
    spectrum = result.spectrum
    if spectrum is None:
        return result.record, {}
    arrays = {"hkl": spectrum.hkl, "coefficients": spectrum.coefficients}
    return result.record, {**arrays, "g_max": np.asarray(spectrum.g_max)}


def main(job_path: Path) -> None:
    """Run one job file."""
    job = json.loads(job_path.read_text(encoding="utf-8"))
    if job["stop_with_parent"]:
        threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()
    folder = Path(job["folder"])
    try:
        record, arrays = run(job)
        np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
        content = {"record": record, "cost": cost()}
    except EngineError as error:
        content = {"engine_error": str(error)}
    (folder / "result.json").write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def _exit_at_end_of_stdin() -> None:
    """End this process when its parent is gone: even a parent killed outright closes the pipe."""
    while os.read(0, 1):
        pass
    os._exit(1)


def cost() -> dict[str, float]:
    """CPU seconds and peak memory (MB) of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_time_s": round(usage.ru_utime + usage.ru_stime, 3),
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
