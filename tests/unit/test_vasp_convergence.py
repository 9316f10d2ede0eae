"""Runs that ended before they converged, by NELM, NSW or a STOPCAR."""

from pathlib import Path

import pytest
from tests.vasp_runs import edit, finished_run, found, make_potcars, read_run, reason


@pytest.fixture(scope="module")
def potcars(tmp_path_factory) -> Path:
    return make_potcars(tmp_path_factory.mktemp("licensed"))


@pytest.fixture
def run(potcars, tmp_path) -> Path:
    return finished_run(tmp_path / "tree" / "MgO", potcars)


def test_unconverged_runs(tmp_path, potcars, run):
    bad = finished_run(tmp_path / "run", potcars, mode="unconverged")
    assert "not self-consistent: 120 electronic steps" in reason(bad, "not_converged")
    assert "(NELM reached)" in reason(bad, "not_converged")
    (bad / "OUTCAR").unlink()
    assert "not self-consistent" in reason(bad, "not_converged")
    record = read_run(bad, accept_unconverged=True).record
    assert record["status"] == "ok"
    assert record["reason"].startswith("accepted although not self-consistent: 120 electronic")
    # The note is for those alone that need it.
    assert read_run(run, accept_unconverged=True).record["reason"] is None


def test_a_hard_stop_is_not_self_consistent(run):
    """STOPCAR with LABORT: VASP ends regularly, after fewer steps than NELM."""
    end = r"-+ aborting loop because EDIFF is reached -+"
    edit(run / "OUTCAR", end, "-------- aborting loop because hard stop was set ---------")
    said = "not self-consistent: 9 electronic steps in ionic step 1 (stopped by a STOPCAR)"
    assert reason(run, "not_converged") == said
    (run / "vasprun.xml").unlink()
    assert reason(run, "not_converged") == said
    assert said in read_run(run, accept_unconverged=True).record["reason"]


def relaxing(run: Path, ending: str) -> None:
    """The run as one of at most 5 ionic steps, of which it did 1, with a line before its end."""
    edit(run / "vasprun.xml", r'"NSW">0', '"NSW">5')
    edit(run / "vasprun.xml", r'"IBRION">-1', '"IBRION">2')
    edit(run / "OUTCAR", r"NSW    =      0", "NSW    =      5")
    edit(run / "OUTCAR", r"IBRION =     -1", "IBRION =      2")
    edit(run / "OUTCAR", r" General timing", f"{ending}\n General timing")


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (" reached required accuracy - stopping structural energy minimisation", "ok"),
        ("", "ok"),  # symmetry leaves no forces
        (" soft stop encountered!  aborting job ...", "not_converged"),
        (" hard stop encountered!  aborting job ...", "not_converged"),
    ],
)
def test_relaxations_that_end_early(run, ending, status):
    relaxing(run, ending)
    for lost in (None, "vasprun.xml"):
        if lost:
            (run / lost).unlink()
        record = read_run(run).record
        assert record["status"] == status
        if status == "not_converged":
            assert "ions not relaxed when the run ended" in record["reason"]
            assert "(ionic steps: 1, stopped by a STOPCAR)" in record["reason"]


def test_a_relaxation_that_converged_in_its_last_step(run):
    """vasprun.xml cannot tell; OUTCAR says so."""
    relaxing(run, " reached required accuracy - stopping structural energy minimisation")
    text = (run / "vasprun.xml").read_text()
    step = found(r"(?s) <calculation>.*</calculation>\n", text)
    (run / "vasprun.xml").write_text(text.replace(step, 5 * step))
    assert read_run(run).record["status"] == "ok"
    (run / "OUTCAR").unlink()
    assert "(ionic steps: 5)" in reason(run, "not_converged")


def test_unrelaxed_ions(run):
    edit(run / "vasprun.xml", r'"NSW">0', '"NSW">1000')
    assert read_run(run).record["status"] == "ok"
    edit(run / "vasprun.xml", r'"IBRION">-1', '"IBRION">2')
    assert read_run(run).record["status"] == "ok"  # one step of a thousand: it stopped by itself
    edit(run / "vasprun.xml", r'"NSW">1000', '"NSW">2')
    step = found(r"(?s) <calculation>.*</calculation>\n", (run / "vasprun.xml").read_text())
    edit(run / "vasprun.xml", r" <calculation>", step + " <calculation>")
    assert "ions not relaxed when the run ended (ionic steps: 2)" in reason(run, "not_converged")
    assert read_run(run, accept_unconverged=True).record["status"] == "ok"
