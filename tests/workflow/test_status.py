"""`snakemake status`: beside a run, after one was killed, with any options; it leaves no trace."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MINI = ROOT / "config" / "test" / "mini.yaml"
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.workflow


def command(folder: Path, *arguments: str, config: Path = MINI) -> list[str]:
    return [
        *SNAKEMAKE, *arguments, "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(folder), "--configfile", str(config),
    ]  # fmt: skip


def snakemake(folder: Path, *arguments: str, config: Path = MINI):
    return subprocess.run(
        command(folder, *arguments, config=config),
        capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=folder,
    )  # fmt: skip


def page(folder: Path, *arguments: str, config: Path = MINI) -> str:
    """The text on standard output of a call that went well."""
    done = snakemake(folder, "status", *arguments, config=config)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def changed(folder: Path, edit) -> Path:
    raw = yaml.safe_load(MINI.read_text())
    edit(raw)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def content(folder: Path) -> dict[Path, int]:
    """Files and when they were changed, and folders."""
    return {p: p.stat().st_mtime_ns if p.is_file() else 0 for p in folder.rglob("*")}


@pytest.mark.parametrize(
    "arguments",
    [(), ("-n",), ("--cores", "2"), ("--profile", str(ROOT / "slurm"))],
    ids=["alone", "dry", "cores", "slurm"],
)
def test_it_answers_with_any_options_and_leaves_no_trace(tmp_path, arguments):
    text = page(tmp_path, *arguments)
    assert text.startswith("No run holds this folder.\n\nData sets ")
    assert "mini: not selected yet, 4 asked" in text
    assert "tiny " in text
    assert "report of the default run: not yet" in text
    assert not list(tmp_path.iterdir())


def test_it_is_a_target_that_is_listed_and_stands_alone(tmp_path):
    listed = snakemake(tmp_path, "--list")
    assert "status" in listed.stdout.split()
    both = snakemake(tmp_path, "status", "data")
    assert both.returncode == 1
    assert "no other target can stand beside it; got: " in both.stderr
    assert both.stdout == ""


def test_a_study_cannot_take_its_name(tmp_path):
    def edit(raw):
        raw["studies"]["status"] = raw["studies"].pop("tiny")
        raw["report"] = ["status"]

    refused = snakemake(tmp_path, "--list", config=changed(tmp_path, edit))
    assert refused.returncode == 1
    assert "status" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_failed_job_is_shown_with_its_log_and_error(tmp_path):
    def edit(raw):
        raw["datasets"]["mini"]["selection"]["size"] = 400

    config = changed(tmp_path, edit)
    run = snakemake(tmp_path, "--cores", "1", "--until", "structures_select", config=config)
    assert run.returncode == 1
    before = content(tmp_path)
    text = page(tmp_path, config=config)
    failed = "  structures_select mini\n    results/logs/structures_select/mini.log\n"
    assert f"Failed jobs: 1\n{failed}" in text
    assert "size" in text.split(failed)[1]
    assert content(tmp_path) == before


@pytest.mark.dft
def test_it_follows_a_run_that_goes_on_is_killed_and_ends(tmp_path):
    process = subprocess.Popen(
        command(tmp_path, "--cores", "1", "--until", "dft_run"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT,
        start_new_session=True,
    )  # fmt: skip
    log = tmp_path / "results/logs/dft_run/mini/0000.log"
    try:
        deadline = time.monotonic() + 120
        while not (log.exists() and "[1/3]" in log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running = page(tmp_path)
        assert process.poll() is None
        assert "A run has held this folder for " in running
        assert "Under way\n  dft_run mini/0000  " in running
        assert " of 3 structures, " in running
        assert "mini\n" in running, "the structures are selected"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    logs = list((tmp_path / ".snakemake/log").iterdir())
    assert len(logs) == 1, "status left a log"
    assert list((tmp_path / ".snakemake/locks").iterdir()), "status removed the lock"

    assert "A run has held this folder for " in page(tmp_path), "the lock outlives the run"
    assert snakemake(tmp_path, "--unlock", "--cores", "1").returncode == 0
    past = time.time() - 3600
    os.utime(log, (past, past))
    text = page(tmp_path)
    assert text.startswith("No run holds this folder.\n")
    assert "stopped" in text.splitlines()[2]

    ended = snakemake(tmp_path, "--cores", "1", "--until", "dft_run", "--rerun-incomplete")
    assert ended.returncode == 0, ended.stderr
    rows = [line.split() for line in page(tmp_path).splitlines()]
    assert ["structures", "4", "4", ".", ".", "."] in rows
    assert ["shards", "2", "2", ".", ".", "."] in rows
