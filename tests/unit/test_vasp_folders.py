"""Finished VASP runs in trees of folders: what counts as one, its structure, its fingerprint."""

import errno
import gzip
import os
import shutil
from pathlib import Path

import pytest
from tests.vasp_runs import MGO, finished_run, make_potcars, read_run

from rhoflow.crystal import Crystal
from rhoflow.dft import outputs
from rhoflow.dft.outputs import OutputsSpec
from rhoflow.errors import ConfigError
from rhoflow.structures.candidates import Candidate
from rhoflow.structures.outputs import OutputsSource, fingerprint, read_outputs
from rhoflow.vasp.folders import find_runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    potcars = make_potcars(tmp_path_factory.mktemp("licensed"))
    return finished_run(tmp_path_factory.mktemp("runs") / "MgO", potcars)


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "tree" / "MgO"))


def formula(candidate: Candidate) -> str:
    assert candidate.structure is not None
    return candidate.structure.composition.reduced_formula


def test_runs_are_found_at_any_depth(run, tmp_path):
    tree = run.parent
    deep = tree / "a" / "b" / "c" / "d"
    shutil.copytree(run, deep)
    shutil.copytree(run, tree / ".hidden")
    (tree / "notes").mkdir()
    (tree / "notes" / "CHGCARs.txt").write_text("no run")
    (tree / "a" / "loop").symlink_to(tree)
    (tree / "a" / "broken").symlink_to(tree / "nowhere")
    assert [r.name for r in find_runs(tree)] == ["MgO", "a/b/c/d"]
    candidates = list(read_outputs(OutputsSource(path=str(tree))))
    assert [c.source_id for c in candidates] == ["MgO", "a/b/c/d"]
    assert candidates[1].origin == str(deep)
    assert formula(candidates[0]) == "MgO"
    alone = list(read_outputs(OutputsSource(path=str(run))))
    assert [c.source_id for c in alone] == ["MgO"]


def test_a_link_to_itself_hides_no_folder(run):
    (run.parent / "a_loop").symlink_to(run.parent / "a_loop")
    (run / "CHGCAR.old").symlink_to(run / "CHGCAR.old")
    assert [r.name for r in find_runs(run.parent)] == ["MgO"]


@pytest.fixture
def closed(monkeypatch):
    """Folders of this name cannot be looked into; root, who may run the tests, always can."""
    scandir = os.scandir

    def refusing(path="."):
        if Path(os.fsdecode(path)).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


def test_a_folder_without_permission_is_rejected_with_a_reason(run, closed, tmp_path):
    place = Path(shutil.move(run, run.parent / "closed"))
    (run.parent / "open").mkdir()
    (run.parent / "open" / "OUTCAR").write_text("not of VASP")
    spec = OutputsSource(path=str(run.parent))
    first, second = read_outputs(spec)
    assert (first.source_id, first.structure) == ("closed", None)
    assert first.reason == "unreadable: the folder cannot be read: Permission denied"
    assert second.source_id == "open"
    assert fingerprint(spec)
    with pytest.raises(ConfigError, match="Permission denied; expected a folder that you may"):
        read_outputs(OutputsSource(path=str(place)))
    row = outputs.atomic_reference("O", OutputsSpec(atoms_path=str(run.parent)), tmp_path)
    assert "closed: the folder cannot be read: Permission denied" in row["reason"]


def test_a_folder_whose_files_cannot_be_seen(run, monkeypatch):
    """Readable but not searchable: names are told, what they are is not."""

    def refusing(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refusing)
    (only,) = find_runs(run)
    assert only.problem == "the folder cannot be read: Permission denied"
    assert "cannot be read: Permission denied" in read_run(run).record["reason"]


