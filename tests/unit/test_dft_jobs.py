"""The runner of jobs, with small scripts in place of an engine."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from rhoflow.dft import jobs
from rhoflow.dft.jobs import Job, digest, run_jobs

# What a worker does, by job: its behaviour is in task["do"]; every start leaves a line in a file.
WORKER = """
import json, os, signal, sys, time
from pathlib import Path
import numpy as np
job = json.loads(Path(sys.argv[1]).read_text())
with open(job["trace"], "a") as trace:
    trace.write(job["name"] + "\\n")
folder, do = Path(job["folder"]), job["do"]
pid = Path(job["trace"]).with_name("pid")
if do == "sleep":
    pid.write_text(f"{os.getpid()}.")
    time.sleep(60)
    with open(job["trace"], "a") as trace:
        trace.write("woken\\n")
if do == "crash": raise ValueError("broken on purpose")
if do == "kill": os.kill(os.getpid(), signal.SIGKILL)
if do == "engine_error":
    for _ in range(1000):  # until the sleeping one is there to be stopped
        if pid.exists() and pid.read_text().endswith("."): break
        time.sleep(0.01)
    (folder / "result.json").write_text(json.dumps({"engine_error": "no engine here"}))
    sys.exit()
np.savez(folder / "arrays.npz", x=np.arange(3))
record = {"status": do, "reason": None if do == "ok" else "because",
          "threads": os.environ["OMP_NUM_THREADS"]}
content = {"record": record, "crystal": None, "cost": {"cpu_time_s": 1.0}}
(folder / "result.json").write_text(json.dumps(content))
"""


@pytest.fixture
def worker(tmp_path: Path) -> list[str]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    return [sys.executable, str(script)]


def job(tmp_path: Path, name: str, do: str = "ok", size: int = 0) -> Job:
    task = {"name": name, "do": do, "trace": str(tmp_path / "trace")}
    return Job(digest({"name": name}), name, task, size)


def started(tmp_path: Path) -> list[str]:
    trace = tmp_path / "trace"
    return trace.read_text().split() if trace.exists() else []


def test_finished_jobs_are_found_again_and_failed_ones_tried_again(tmp_path, worker):
    todo = [job(tmp_path, "a"), job(tmp_path, "b", "not_converged"), job(tmp_path, "c", "failed")]
    first = run_jobs(todo, done_folder=tmp_path / "done", workers=2, worker=worker)
    again = run_jobs(todo, done_folder=tmp_path / "done", worker=worker)
    assert sorted(started(tmp_path)) == ["a", "b", "c", "c"]
    for j in todo:
        assert again[j.digest].record == first[j.digest].record
        assert again[j.digest].cost == first[j.digest].cost
    assert first[todo[0].digest].arrays["x"].tolist() == [0, 1, 2]
    assert again[todo[0].digest].arrays["x"].tolist() == [0, 1, 2]


def test_equal_digests_run_once_on_one_thread_largest_first(tmp_path, worker):
    todo = [job(tmp_path, "small", size=1), job(tmp_path, "large", size=9)]
    outcomes = run_jobs([*todo, *todo], done_folder=tmp_path / "done", worker=worker)
    assert started(tmp_path) == ["large", "small"]
    assert outcomes[todo[0].digest].record["threads"] == "1"


@pytest.mark.parametrize("damage", ["truncated", "flipped", "garbage", "other"])
def test_damaged_file_is_reported_and_computed_anew(tmp_path, worker, damage, caplog):
    one, two = job(tmp_path, "a"), job(tmp_path, "b")
    done = tmp_path / "done"
    run_jobs([one, two], done_folder=done, worker=worker)
    path, other = done / f"{one.digest}.npz", done / f"{two.digest}.npz"
    whole = path.read_bytes()
    middle = whole.index(b"x.npy") + 40
    content = {
        "truncated": whole[:200],
        "flipped": whole[:middle]
        + bytes(255 - b for b in whole[middle : middle + 8])
        + whole[middle + 8 :],
        "garbage": b"x" * 100,
        "other": other.read_bytes(),
    }
    path.write_bytes(content[damage])
    with caplog.at_level(logging.WARNING):
        outcomes = run_jobs([one], done_folder=done, worker=worker)
    assert "damaged" in caplog.text
    assert outcomes[one.digest].record["status"] == "ok"
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("crash", "worker ended with code 1: ValueError: broken on purpose"),
        ("kill", "killed by signal 9 (out of memory?)"),
        ("sleep", "time limit of 0.005 min"),
    ],
)
def test_a_process_that_dies_fails_alone(tmp_path, worker, do, reason):
    limit = 0.3 if do == "sleep" else None
    bad, good = job(tmp_path, "bad", do, size=5), job(tmp_path, "good")
    outcomes = run_jobs([bad], done_folder=tmp_path, time_limit_s=limit, worker=worker)
    assert outcomes[bad.digest].record == {"status": "failed", "reason": reason}
    outcomes = run_jobs([good], done_folder=tmp_path, worker=worker)
    assert outcomes[good.digest].record["status"] == "ok"


def test_engine_error_stops_everything(tmp_path, worker):
    todo = [job(tmp_path, "long", "sleep", size=2), job(tmp_path, "bad", "engine_error")]
    with pytest.raises(jobs.EngineError, match="no engine here"):
        run_jobs(todo, done_folder=tmp_path / "done", workers=2, worker=worker)
    assert not alive(written_pid(tmp_path))
    assert sorted(started(tmp_path)) == ["bad", "long"]  # the sleeping one never woke


def test_progress_lines(tmp_path, worker, caplog):
    with caplog.at_level(logging.INFO):
        run_jobs(
            [job(tmp_path, "MgO"), job(tmp_path, "Bad", "failed")],
            done_folder=tmp_path / "done",
            worker=worker,
        )
    assert "[1/2] MgO ok " in caplog.text
    assert "[2/2] Bad failed " in caplog.text
    assert ": because (log: " in caplog.text


def test_digest_depends_on_content_not_on_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    with pytest.raises(ValueError, match="Out of range"):
        digest({"a": float("nan")})


PARENT = """
import json, sys
from pathlib import Path
from rhoflow.dft.jobs import Job, run_jobs
run_jobs([Job("x", "x", {})], done_folder=Path(sys.argv[1]), worker=[sys.executable, sys.argv[2]])
"""
CHILD = """
import os, sys, threading, time
from pathlib import Path
from rhoflow.processes import exit_at_end_of_stdin
threading.Thread(target=exit_at_end_of_stdin, daemon=True).start()
Path(__file__).with_name("pid").write_text(f"{os.getpid()}.")
time.sleep(60)
"""


def wait_for(condition, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def written_pid(folder: Path) -> int:
    return int((folder / "pid").read_text().rstrip("."))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_children_end_with_their_parent(tmp_path, how):
    for name, text in {"parent.py": PARENT, "child.py": CHILD}.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", tmp_path / "done", tmp_path / "child.py"],
        env=jobs._environment(),
        stderr=subprocess.DEVNULL,
        # A suite that runs in the background ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pid_file = tmp_path / "pid"
    assert wait_for(lambda: pid_file.exists() and pid_file.read_text().endswith("."))
    child = written_pid(tmp_path)
    parent.send_signal(how)
    assert parent.wait(30) != 0
    assert wait_for(lambda: not alive(child), 10)


def test_job_file_holds_only_json(tmp_path, worker):
    one = job(tmp_path, "a")
    json.dumps(one.task)
    run_jobs([one], done_folder=tmp_path / "done", worker=worker)
    assert sorted(p.suffix for p in (tmp_path / "done").iterdir()) == [".npz"]
