"""Runs jobs in processes of their own, keeps what is done, survives being killed.

Every finished job is one file in ``done_folder`` named by its digest, written atomically: a
killed run, a larger sample or another shard finds it again. Jobs that failed are not kept and so
tried again by the next run.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow import io, processes
from rhoflow.dft import worker as one_job
from rhoflow.errors import DataError, EngineError

KEPT = ("ok", "not_converged")
POLL_S = 0.03
WORKER = (sys.executable, "-P", "-m", "rhoflow.dft.worker")
GPAW_VARIABLES = ("GPAW_SETUP_PATH", "GPAW_CONFIG")


@dataclass(frozen=True)
class Job:
    """One thing to compute.

    Attributes:
        digest: of everything that decides the result; its name in the done folder.
        label: for people, in the log.
        task: what the worker gets: engine, spec, and crystal, molecule or element.
        size: jobs with more are started first, so that no long one is left for the end.
        in_process: it only looks something up and needs no process of its own.
        several: its process then takes further such jobs, for engines that start slowly.
    """

    digest: str
    label: str
    task: dict[str, Any]
    size: int = 0
    in_process: bool = False
    several: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a job.

    Attributes:
        record: a row of its table.
        arrays: those of its spectra, if any.
        crystal: the crystal that was computed, as plain data, if its engine says so.
        cost: CPU time and memory.
    """

    record: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    crystal: dict[str, Any] | None = None
    cost: dict[str, float] = field(default_factory=dict)


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of JSON-able content, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def run_jobs(
    jobs: Sequence[Job],
    *,
    done_folder: Path,
    workers: int = 1,
    time_limit_s: float | None = None,
    log: logging.Logger | None = None,
    worker: Sequence[str] = WORKER,
) -> dict[str, Outcome]:
    """Run jobs, ``workers`` at once, each on one thread in a process apart from this one.

    Args:
        jobs: equal digests are computed once.
        done_folder: results of finished jobs, and the engine's log of each.
        workers: processes at once.
        time_limit_s: wall time after which a job is killed and counts as failed.
        log: gets a line a job.
        worker: command that runs a job file.

    Returns:
        The outcome of every digest.

    Raises:
        EngineError: the engine cannot be used at all; the other processes are stopped.
    """
    unique = {job.digest: job for job in jobs}
    if all(job.in_process for job in jobs):
        return {d: _look_up(job) for d, job in unique.items()}
    log = log or logging.getLogger(__name__)
    done_folder = done_folder.resolve()
    done_folder.mkdir(parents=True, exist_ok=True)
    found = {d: kept for d in unique if (kept := _read_done(done_folder, d, log)) is not None}
    waiting = sorted((j for d, j in unique.items() if d not in found), key=lambda j: -j.size)
    if found:
        log.info("%d of %d found in %s", len(found), len(unique), done_folder)
    with _Pool(done_folder, len(waiting), time_limit_s, log, worker) as pool:
        new = pool.run(waiting, max(1, workers))
    return {d: found.get(d) or new[d] for d in unique}


def _look_up(job: Job) -> Outcome:
    """The outcome of an engine that computes nothing."""
    done = one_job.run({**job.task, "log": os.devnull})
    return Outcome(done.record, done.arrays, done.crystal, done.cost or {})


def _read_done(done_folder: Path, name: str, log: logging.Logger) -> Outcome | None:
    """A finished job, or None if it is to be computed: absent or damaged."""
    path = done_folder / f"{name}.npz"
    if not path.exists():
        return None
    try:
        arrays, meta = io.read_arrays(path)
        if meta["digest"] != name or meta["record"]["status"] not in KEPT:
            raise DataError(f"{path}: not the result of this job")
        return Outcome(meta["record"], arrays, meta["crystal"], meta["cost"])
    except (DataError, KeyError, TypeError, zlib.error) as error:
        log.warning("%s is damaged and computed anew (%s)", path, error)
        return None


def _write_done(done_folder: Path, name: str, outcome: Outcome) -> None:
    meta = {
        "digest": name,
        "record": outcome.record,
        "crystal": outcome.crystal,
        "cost": outcome.cost,
    }
    io.write_arrays(done_folder / f"{name}.npz", outcome.arrays, meta)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    output: Path


@dataclass
class _Running:
    job: Job
    worker: _Worker
    folder: Path
    started: float


