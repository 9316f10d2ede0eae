"""Densities of free atoms where the engine is not at hand: archives and VASP."""

import shutil
from pathlib import Path

import pytest

from rhoflow import io, tables
from rhoflow.dft.archive import ArchiveSpec
from rhoflow.dft.atom_densities import atom_densities
from rhoflow.dft.outputs import OutputsSpec
from rhoflow.errors import DataError, EngineError

OXIDES = Path(__file__).parents[2] / "resources" / "oxides"


def test_those_of_an_archive_are_taken_in_the_order_of_the_alphabet():
    found = atom_densities(["O", "Mg", "O"], ArchiveSpec(path=str(OXIDES)))
    assert list(found["element"]) == ["Mg", "O"]
    assert list(found["n_valence_electrons"]) == pytest.approx([10, 6])
    kept = io.read_table(OXIDES / tables.ARCHIVE_ATOM_DENSITIES).set_index("element")
    assert (found["form_factor"][1] == kept.loc["O", "form_factor"]).all()


def test_an_archive_without_them_says_what_to_do(tmp_path):
    shutil.copy(OXIDES / tables.ARCHIVE_ATOMS, tmp_path)
    with pytest.raises(DataError, match=r"holds no densities of free atoms.*reference: fitted"):
        atom_densities(["O"], ArchiveSpec(path=str(tmp_path)))


def test_an_element_that_an_archive_lacks_is_named():
    with pytest.raises(DataError, match="no free atom of Tc, U"):
        atom_densities(["U", "O", "Tc"], ArchiveSpec(path=str(OXIDES)))


def test_vasp_tells_none():
    spec = OutputsSpec.model_construct(kind="outputs")
    with pytest.raises(EngineError, match=r"engine outputs.*reference: fitted"):
        atom_densities(["O"], spec)
