"""Starts a training job: in this process, or in one process a device."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rhoflow import errors, processes
from rhoflow.dft import leash
from rhoflow.jobs.training import TrainingJob, run

logger = logging.getLogger(__name__)

POLL_S = 0.1
# How long the others may take to say what they know, and to end when they are asked to.
SETTLE_S, STOP_S = 5.0, 15.0

# Variables that say which process of a group one is; only a launcher may set them.
PLACES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

# Each option is given, since variables of an outer srun or sbatch may be gone. The step shares
# what the allocation's first step, in which this process runs, already holds: cores, memory, GPUs.
SRUN = (
    "srun",
    "--nodes=1",
    "--overlap",
    "--overcommit",
    "--cpu-bind=none",
    "--mem=0",
    "--mpi=none",
    "--export=ALL",
    "--kill-on-bad-exit=1",
    "--quit-on-interrupt",
)


def start(job: TrainingJob) -> None:
    """Do a job on as many devices as its models ask for."""
    if job.devices == 1:
        run(job)
    else:
        launch(job)


def launch(job: TrainingJob) -> None:
    """Do a job in one process a device, through srun where this is a job of Slurm.

    The first process's log goes to this one's standard output. Whatever ends this process ends
    the others.

    Raises:
        RhoflowError: the one that a process raised.
        TrainingError: a process died, or failed in another way.
    """
    with (
        tempfile.TemporaryDirectory(prefix="rhoflow-training-") as name,
        processes.terminable(),
    ):
        folder = Path(name)
        content = json.dumps(job.model_dump(mode="json"))
        (folder / "job.json").write_text(content, encoding="utf-8")
        with _started(folder, job) as ranks:
            _Watch(folder, job.devices, ranks).until_done()


@contextmanager
def _started(folder: Path, job: TrainingJob) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes, or the one srun that holds them; leaving ends them."""
    ranks: list[subprocess.Popen[bytes]] = []
    worker = [sys.executable, "-P", "-m", "rhoflow.jobs.rank", str(folder)]
    n = job.devices
    environment = processes.environment(max(1, job.threads // n), without=PLACES)
    # All of them are on one machine: gloo needs neither its name nor its network.
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        if "SLURM_JOB_ID" in os.environ and shutil.which("srun"):
            command = [sys.executable, leash.__file__, *SRUN, f"--ntasks={n}", *worker]
            ranks.append(_open(command, environment, folder / "output-0.txt"))
        else:
            for rank in range(n):
                place = {"RANK": rank, "WORLD_SIZE": n, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": n}
                mine = {**environment, **{key: str(value) for key, value in place.items()}}
                ranks.append(_open(worker, mine, folder / f"output-{rank}.txt"))
        logger.info("training on %d devices, one process each", n)
        yield ranks
    finally:
        _stop(ranks)


def _open(
    command: Sequence[str], environment: dict[str, str], output: Path
) -> subprocess.Popen[bytes]:
    # A pipe that closes when this process is gone tells the other to end.
    with output.open("wb") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def _stop(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs: srun passes the request on, a process that is stuck is killed."""
    for process in ranks:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_S
    for process in ranks:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in ranks:
        process.kill()
        process.communicate()


class _Watch:
    """Waits for the processes of a job, and finds out why one failed."""

    def __init__(self, folder: Path, n: int, ranks: list[subprocess.Popen[bytes]]) -> None:
        self.folder, self.n, self.ranks = folder, n, ranks
        self.copied = 0

    def until_done(self) -> None:
        """Return when all processes have ended well."""
        while True:
            codes = [process.poll() for process in self.ranks]
            self._copy_log()
            if all(code == 0 for code in codes):
                return
            if any(codes):
                raise self._failure()
            time.sleep(POLL_S)

    def _copy_log(self) -> None:
        """Add what the first process has logged since to this one's standard output."""
        path = self.folder / "log-0.txt"
        if path.exists():
            with path.open("rb") as log:
                log.seek(self.copied)
                new = log.read()
            new = new[: new.rfind(b"\n") + 1]
            self.copied += len(new)
            print(new.decode("utf-8", errors="replace"), end="", flush=True)

    def _failure(self) -> errors.RhoflowError:
        """The error of the process that failed first, not those that follow from it."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if self._told() or self._silent() or all(p.poll() is not None for p in self.ranks):
                break
            time.sleep(POLL_S)
        silent = self._silent()
        told = self._told() or ([] if silent else self._told(lost=True))
        _stop(self.ranks)
        self._copy_log()
        if told:
            return self._error(min(told, key=lambda record: record["time"]))
        if silent:
            return errors.TrainingError(f"{silent}. The other processes were stopped")
        return errors.TrainingError("a process of a training ended for no reason that is known")

    def _told(self, lost: bool = False) -> list[dict[str, Any]]:
        """What processes said of their own end, or of that of another."""
        records = []
        for path in sorted(self.folder.glob("error-*.json")):
            records.append(json.loads(path.read_text(encoding="utf-8")))
        return [record for record in records if record["lost_another"] == lost]

    def _silent(self) -> str:
        """Which process ended without a word, and how; empty if none did."""
        for rank, process in enumerate(self.ranks):
            code, output = process.poll(), self.folder / f"output-{rank}.txt"
            if not code:
                continue
            if len(self.ranks) < self.n:  # srun alone knows what became of each
                return f"a training of {self.n} processes: {_words_of_srun(code, output)}"
            if not (self.folder / f"error-{rank}.json").exists():
                reason = processes.why_ended(code, output)
                return f"process {rank + 1} of {self.n} of a training: {reason}"
        return ""

    def _error(self, record: dict[str, Any]) -> errors.RhoflowError:
        kind, message = getattr(errors, record["kind"], None), record["message"]
        if isinstance(kind, type) and issubclass(kind, errors.RhoflowError):
            return kind(message)
        print(record["traceback"], flush=True)
        where = f"process {record['rank'] + 1} of {self.n} of a training"
        if record["lost_another"]:
            where = f"{where} lost another, or waited for it in vain"
        return errors.TrainingError(f"{where}: {record['kind']}: {message[:500]}")


def _words_of_srun(code: int, output: Path) -> str:
    """What srun says of the processes that failed."""
    said = output.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = [line for line in said if line.startswith("srun: error")]
    return "; ".join(lines[-8:]) or processes.why_ended(code, output)