class _Pool:
    """The processes of one ``run_jobs``; leaving it, by whatever way, ends them."""

    def __init__(
        self,
        done_folder: Path,
        total: int,
        time_limit_s: float | None,
        log: logging.Logger,
        worker: Sequence[str],
    ) -> None:
        self.done_folder, self.total, self.log = done_folder, total, log
        self.time_limit_s, self.command = time_limit_s, worker
        self.running: list[_Running] = []
        self.idle: list[_Worker] = []
        self.scratch = tempfile.TemporaryDirectory(prefix="rhoflow-dft-")

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_: object) -> None:
        processes_left = [w.process for w in (*self.idle, *(e.worker for e in self.running))]
        for process in processes_left:
            process.kill()
        for process in processes_left:
            process.communicate()
        self.scratch.cleanup()

    def run(self, jobs: Sequence[Job], workers: int) -> dict[str, Outcome]:
        """Run all jobs; the outcome of each digest."""
        waiting = list(reversed(jobs))
        outcomes: dict[str, Outcome] = {}
        with processes.terminable():
            while waiting or self.running:
                while waiting and len(self.running) < workers:
                    self._start(waiting.pop())
                for entry in [e for e in self.running if self._ended(e)]:
                    outcome = self._collect(entry)
                    self.running.remove(entry)
                    outcomes[entry.job.digest] = outcome
                    self._report(entry, outcome, len(outcomes))
                time.sleep(POLL_S)
        return outcomes

    def _start(self, job: Job) -> None:
        folder = Path(self.scratch.name) / job.digest
        folder.mkdir()
        paths = {"folder": str(folder), "log": str(self.done_folder / f"{job.digest}.txt")}
        flags = {"stop_with_parent": True, "several": job.several}
        path = folder / "job.json"
        path.write_text(json.dumps({**job.task, **paths, **flags}), encoding="utf-8")
        worker = self._waiting_worker(path) if job.several else None
        if worker is None:
            worker = self._new_worker(path)
        self.running.append(_Running(job, worker, folder, time.monotonic()))

    def _waiting_worker(self, path: Path) -> _Worker | None:
        """A process that has done its job and takes this one, if there is one."""
        while self.idle:
            worker = self.idle.pop()
            try:
                assert worker.process.stdin is not None
                worker.process.stdin.write(f"{path}\n".encode())
                worker.process.stdin.flush()
            except OSError:  # it has ended meanwhile
                worker.process.communicate()
                continue
            return worker
        return None

    def _new_worker(self, path: Path) -> _Worker:
        output = path.with_name("output.txt")
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [*self.command, str(path)],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=_environment(),
            )
        return _Worker(process, output)

    def _ended(self, entry: _Running) -> bool:
        if entry.worker.process.poll() is not None or self._waits_again(entry):
            return True
        return (
            self.time_limit_s is not None and time.monotonic() - entry.started > self.time_limit_s
        )

    @staticmethod
    def _waits_again(entry: _Running) -> bool:
        """Whether a process that takes several jobs is done with this one."""
        return entry.job.several and (entry.folder / "result.json").exists()

    def _collect(self, entry: _Running) -> Outcome:
        """Read what a process left behind, and keep it if it is worth keeping."""
        if self._waits_again(entry):
            self.idle.append(entry.worker)
            return self._kept(entry, _result(entry.folder), "")
        process = entry.worker.process
        code = process.poll()
        if code is None:
            process.kill()
        process.communicate()
        if code is None:
            return _failed(f"time limit of {(self.time_limit_s or 0) / 60:g} min")
        why = processes.why_ended(code, entry.worker.output)
        return self._kept(entry, _result(entry.folder) if code == 0 else None, why)

    def _kept(self, entry: _Running, outcome: Outcome | None, why: str) -> Outcome:
        """The outcome, written down if it is worth it; ``why`` says why there is none."""
        if outcome is None:
            return _failed(why)
        if outcome.record["status"] in KEPT:
            _write_done(self.done_folder, entry.job.digest, outcome)
        return outcome

    def _report(self, entry: _Running, outcome: Outcome, n_done: int) -> None:
        status, reason = outcome.record["status"], outcome.record.get("reason")
        log_path = self.done_folder / f"{entry.job.digest}.txt"
        self.log.info(
            "[%d/%d] %s %s %.1f s%s",
            n_done,
            self.total,
            entry.job.label,
            status,
            time.monotonic() - entry.started,
            f": {reason} (log: {log_path})" if reason else "",
        )


def _failed(reason: str) -> Outcome:
    return Outcome({"status": "failed", "reason": reason})


def _result(folder: Path) -> Outcome | None:
    """What a worker wrote, None if it ended without; EngineError is raised here again."""
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if "engine_error" in content:
        raise EngineError(content["engine_error"])
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Outcome(content["record"], arrays, content["crystal"], content["cost"])


def _environment() -> dict[str, str]:
    """The environment of a worker, on one thread.

    GPAW's own variables are left out: PAW sets from elsewhere would change numbers unseen.
    """
    return processes.environment(without=GPAW_VARIABLES)
