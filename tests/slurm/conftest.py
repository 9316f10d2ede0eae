"""Runs of the miniature config through a real Slurm, beside one that nothing disturbed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, command, missing

ROOT = Path(__file__).parents[2]
MINI = ROOT / "config" / "test" / "mini.yaml"
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
# The profile's own times are made for jobs of many minutes.
QUICK = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"]
# Everything that a run computes; what remains are logs, benchmarks and caches.
TABLES = ("*.parquet", "*.csv", "*.npz", "*.svg")
# A network and a kernel ridge regression with all that they need: three jobs.
FEW = (
    "results/predictions/tiny/r3dvs/band_gap_ev/0-0.parquet",
    "results/predictions/tiny/soap/together/0-0.parquet",
)
MINUTES = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.workflow)


def needed(accounting: bool = False) -> None:
    """Skip where Slurm is not installed; fail where it was promised."""
    why = missing(accounting)
    if why and os.environ.get("RHOFLOW_TEST_SLURM") == "required":
        pytest.fail(f"a Slurm was promised: {why}")
    if why:
        pytest.skip(why)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A node of 16 processors and two GPUs, without accounting."""
    needed()
    with Cluster(Path(tempfile.mkdtemp(prefix="slurm-"))) as cluster:  # sockets want short paths
        yield cluster


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local run of the miniature config: what every other run must end with."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(local(folder))
    return folder


@pytest.fixture
def computed(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of it that has its DFT alone: densities, descriptors and models are to be made."""
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder, copy_function=shutil.copy2)
    forget(folder)
    return folder


def forget(folder: Path) -> None:
    """Remove all that follows the DFT."""
    for name in ("density", "descriptors", "splits", "predictions", "scores", "figures"):
        shutil.rmtree(folder / "results" / name, ignore_errors=True)
    (folder / "results" / "report.html").unlink(missing_ok=True)


def local(folder: Path, *arguments: str, config: Path = MINI) -> list[str]:
    """The command of a run on this machine."""
    return [*_snakemake(folder, config), "--cores", "2", *arguments]


def on_slurm(folder: Path, *arguments: str, config: Path = MINI) -> list[str]:
    """The command of a run through Slurm, with the profile that ships."""
    return [*_snakemake(folder, config), "--profile", "slurm", *QUICK, *arguments]


def _snakemake(folder: Path, config: Path) -> list[str]:
    return [*SNAKEMAKE, "--directory", str(folder), "--configfile", str(config)]


def run(
    words: list[str], *, ok: bool | None = True, cwd: Path = ROOT, minutes: float = 8
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, check=False, timeout=minutes * MINUTES
    )
    if ok is not None:
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


class Running:
    """A Snakemake that runs while the test does something to it."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.log = folder / f"snakemake-{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                words, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, *, ok: bool | None = True, minutes: float = 8) -> str:
        """Wait for the end; what was printed."""
        code = self.process.wait(minutes * MINUTES)
        assert ok is None or (code == 0) == ok, self.text()
        return self.text()

    def kill(self) -> None:
        """SIGKILL: no chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def jobs() -> list[str]:
    """Numbers of the jobs that run."""
    return command("squeue", "-h", "-t", "running", "-o", "%i", check=False).split()


def asked(job: str) -> dict[str, str]:
    """What Slurm knows of a job."""
    text = command("scontrol", "show", "job", job)
    return dict(re.findall(r"(\S+?)=(\S*)", text))


def rules_of_jobs(text: str) -> dict[str, str]:
    """The rule, or rules of a group, of every Slurm job that a run submitted."""
    pattern = r"SLURM jobid (\d+) \(log: \S+/slurm_logs/(?:rule|group)_([^/]+)/"
    return dict(re.findall(pattern, text))


def failures(text: str) -> str:
    """What a run said of jobs that failed, with their logs."""
    parts = re.findall(r"Error in rule.*?(?=\n\[|\Z)", text, re.DOTALL)
    return "\n".join(parts)


def same(one: Path, two: Path) -> None:
    """Both runs ended with the same tables and figures, byte by byte."""
    ours, theirs = _results(one), _results(two)
    assert sorted(ours) == sorted(theirs)
    different = [name for name, content in ours.items() if theirs[name] != content]
    assert not different, different


def same_few(one: Path, two: Path) -> None:
    """The same of ``FEW`` and of what they are made from."""
    ours, theirs = _results(one), _results(two)
    assert {name.removeprefix("results/") for name in FEW} <= set(theirs)
    different = [name for name, content in theirs.items() if ours[name] != content]
    assert not different, different


def _results(folder: Path) -> dict[str, bytes]:
    top = folder / "results"
    # What a structure cost differs from run to run, and with it what quotes the cost.
    changing = {"benchmarks", "done", "logs"}
    return {
        str(path.relative_to(top)): path.read_bytes()
        for pattern in TABLES
        for path in top.rglob(pattern)
        if not changing & set(path.relative_to(top).parts) and ".cost." not in path.name
    }