def test_names_that_no_table_can_hold(run):
    odd = os.fsencode(run.parent) + b"/\xff\xfe"
    shutil.copytree(run, os.fsdecode(odd))
    candidates = list(read_outputs(OutputsSource(path=str(run.parent))))
    assert [c.structure is None for c in candidates] == [False, True]
    assert "is not UTF-8" in candidates[1].reason
    candidates[1].source_id.encode()
    assert fingerprint(OutputsSource(path=str(run.parent)))


def test_files_that_are_no_files(run):
    for name in ("CHGCAR", "vasprun.xml", "OUTCAR"):
        (run / name).unlink()
    os.mkfifo(run / "CHGCAR")
    (run / "OUTCAR").mkdir()
    (run / "vasprun.xml").symlink_to(run / "nowhere")
    assert not list(find_runs(run))


def test_several_runs_in_one_folder(run, tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir()
    for name in ("CHGCAR_a", "CHGCAR_b.vasp", "CHGCAR.relax1.gz"):
        text = (run / "CHGCAR").read_bytes()
        (loose / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    shutil.copy(run / "OUTCAR", loose / "OUTCAR.relax1")
    runs = {r.name: r for r in find_runs(loose)}
    assert set(runs) == {"loose/CHGCAR.relax1.gz", "loose/CHGCAR_a", "loose/CHGCAR_b.vasp"}
    assert runs["loose/CHGCAR.relax1.gz"].outcar == loose / "OUTCAR.relax1"
    assert runs["loose/CHGCAR_a"].outcar is None
    for candidate in read_outputs(OutputsSource(path=str(loose))):
        result = outputs.calculate(
            Crystal("x", MGO.lattice, MGO.symbols, MGO.frac_coords, candidate.origin),
            OutputsSpec(),
            tmp_path / "log",
        )
        assert result.record["status"] == "ok"
    shutil.copy(run / "CHGCAR", loose / "CHGCAR")
    assert [r.name for r in find_runs(loose)] == ["loose"]


@pytest.mark.parametrize("name", ["vasprun.relax2.xml.gz", "vasprun.xml.relax2.gz"])
def test_endings_of_vasprun(run, tmp_path, name):
    place = tmp_path / "relaxed"
    place.mkdir()
    shutil.copy(run / "CHGCAR", place / "CHGCAR.relax2")
    (place / name).write_bytes(gzip.compress((run / "vasprun.xml").read_bytes()))
    (only,) = find_runs(place)
    assert only.vasprun == place / name


def test_structures_without_chgcar_and_of_vasp_4(run):
    text = (run / "CHGCAR").read_text()
    (run / "CHGCAR").write_text(text.replace("   O    Mg\n", ""))
    (candidate,) = read_outputs(OutputsSource(path=str(run)))
    assert formula(candidate) == "MgO"
    assert read_run(run).record["status"] == "ok"
    for name in ("vasprun.xml", "OUTCAR", "POSCAR"):
        (run / name).unlink()
    (candidate,) = read_outputs(OutputsSource(path=str(run)))
    assert "names no elements" in candidate.reason


def test_structures_without_chgcar(run):
    (run / "CHGCAR").unlink()
    for name in ("vasprun.xml", "OUTCAR"):
        (candidate,) = read_outputs(OutputsSource(path=str(run)))
        assert formula(candidate) == "MgO"
        if name == "vasprun.xml":
            (run / name).unlink()
    (run / "OUTCAR").write_text("not of VASP")
    (run / "POSCAR").unlink()
    (candidate,) = read_outputs(OutputsSource(path=str(run)))
    assert candidate.structure is None
    assert "OUTCAR is no OUTCAR of VASP" in candidate.reason


def test_empty_places(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder"):
        read_outputs(OutputsSource(path=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match="holds no finished VASP run"):
        read_outputs(OutputsSource(path=str(tmp_path)))


def test_the_fingerprint_follows_the_files(run):
    spec = OutputsSource(path=str(run.parent))
    first = fingerprint(spec)
    assert fingerprint(spec) == first
    os.utime(run / "OUTCAR", (1, 1))
    assert fingerprint(spec) != first
