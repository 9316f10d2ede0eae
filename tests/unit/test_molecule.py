"""One molecule, and many in one set."""

import numpy as np
import pytest
from ase.build import molecule as g2

from rhoflow import io, molecule_tables
from rhoflow.descriptors.geometry import GeometrySpec, molecule_set
from rhoflow.molecule import Molecule

NAMES = ["H2O", "CH4", "CH3CONH2", "HCN", "NaCl", "C6H6"]


def named(name: str) -> Molecule:
    atoms = g2(name)
    return Molecule(name, tuple(atoms.get_chemical_symbols()), atoms.get_positions(), smiles="x")


@pytest.mark.parametrize("name", [*NAMES, "CF4", "SiH4", "CH3SH", "SO2"])
def test_formulas_are_hills(name):
    assert named(name).formula == g2(name).get_chemical_formula("hill")


def test_electrons_count_the_charge():
    water = named("H2O")
    assert water.n_electrons == 10
    assert Molecule("x", water.symbols, water.positions, charge=1).n_electrons == 9


def test_tables_give_molecules_back():
    molecules = [named(n) for n in NAMES]
    known = [{"homo_ev": -7.0}, *({} for _ in NAMES[1:])]
    table = molecule_tables.molecules_to_table(
        molecules, source="made", source_ids=NAMES, known=known
    )
    for before, after in zip(molecules, molecule_tables.table_to_molecules(table), strict=True):
        assert (after.material_id, after.symbols, after.charge, after.smiles) == (
            before.material_id, before.symbols, before.charge, before.smiles,
        )  # fmt: skip
        np.testing.assert_array_equal(after.positions, before.positions)
    assert molecule_tables.known_properties(table) == known


def test_sets_are_taken_apart_and_written(tmp_path):
    whole = molecule_set([named(n) for n in NAMES])
    chosen = whole.take([5, 0, 0])
    expected = molecule_set([named(NAMES[i]) for i in (5, 0, 0)])
    assert chosen.ids == expected.ids
    assert chosen.fingerprint() == expected.fingerprint() != whole.fingerprint()
    spec = GeometrySpec().model_dump(mode="json")
    for i, part in enumerate(([0, 1, 2], [], [3, 4, 5])):
        io.write_geometry(tmp_path / f"{i}.npz", whole.take(part), spec=spec)
    read = io.read_descriptors([tmp_path / f"{i}.npz" for i in range(3)])
    assert read.ids == whole.ids
    assert read.fingerprint() == whole.fingerprint()


def test_a_set_of_none_has_no_atoms():
    none = molecule_set([])
    assert (len(none), none.positions.shape, none.offsets.tolist()) == (0, (0, 3), [0])
