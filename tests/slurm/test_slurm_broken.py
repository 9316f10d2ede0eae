"""What clusters do to running jobs: after each, a run ends with the bytes of an undisturbed one."""

import os
import random
import re
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from tests.slurm.cluster import Cluster, command, wait_for
from tests.slurm.conftest import (
    FEW,
    MINI,
    Running,
    forget,
    jobs,
    local,
    on_slurm,
    run,
    same,
    same_few,
)

KILLS = 10


def test_a_job_over_its_memory_is_killed_and_succeeds_with_more(cluster, computed, undisturbed):
    # The processes of a job alone need more than 100 MB.
    little = ["--set-resources", "model_fit:mem_mb=100 + 1500 * (attempt - 1)"]
    target = "results/predictions/tiny/soap/together/0-0.parquet"
    done = run(on_slurm(computed, *little, "--", target))
    assert "Trying to restart job" in done.stderr
    (log,) = (computed / ".snakemake" / "slurm_logs" / "rule_model_fit").rglob("*.log")
    assert "exceeded memory limit" in log.read_text()
    one, two = (folder / target for folder in (computed, undisturbed))
    assert one.read_bytes() == two.read_bytes()


def test_a_job_over_its_time_goes_on_inside_its_shard(cluster, tmp_path):
    """Slurm's limits count in minutes, so this one is moved to now, after the first structure."""
    raw = yaml.safe_load(MINI.read_text())
    raw["engines"]["gpaw"]["equation_of_state"] = {}
    raw["datasets"]["mini"]["shard_size"] = 4
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(raw))
    slow, whole = tmp_path / "slow", tmp_path / "whole"
    slow.mkdir()
    target = "results/dft/mini/0000.parquet"
    words = on_slurm(slow, "--set-threads", "dft_run=1", "--", target, config=config)
    running = Running(words, slow)
    done = slow / "results" / "dft" / "done"
    wait_for("a finished structure", lambda: bool(list(done.glob("*.npz"))), 300)
    (job,) = jobs()
    command("scontrol", "update", f"JobId={job}", "EndTime=now+1")
    text = running.wait()
    assert "SLURM status is: 'TIMEOUT'" in text
    assert "Trying to restart job" in text
    log = (slow / "results/logs/dft_run/mini/0000.log").read_text()
    found = re.search(r"(\d+) of 4 found in", log)
    assert found, log
    assert 0 < int(found[1]) < 4
    # Undisturbed, on this machine: its cells are computed anew.
    run(local(whole, "--", target, config=config))
    assert (slow / target).read_bytes() == (whole / target).read_bytes()


def test_cancelled_jobs_are_submitted_again(cluster, computed, undisturbed):
    running = Running(on_slurm(computed, *FEW), computed)
    cancelled: list[str] = []
    wait_for("a running job", lambda: bool(cancelled.extend(jobs()) or cancelled), 120)
    command("scancel", *cancelled)
    text = running.wait()
    assert "Trying to restart job" in text
    same_few(undisturbed, computed)


def test_the_controller_restarts_and_the_node_is_drained(cluster: Cluster, computed, undisturbed):
    running = Running(on_slurm(computed, *FEW), computed)
    wait_for("a running job", lambda: bool(jobs()), 120)
    cluster.stop_controller()
    time.sleep(3)
    assert running.process.poll() is None
    cluster.start_controller()
    wait_for("the controller's view of the node", lambda: cluster.state() != "unknown", 60)
    cluster.set_node("drain")
    try:
        wait_for("an empty node", lambda: not jobs(), 420)
        assert running.process.poll() is None
    finally:  # on a drained node every later test would wait until its end
        cluster.set_node("resume")
    running.wait()
    same_few(undisturbed, computed)


def test_killed_at_random_moments_it_resumes(cluster: Cluster, computed, undisturbed):
    """SIGKILL, by turns of Snakemake and of everything in a job, at moments that are drawn."""
    seed = int.from_bytes(os.urandom(4))
    draw = random.Random(seed)
    print("seed", seed)  # shown when the test fails
    running, kills = Running(on_slurm(computed), computed), 0
    deadline = time.monotonic() + 900
    while kills < KILLS and time.monotonic() < deadline:
        time.sleep(draw.uniform(1, 12))
        if running.process.poll() is None and kills % 2 == 0:
            running.kill()
            kills += 1
        elif running.process.poll() is None and (victims := processes_of_jobs()):
            kill(draw.choice(victims))
            kills += 1
        if running.process.poll() is not None:
            whole(computed)
            if running.process.returncode == 0:
                forget(computed)
            run(on_slurm(computed, "--unlock"))
            running = Running(on_slurm(computed), computed)
            time.sleep(draw.uniform(4, 10))  # its start
    assert kills == KILLS
    running.wait(ok=None)
    run(on_slurm(computed))
    same(undisturbed, computed)


def processes_of_jobs() -> list[list[int]]:
    """The processes of every job that runs, by its step daemon."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_step = "slurmstepd: [" in (entry / "cmdline").read_text()
        except OSError:
            continue
        below = descendants(int(entry.name)) if is_step else []
        if below:
            found.append(below)
    return found


def descendants(pid: int) -> list[int]:
    """Processes below a process."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    children = [int(child) for child in text.split()]
    return [*children, *(d for child in children for d in descendants(child))]


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def whole(folder: Path) -> None:
    """Every table under its final name can be read: none is half written."""
    for path in (folder / "results").rglob("*.parquet"):
        if not path.name.startswith("."):
            pq.read_table(path)


def test_what_a_killed_run_left_behind_does_not_write_into_the_next(cluster, computed, undisturbed):
    """A job of a run that was killed, about to spoil a table of the next one."""
    spoilt = computed / "results/predictions/tiny/soap/together/0-0.parquet"
    logs = computed / ".snakemake" / "slurm_logs" / "rule_model_fit"
    logs.mkdir(parents=True)
    script = f"sleep 600; mkdir -p {spoilt.parent}; echo spoilt > {spoilt}"
    left = command("sbatch", "--parsable", f"--output={logs}/%j.log", f"--wrap={script}")
    running = Running(on_slurm(computed, *FEW), computed)
    text = running.wait()
    assert f"left behind were cancelled: {left}" in text
    assert left not in jobs()
    same_few(undisturbed, computed)


def test_two_runs_at_once_in_one_folder(cluster, computed, undisturbed):
    first = Running(on_slurm(computed, *FEW), computed)
    wait_for("a running job", lambda: bool(jobs()), 120)
    # Without the option of the profile, Snakemake may name the files that are being made instead.
    here = local(computed, "--rerun-incomplete", *FEW)
    for second in (here, on_slurm(computed, *FEW)):
        assert "cannot be locked" in run(second, ok=False).stderr
    first.wait()
    same_few(undisturbed, computed)
