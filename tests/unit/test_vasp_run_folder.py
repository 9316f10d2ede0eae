"""The folder of a running VASP: its own while it runs, tidied and renamed at the end."""

import errno
import gzip
import importlib.util
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.vasp_runs import MGO, environment, make_potcars, vasp_spec

from rhoflow.dft import vasp, vasp_run

needs_custodian = pytest.mark.skipif(
    importlib.util.find_spec("custodian") is None, reason="custodian is not installed"
)


@pytest.fixture(scope="module")
def potcars(tmp_path_factory) -> Path:
    return make_potcars(tmp_path_factory.mktemp("licensed"))


def calculate(potcars: Path, folder: Path, mode: str, **settings) -> Any:
    return vasp.calculate(MGO, vasp_spec(potcars, mode, **settings), folder / "run.txt")


@needs_custodian
def test_two_runs_of_one_structure_at_once(potcars, tmp_path):
    """Shards that run side by side may hold the same crystal; neither disturbs the other."""
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda mode: calculate(potcars, tmp_path, mode), ["none", "none"]))
    assert [r.record["status"] for r in results] == ["ok", "ok"]
    np.testing.assert_array_equal(*(r.spectrum.coefficients for r in results))
    assert {p.name for p in tmp_path.iterdir()} == {"run.txt", "run.vasp"}
    assert (tmp_path / "run.vasp" / "OUTCAR.gz").exists()


@needs_custodian
def test_one_run_after_the_other(potcars, tmp_path):
    assert calculate(potcars, tmp_path, "truncated").record["status"] == "failed"
    final = tmp_path / "run.vasp"
    failed = {p.name for p in final.iterdir()}
    # Everything that tells why is kept.
    assert failed >= {"INCAR", "vasp.out", "std_err.txt", "OUTCAR.gz", "OSZICAR", "custodian.json"}
    # A run that never starts takes nothing away.
    early = calculate(potcars, tmp_path, "none", incar={"ENCUT": 350})
    assert "needs a cutoff" in early.record["reason"]
    assert {p.name for p in final.iterdir()} == failed
    assert calculate(potcars, tmp_path, "none").record["status"] == "ok"
    assert "vasp.out" not in {p.name for p in final.iterdir()}
    assert {p.name for p in tmp_path.iterdir()} == {"run.txt", "run.vasp"}


def test_a_folder_that_cannot_be_settled_is_left_as_it_is(tmp_path, monkeypatch):
    log = tmp_path / "run.txt"
    folder = vasp_run.new_folder(log, ())
    assert vasp_run.settle(folder, log, (), failed=True) == ""  # there is none
    folder.mkdir()
    for name in ("POTCAR", "OUTCAR"):
        (folder / name).write_text("x")
    (tmp_path / "run.vasp").write_text("a file is in the way")
    assert "could not be renamed run.vasp" in vasp_run.settle(folder, log, (), failed=True)
    assert [p.name for p in folder.iterdir()] == ["OUTCAR"]

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gzip, "open", full)
    (folder / "POTCAR").write_text("x")
    said = vasp_run.settle(folder, log, ("OUTCAR",), failed=False)
    assert said == "files of the run could not be packed: No space left on device"
    assert [p.name for p in folder.iterdir()] == ["OUTCAR"]


def test_folders_of_runs_that_go_on_are_left_alone(tmp_path):
    log = tmp_path / "run.txt"
    mine = vasp_run.new_folder(log, ())
    mine.mkdir()
    elsewhere = tmp_path / "run.other-host_1_0123456789abcdef.vasp"
    elsewhere.mkdir()
    second = vasp_run.new_folder(log, ())
    assert second != mine
    assert mine.exists()
    assert elsewhere.exists()


@needs_custodian
def test_vasp_ends_with_a_worker_that_is_killed(potcars, tmp_path):
    """A time limit kills the worker outright; VASP must not run on."""
    code = (
        "import sys; from pathlib import Path; from tests.vasp_runs import *; "
        "from rhoflow.dft import vasp; "
        f"vasp.calculate(MGO, vasp_spec(Path({str(potcars)!r}), 'sleep'), "
        f"Path({str(tmp_path / 'run.txt')!r}))"
    )
    root = Path(__file__).parents[2]
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(root)])
    worker = subprocess.Popen([sys.executable, "-c", code], env=env)
    assert _within(60, lambda: any(p.read_text() for p in tmp_path.glob("run.*.vasp/pid")))
    (pid_file,) = tmp_path.glob("run.*.vasp/pid")
    pid = int(pid_file.read_text())
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert _within(20, lambda: not _runs(pid))
    # The next run finds what is left, licensed files among it, and tidies it.
    assert (pid_file.parent / "POTCAR").exists()
    folder = vasp_run.new_folder(tmp_path / "run.txt", ())
    assert not folder.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"run.vasp"}
    left = {p.name for p in (tmp_path / "run.vasp").iterdir()}
    assert {"INCAR", "pid", "vasp.out"} <= left
    assert "POTCAR" not in left


def _within(seconds: float, true) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return False


def _runs(pid: int) -> bool:
    """Whether a process is there and no mere entry of the table."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
