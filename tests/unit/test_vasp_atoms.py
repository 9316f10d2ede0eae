"""Energies of isolated atoms: given, or from finished runs of VASP."""

import os
import shutil
from pathlib import Path

import pytest
from tests.vasp_runs import edit, finished_atom, finished_run, make_potcars

from rhoflow.dft import outputs
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.outputs import OutputsSpec
from rhoflow.dft.vasp_atoms import atoms_state
from rhoflow.errors import EngineError


@pytest.fixture(scope="module")
def potcars(tmp_path_factory) -> Path:
    return make_potcars(tmp_path_factory.mktemp("licensed"))


@pytest.fixture
def run(potcars, tmp_path) -> Path:
    return finished_run(tmp_path / "tree" / "MgO", potcars)


def test_energies_of_isolated_atoms(tmp_path, potcars, run):
    folder = tmp_path / "atoms"
    finished_atom("O", folder / "O", potcars)
    finished_atom("Mg", folder / "small", potcars, box_angstrom=6.0)
    shutil.copytree(run, folder / "crystal")
    row = outputs.atomic_reference("O", OutputsSpec(atoms_path=str(folder)), tmp_path)
    assert (row["status"], row["energy_ev"]) == ("ok", -5)
    edge = r"(?m)^ +6\.\d+ +0"
    edit(folder / "small" / "POSCAR", edge, "5.0 0")
    given = OutputsSpec(atomic_energies_ev={"O": -1.9}, atoms_path=str(folder))
    assert outputs.atomic_reference("O", given, tmp_path)["energy_ev"] == -1.9
    none = outputs.atomic_reference("Ti", given, tmp_path)
    assert none["reason"] == (
        f"no energy of the isolated Ti atom in atoms_path '{folder}': no run of this atom alone "
        "in a box"
    )
    nothing = outputs.atomic_reference("Ti", OutputsSpec(), tmp_path)
    assert "set atoms_path or atomic_energies_ev" in nothing["reason"]
    with pytest.raises(ValueError, match="not the symbol of an element"):
        OutputsSpec(atomic_energies_ev={"Oo": 1.0})


@pytest.mark.parametrize("path", ["nowhere", "~no_such_user/atoms"])
def test_an_atoms_path_that_is_no_folder_is_misuse(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    # Whether or not every energy is given: the path is misspelt.
    spec = OutputsSpec(atoms_path=path, atomic_energies_ev={"O": -1.9})
    said = rf"engines\.NAME\.atoms_path: '{path}' is not a folder; expected the one"
    for call in (
        lambda: outputs.atomic_reference("O", spec, tmp_path),
        lambda: outputs.atom_identity("O", spec),
    ):
        with pytest.raises(EngineError, match=said):
            call()
    assert atoms_state(spec) == ""


def test_unconverged_atoms_are_taken_with_a_note(tmp_path, potcars):
    finished_atom("O", tmp_path / "O", potcars, "unconverged")
    spec = OutputsSpec(atoms_path=str(tmp_path))
    row = outputs.atomic_reference("O", spec, tmp_path)
    assert row["status"] == "failed"
    assert "O: not self-consistent" in row["reason"]
    spec = OutputsSpec(atoms_path=str(tmp_path), accept_unconverged=True)
    row = outputs.atomic_reference("O", spec, tmp_path)
    assert (row["status"], row["energy_ev"]) == ("ok", -5)
    assert row["reason"].startswith("accepted although not self-consistent")


def test_the_state_of_atoms_follows_their_files(tmp_path, potcars):
    folder = tmp_path / "atoms"
    finished_atom("O", folder / "O", potcars)
    spec = OutputsSpec(atoms_path=str(folder))
    first = atoms_state(spec)
    assert len(first) == 64
    assert atoms_state(spec) == first
    (folder / "O" / "notes.txt").write_text("no file of a run")
    assert atoms_state(spec) == first
    identity = outputs.atom_identity("O", spec)
    os.utime(folder / "O" / "OUTCAR", (1, 1))
    assert atoms_state(spec) != first
    assert outputs.atom_identity("O", spec) != identity
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert atoms_state(OutputsSpec(atoms_path=str(moved))) == atoms_state(spec)
    assert atoms_state(OutputsSpec()) == atoms_state(GPAWSpec()) == ""


def test_an_elemental_crystal_is_no_isolated_atom(tmp_path, potcars):
    folder = tmp_path / "atoms"
    finished_atom("O", folder / "O", potcars)
    for name in ("CHGCAR", "LOCPOT", "vasprun.xml"):
        (folder / "O" / name).unlink(missing_ok=True)
    edit(folder / "O" / "OUTCAR", r"(?m)^ +12\.000000000", "  2.500000000")
    row = outputs.atomic_reference("O", OutputsSpec(atoms_path=str(folder)), tmp_path)
    assert "a box of 2.5 Å" in row["reason"]
