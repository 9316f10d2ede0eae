"""Disks and clocks that misbehave: a clear message, no corrupt file, and the run resumes."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
MINI = ROOT / "config" / "test" / "mini.yaml"

pytestmark = pytest.mark.workflow

TARGETS = ["results/structures/mini/structures.parquet", "results/structures/mini/funnel.svg"]


def snakemake(folder: Path, *targets: str, ok: bool = True) -> str:
    words = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(folder), "--configfile", str(MINI), "--cores", "1",
        "--rerun-incomplete", "--", *(targets or TARGETS),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def leftovers(folder: Path) -> list[Path]:
    return list((folder / "results").rglob(".*.tmp"))


def test_a_full_disk_is_named_and_leaves_nothing_broken(small_disk: Path):
    """The results lie on it; the folder of the run, where Snakemake keeps its books, does not."""
    run = small_disk.parent / "run"
    run.mkdir()
    (run / "results").symlink_to(small_disk)
    filling = small_disk / "filling"
    logs = small_disk / "logs" / "structures_select"
    logs.mkdir(parents=True)
    (logs / "mini.log").write_text("x" * 4096)  # its block stays ours when the disk is full
    fill(filling)
    text = snakemake(run, ok=False)
    assert "No space left on device" in text
    assert not leftovers(run)
    assert not (run / TARGETS[0]).exists()
    filling.unlink()
    snakemake(run)
    assert len(pq.read_table(run / TARGETS[0])) == 4


def test_read_only_results_are_named(tmp_path: Path):
    results = tmp_path / "results"
    (results / "structures").mkdir(parents=True)
    mount("--bind", str(results), str(results))
    try:
        mount("-o", "remount,ro,bind", str(results))
        text = snakemake(tmp_path, ok=False)
    finally:
        subprocess.run(["umount", str(results)], check=True)
    assert "Read-only file system" in text
    assert "results" in text
    snakemake(tmp_path)


def test_a_clock_that_was_ahead_makes_no_circle(tmp_path: Path):
    """Files from the future: their readers run, once."""
    snakemake(tmp_path)
    before = (tmp_path / TARGETS[0]).read_bytes()
    ahead = time.time() + 3600
    os.utime(tmp_path / TARGETS[0], (ahead, ahead))
    os.utime(tmp_path / "results/structures/mini/funnel.csv", (ahead, ahead))
    shutil.rmtree(tmp_path / "results/logs")
    text = snakemake(tmp_path)
    assert "funnel.svg" in text
    assert (tmp_path / TARGETS[0]).read_bytes() == before
    assert "Nothing to be done" in snakemake(tmp_path)
