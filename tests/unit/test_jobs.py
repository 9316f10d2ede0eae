"""Training jobs on two devices: real processes, real files, and the ways in which they end."""

import io as text_io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.training_jobs import classifying_job, learning_job

from rhoflow import io, processes, tables
from rhoflow.errors import DataError, TrainingError
from rhoflow.jobs import launch, rank
from rhoflow.jobs.training import TrainingJob
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.training.distributed import Group

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(autouse=True)
def _outside_of_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> tuple[TrainingJob, str]:
    """A job that two processes have done, and its log."""
    job, log = learning_job(tmp_path_factory.mktemp("learned")), text_io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(log):
        patch.delenv("SLURM_JOB_ID", raising=False)
        launch.start(job)
    return job, log.getvalue()


def content(job: TrainingJob) -> bytes:
    return Path(job.output["predictions"]).read_bytes()


# What comes out ----------------------------------------------------------------------------


def test_two_devices_predict_what_one_does(learned):
    job, _ = learned
    one = learning_job(Path(job.output["predictions"]).parent, devices=1)
    launch.start(one)
    found, wanted = (io.read_table(j.output["predictions"], tables.PREDICTIONS) for j in (job, one))
    assert len(found) == 2 * 2 * 4 * 2  # sizes, seeds, structures, targets
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(found["y_pred"], found["y_true"])
    assert io.read_spec(job.output["predictions"]) == job.params
    assert list(Path(job.checkpoints).iterdir()) == []


def test_the_log_is_that_of_the_first_process(learned):
    _, log = learned
    assert log.count("trained 200 epochs") == 2  # once a training, not once a process
    assert "no GPU: 2 processes share the processor" in log
    assert "redraw 0, 9 training structures: done" in log
    assert log.endswith("\n")


def test_a_classification_on_two_devices(tmp_path):
    jobs = [classifying_job(tmp_path, n) for n in (2, 1)]
    for job in jobs:
        launch.start(job)
    two, one = (io.read_table(j.output["predictions"], tables.CLASSIFICATIONS) for j in jobs)
    pd.testing.assert_frame_equal(two, one, rtol=1e-4)
    features = [io.read_arrays(j.output["features"])[0]["2"] for j in jobs]
    np.testing.assert_allclose(*features, rtol=1e-3, atol=1e-5)


class EndedError(Exception):
    """In place of the end of this process."""


@pytest.fixture
def as_rank(tmp_path, monkeypatch):
    """Does a job as one of several processes; answers how often it waited for the others."""

    def begin(number: int) -> int:
        waited = []

        @contextmanager
        def joined(meeting):
            yield Group(number, 1)

        def end(code: int) -> None:
            raise EndedError(code)

        place = {"RANK": number, "WORLD_SIZE": 2, "LOCAL_RANK": number, "LOCAL_WORLD_SIZE": 2}
        for name, value in place.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(rank.distributed, "joined", joined)
        monkeypatch.setattr(Group, "wait", lambda group: waited.append(group))
        monkeypatch.setattr(rank.io, "start_log", lambda path: None)
        monkeypatch.setattr(rank, "exit_at_end_of_stdin", lambda: None)
        monkeypatch.setattr(rank.os, "_exit", end)
        job = learning_job(tmp_path, epochs=1)
        (tmp_path / "job.json").write_text(job.model_dump_json())
        rank.main(tmp_path)
        return len(waited)

    return begin


@pytest.mark.parametrize("number", [0, 1])
def test_the_first_process_alone_writes(tmp_path, as_rank, number):
    assert as_rank(number) == 1
    assert (tmp_path / "predictions-2.parquet").exists() == (number == 0)


def test_a_job_knows_its_devices(tmp_path):
    job = learning_job(tmp_path, devices=3)
    assert job.devices == 3
    alone = job.params["arm"] | {"model": KRRSpec().model_dump(mode="json")}
    assert job.model_copy(update={"params": job.params | {"arm": alone}}).devices == 1
    first = {k: alone[k] for k in ("descriptor", "model")}  # kernel ridge asks for none
    stack = job.params["arm"] | {"first": first}
    assert job.model_copy(update={"params": job.params | {"arm": stack}}).devices == 3
    assert TrainingJob.model_validate_json(job.model_dump_json()) == job


# How it ends -------------------------------------------------------------------------------

PARENT = """
import sys
from pathlib import Path
from rhoflow import io
from rhoflow.jobs.launch import start
from rhoflow.jobs.training import TrainingJob
io.start_log(sys.argv[2])
start(TrainingJob.model_validate_json(Path(sys.argv[1]).read_text()))
"""


def begin(job: TrainingJob, folder: Path) -> subprocess.Popen[str]:
    """A process that does a job as a rule's script would."""
    (folder / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-c", PARENT, str(folder / "job.json"), str(folder / "log.txt")]
    return subprocess.Popen(command, env=processes.environment(), stderr=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def wait_for_first_training(job: TrainingJob) -> None:
    wait_for(lambda: any(Path(job.checkpoints).glob("*.npz")))


def test_a_killed_process_fails_the_job_at_once(tmp_path):
    job = learning_job(tmp_path)
    parent = begin(job, tmp_path)
    wait_for_first_training(job)
    ranks = children(parent.pid)
    assert len(ranks) == 2
    killed = time.monotonic()
    os.kill(ranks[1], signal.SIGKILL)
    _, terminal = parent.communicate(timeout=30)
    assert time.monotonic() - killed < 10
    assert parent.returncode == 1
    message = (
        "rhoflow: process 2 of 2 of a training: killed by signal 9 (out of memory?). "
        "The other processes were stopped"
    )
    assert message in terminal
    log = (tmp_path / "log.txt").read_text()
    assert message in log
    assert "trained 200 epochs" in log  # what the first process said before
    assert "Traceback" not in log
    assert not any(running(pid) for pid in ranks)
    assert not Path(job.output["predictions"]).exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_their_parent_and_the_next_goes_on(tmp_path, how, learned):
    """The next run finds the first training done and ends with the bytes of an undisturbed one."""
    job = learning_job(tmp_path)
    parent = begin(job, tmp_path)
    wait_for_first_training(job)
    ranks = children(parent.pid)
    parent.send_signal(how)
    parent.communicate(timeout=30)
    assert parent.returncode != 0
    wait_for(lambda: not any(running(pid) for pid in ranks), 10)
    assert not Path(job.output["predictions"]).exists()
    if how != signal.SIGKILL:
        return
    log = text_io.StringIO()
    with redirect_stdout(log):
        launch.start(job)
    assert "training goes on after epoch 200" in log.getvalue()
    assert content(job) == content(learned[0])


# What each process does in place of a training: $RANK, and $1, the folder in which it reports.
STAND_IN = """#!/bin/sh
shift 3
case $RANK in
0) {first};;
1) {second};;
esac
"""


def stand_in(monkeypatch, folder: Path, first: str, second: str) -> TrainingJob:
    python = folder / "python"
    python.write_text(STAND_IN.format(first=first, second=second))
    python.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(python))
    monkeypatch.setattr(launch, "SETTLE_S", 1.0)
    return learning_job(folder).model_copy(update={"threads": 5})


def reports(kind: str, message: str, at: float, lost: bool = False, then: str = "exit 1") -> str:
    record = {"rank": "R", "time": at, "kind": kind, "message": message}
    text = json.dumps({**record, "lost_another": lost, "traceback": "Traceback: here"})
    text = text.replace('"', '\\"').replace('\\"R\\"', "$RANK")
    return f'echo "{text}" > "$1/t$RANK"; mv "$1/t$RANK" "$1/error-$RANK.json"; {then}'


@pytest.mark.parametrize(
    ("first", "second", "kind", "message"),
    [
        # The same error of both; the one that came first; one of its own before a lost peer.
        (reports("DataError", "x.npz: corrupt", 2), reports("DataError", "x.npz: corrupt", 1),
         DataError, r"^x\.npz: corrupt$"),
        ("sleep 0.2; " + reports("ValueError", "late", 2),
         reports("KeyError", "early", 1, then="sleep 60"),
         TrainingError, r"^process 2 of 2 of a training: KeyError: early$"),
        (reports("RuntimeError", "gloo: closed", 1, lost=True),
         "sleep 0.3; " + reports("ValueError", "mine", 2),
         TrainingError, r"^process 2 of 2 of a training: ValueError: mine$"),
        # Deaths without a word, alone and with one that notices it.
        ("sleep 60", "kill -9 $$", TrainingError, r"^process 2 of 2 .*killed by signal 9 \(out of"),
        (reports("RuntimeError", "gloo: closed", 1, lost=True), "sleep 0.3; kill -11 $$",
         TrainingError, r"^process 2 of 2 of a training: killed by signal 11\. The other"),
        ("echo nothing works with $OMP_NUM_THREADS threads; exit 3", "sleep 60",
         TrainingError, r"process 1 of 2 .*ended with code 3: nothing works with 2 threads"),
        # One that waited for the other in vain, which does not know why.
        (reports("DistBackendError", "timeout", 1, lost=True), "sleep 60",
         TrainingError, r"^process 1 of 2 .*lost another, .* in vain: DistBackendError: timeout$"),
        # An exit without a reason of one, while the other does its part.
        ("exit 0", "exit 5", TrainingError, r"process 2 of 2 .*ended with code 5: no output"),
        # A name that is no error of ours.
        (reports("Path", "odd", 1), "sleep 60", TrainingError, r"process 1 of 2 .*: Path: odd$"),
    ],
)  # fmt: skip
def test_the_first_cause_is_what_the_user_sees(tmp_path, monkeypatch, first, second, kind, message):
    job = stand_in(monkeypatch, tmp_path, first, second)
    before = time.monotonic()
    with pytest.raises(kind, match=message):
        launch.start(job)
    assert time.monotonic() - before < 10


@pytest.mark.parametrize(
    ("task", "kind", "lost"),
    [
        (DataError("x.npz: corrupt"), "DataError", False),
        (KeyError("study"), "KeyError", False),
        (RuntimeError("gloo: Connection closed by peer"), "RuntimeError", True),
    ],
)
def test_a_process_leaves_its_error_behind(tmp_path, as_rank, monkeypatch, task, kind, lost):
    def fail(job: TrainingJob) -> None:
        raise task

    monkeypatch.setattr(rank, "train", fail)
    with pytest.raises(EndedError):
        as_rank(1)
    record = json.loads((tmp_path / "error-1.json").read_text())
    assert (record["rank"], record["kind"], record["lost_another"]) == (1, kind, lost)
    assert record["message"] == str(task)
    assert "in fail" in record["traceback"]


# Under Slurm -------------------------------------------------------------------------------

SRUN = """#!{python}
import json, os, subprocess, sys
options = [a for a in sys.argv[1:] if a.startswith("--")]
command = sys.argv[1 + len(options):]
with open({trace!r}, "w") as trace:
    json.dump([options, command, "RANK" in os.environ], trace)
n = int(next(o for o in options if o.startswith("--ntasks=")).split("=")[1])
tasks = []
for i in range(n):
    place = {{"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i), "SLURM_NTASKS": str(n)}}
    tasks.append(subprocess.Popen(command, env={{**os.environ, **place}}))
if {dies}:
    tasks[1].kill()
    tasks[1].wait()
    print("srun: error: node1: task 1: Killed", file=sys.stderr)
    tasks[0].kill()
sys.exit(max(abs(task.wait()) for task in tasks))
"""


def in_slurm(monkeypatch, folder: Path, dies: bool = False) -> Path:
    """A stand-in of srun that starts tasks and tells them their places."""
    programs, trace = folder / "bin", folder / "trace.json"
    programs.mkdir()
    text = SRUN.format(python=sys.executable, trace=str(trace), dies=dies)
    (programs / "srun").write_text(text)
    (programs / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("RANK", "5")  # of something else; must not reach the ranks
    return trace


def test_under_slurm_srun_starts_the_processes(tmp_path, monkeypatch, learned):
    trace = in_slurm(monkeypatch, tmp_path)
    job = learning_job(tmp_path)
    launch.start(job)
    options, command, leaked = json.loads(trace.read_text())
    assert {"--ntasks=2", "--nodes=1", "--overlap", "--kill-on-bad-exit=1"} <= set(options)
    assert command[:4] == [sys.executable, "-P", "-m", "rhoflow.jobs.rank"]
    assert not leaked
    assert content(job) == content(learned[0])


def test_under_slurm_the_words_of_srun_are_shown(tmp_path, monkeypatch):
    in_slurm(monkeypatch, tmp_path, dies=True)
    message = r"a training of 2 processes: srun: error: node1: task 1: Killed"
    with pytest.raises(TrainingError, match=message):
        launch.start(learning_job(tmp_path))
