"""Molecules from tables, SMILES, enumeration, polymers and the data set of Huan et al."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError
from pymatgen.core import Lattice, Structure

from rhoflow import io, molecule_tables, tables
from rhoflow.errors import ConfigError, DataError
from rhoflow.molecule import Molecule
from rhoflow.structures.candidates import ONE_ENTRY
from rhoflow.structures.molecule_enumerated import (
    EnumeratedSource,
    enumerate_molecules,
    read_enumerated,
)
from rhoflow.structures.molecule_huan import HuanSource, read_huan
from rhoflow.structures.molecule_oligomers import (
    OligomersSource,
    chain,
    read_oligomers,
    read_polymers,
)
from rhoflow.structures.molecule_smiles import SmilesSource, read_smiles
from rhoflow.structures.molecule_sources import (
    MoleculeSourceSpec,
    molecule_source_fingerprint,
    molecule_source_steps,
    read_molecules,
)
from rhoflow.structures.molecule_table import MoleculeTableSource, read_molecule_table

RESOURCES = Path(__file__).parents[2] / "resources"
WATER = [[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]]


def whole(candidate):
    assert candidate.molecule is not None, candidate.reason
    return candidate.molecule


def row(**columns):
    given = {
        "material_id": ["w"],
        "symbols": ['["O", "H", "H"]'],
        "positions_angstrom": [json.dumps(WATER)],
    }
    return pd.DataFrame({**given, **columns})


def table(folder, frame, **settings):
    frame.to_csv(folder / "t.csv", index=False)
    return list(read_molecule_table(MoleculeTableSource(path=str(folder / "t.csv"), **settings)))


def test_a_table_with_charge_smiles_and_known_properties(tmp_path):
    frame = row(q=[1], bonds=["[OH2]"], E=[-7.5], gap=[None])
    (candidate,) = table(
        tmp_path,
        frame,
        charge_column="q",
        smiles_column="bonds",
        known_columns={"homo_ev": "E", "lumo_ev": "gap"},
    )
    assert whole(candidate).symbols == ("O", "H", "H")
    assert np.allclose(whole(candidate).positions, WATER)
    assert whole(candidate).charge == 1
    assert whole(candidate).smiles == "[OH2]"
    assert candidate.known == {"homo_ev": -7.5}


def test_a_table_that_rhoflow_wrote_is_read_again(tmp_path):
    molecules = [Molecule("w", ("O", "H", "H"), np.array(WATER), -2, "O")]
    written = molecule_tables.molecules_to_table(
        molecules, source="x", source_ids=["a"], known=[{"homo_ev": 1.0}]
    )
    io.write_table(tmp_path / "m.parquet", written, tables.MOLECULES)
    spec = MoleculeTableSource(
        path=str(tmp_path / "m.parquet"),
        charge_column="charge",
        smiles_column="smiles",
        known_columns={"homo_ev": "known_homo_ev"},
    )
    (candidate,) = read_molecule_table(spec)
    assert whole(candidate).charge == -2
    assert whole(candidate).smiles == "O"
    assert np.array_equal(whole(candidate).positions, WATER)
    assert candidate.known == {"homo_ev": 1.0}


@pytest.mark.parametrize(
    ("columns", "settings", "reason"),
    [
        ({"symbols": ["O H"]}, {}, "9 numbers for 2 atoms, expected 6"),
        ({"symbols": ["O H Zz"]}, {}, "unknown element Zz"),
        ({"positions_angstrom": ["0 0 x"]}, {}, "no number"),
        ({"q": [0.5]}, {"charge_column": "q"}, "q is 0.5, expected a whole number"),
        ({"E": ["inf"]}, {"known_columns": {"homo_ev": "E"}}, "not finite"),
    ],
)
def test_a_bad_row_is_a_reason(tmp_path, columns, settings, reason):
    (candidate,) = table(tmp_path, row(**columns), **settings)
    assert candidate.molecule is None
    assert reason in candidate.reason


def test_the_first_row_of_an_id_counts(tmp_path):
    first, second = table(tmp_path, pd.concat([row(), row()]))
    assert first.molecule is not None
    assert second.step == ONE_ENTRY


def test_a_missing_column_and_an_unknown_property_stop(tmp_path):
    with pytest.raises(ConfigError, match="no column 'charge'"):
        table(tmp_path, row(), charge_column="charge")
    with pytest.raises(ValidationError, match="did you mean 'homo_ev'"):
        MoleculeTableSource(path="x", known_columns={"homo": "E"})


def test_smiles_get_positions_of_known_bond_lengths():
    candidates = list(read_smiles(SmilesSource(smiles=("C", "N#N", "[NH4+]", "OCC ethanol"))))

    methane, nitrogen, ammonium, ethanol = map(whole, candidates)

    assert np.linalg.norm(methane.positions[1:] - methane.positions[0], axis=1) == pytest.approx(
        [1.09] * 4, abs=0.01
    )
    assert nitrogen.symbols == ("N", "N")
    assert ammonium.charge == 1
    assert (ethanol.material_id, ethanol.smiles, ethanol.n_atoms) == ("ethanol", "CCO", 9)


def test_embedding_is_deterministic_and_follows_the_seed():
    def positions(seed):
        (candidate,) = read_smiles(SmilesSource(smiles=("CCCCO",), seed=seed))
        return whole(candidate).positions

    assert np.array_equal(positions(3), positions(3))
    assert not np.allclose(positions(3), positions(4), atol=0.1)


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C1CC", "no valid SMILES"),
        ("C(C)(C)(C)(C)C", "no valid SMILES"),
        ("C.O", "several molecules"),
        ("*CC", "open bond"),
        ("[SeH2]", "MMFF94 has no parameters"),
        ("C" * 200, "602 atoms, more than 300"),
    ],
)
def test_a_bad_smiles_is_a_reason(smiles, reason):
    (candidate,) = read_smiles(SmilesSource(smiles=(smiles,)))
    assert candidate.molecule is None
    assert reason in candidate.reason


def test_a_smiles_file(tmp_path):
    (tmp_path / "a.smi").write_text("# comment\nC methane\n\nO water twice\nC methane\n")
    spec = SmilesSource(path=str(tmp_path / "a.smi"))
    candidates = list(read_smiles(spec))
    assert [c.source_id for c in candidates] == ["methane", "water twice", "methane"]
    assert candidates[2].step == ONE_ENTRY
    assert len(molecule_source_fingerprint(spec)) == 64
    with pytest.raises(ConfigError, match="is not a file"):
        read_smiles(SmilesSource(path=str(tmp_path / "b.smi")))


@pytest.mark.parametrize("settings", [{}, {"smiles": ("C",), "path": "x"}])
def test_smiles_need_one_list(settings):
    with pytest.raises(ValidationError, match="either smiles or path"):
        SmilesSource(**settings)


def test_all_molecules_of_up_to_two_heavy_atoms():
    """By hand: hydrides, then every bond that the valences allow but O-O, F-N, F-O and F-F."""
    one, two = enumerate_molecules(2, ("C", "N", "O", "F"))
    assert set(one) == {"C", "N", "O", "F"}
    assert set(two) == {
        "CC", "C=C", "C#C", "CN", "C=N", "C#N", "CO", "C=O", "CF",
        "NN", "N=N", "N#N", "NO", "N=O",
    }  # fmt: skip


def test_hydrocarbons_of_four_atoms():
    """The C4 hydrocarbons with at most two rings, none with cumulated or strained double bonds."""
    *_, four = enumerate_molecules(4, ("C",))
    assert set(four) == {
        "CCCC", "CC(C)C", "C=CCC", "CC=CC", "C=C(C)C", "C=CC=C", "C#CCC", "CC#CC", "C#CC=C",
        "C#CC#C", "C1CCC1", "CC1CC1", "C=C1CC1", "C1C2CC12",
    }  # fmt: skip


@pytest.fixture(scope="module")
def up_to_five():
    return {s for size in enumerate_molecules(5, ("C", "N", "O", "F")) for s in size}


def test_five_heavy_atoms_give_a_data_set(up_to_five):
    assert 300 < len(up_to_five) < 1500


@pytest.mark.parametrize(
    ("smiles", "stays"),
    [
        ("CC(=O)O", True),
        ("NC=O", True),
        ("c1cc[nH]c1", True),
        ("C=CO", False),
        ("N=CO", False),
        ("OCO", False),
        ("NCF", False),
        ("COCO", False),
        ("C=C=C", False),
        ("C1=CC1", False),
        ("NNN", False),
    ],
)
def test_the_rules_of_stability(smiles, stays, up_to_five):
    assert (smiles in up_to_five) == stays


def test_enumerated_molecules_are_closed_shells_with_stable_names():
    few = list(read_enumerated(EnumeratedSource(heavy_atoms=2)))
    more = list(read_enumerated(EnumeratedSource(heavy_atoms=3)))
    assert [c.source_id for c in more[: len(few)]] == [c.source_id for c in few]
    good = [c.molecule for c in more if c.molecule is not None]
    # MMFF94 has no parameters for hydrogen fluoride.
    assert [c.source_id for c in more if c.molecule is None] == ["HF-1"]
    assert all(m.n_electrons % 2 == 0 and m.charge == 0 for m in good)
    assert len({c.source_id for c in more}) == len(more)


@pytest.mark.parametrize(
    ("unit", "units", "expected"),
    [
        ("[*]CC[*]", 1, "CC"),
        ("[*]CC[*]", 3, "CCCCCC"),
        ("[*]CC([*])C", 2, "CCCC(C)C"),
        ("[*]c1ccc([*])[nH]1", 2, "c1c[nH]c(-c2ccc[nH]2)c1"),
        ("[*]OCC([*])=O", 2, "O=CCOC(=O)CO"),
        ("[*]C[*]", 2, "CC"),
    ],
)
def test_chains(unit, units, expected):
    assert chain(unit, units) == expected


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("[*]CC", "1 marks"),
        ("C", "0 marks"),
        ("[*]=CC=[*]", "must be single"),
        ("[*]C(", "no valid SMILES"),
    ],
)
def test_a_wrong_repeat_unit_is_named(unit, message):
    with pytest.raises(ValueError, match=message):
        chain(unit, 2)


def test_the_polymers_that_ship_all_become_chains():
    polymers = read_polymers(RESOURCES / "polymers.csv")
    assert len(polymers) >= 40
    for polymer in polymers:
        assert set("".join(c for c in chain(polymer.repeat_unit, 2) if c.isalpha())) <= set(
            "HCNOFcno"
        )
    candidates = list(read_oligomers(OligomersSource(units=1), RESOURCES / "polymers.csv"))
    assert not [c.reason for c in candidates if c.molecule is None]
    assert candidates[0].source_id == "polyethylene-1"
    assert whole(candidates[0]).n_electrons == 18


@pytest.mark.parametrize(
    ("text", "message"),
    [("name\na\n", "expected a CSV table"), ("name,repeat_unit\na,C\na,C\n", "occur twice")],
)
def test_a_wrong_table_of_polymers_stops(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_oligomers(OligomersSource(), tmp_path / "p.csv")


def huan_file(folder, block):
    """Polyethylene, one chain a cell, its carbon atoms beside a face, in a CIF of pymatgen's."""
    lattice = Lattice.orthorhombic(4.9, 4.9, 2.55)
    species = ["C", "C", "H", "H", "H", "H"]
    coords = [
        [0.42, 0.0, 0.05], [-0.42, 0.0, -1.225],
        [1.06, 0.88, 0.05], [1.06, -0.88, 0.05], [-1.06, 0.88, -1.225], [-1.06, -0.88, -1.225],
    ]  # fmt: skip
    structure = Structure(lattice, species, coords, coords_are_cartesian=True, to_unit_cell=True)
    (folder / "0001.cif").write_text(structure.to(fmt="cif") + block)


@pytest.mark.parametrize(
    "block",
    [
        "# Band gap at the HSE06 level (eV): 8.1\n# Atomization energy (eV/atom): -5.0E+00\n",
        "#Atomization_energy_(eV/atom)    -5.00000E+00\n",
        "_Atomization_energy_(eV/atom) -5.0\n",
    ],
)
def test_a_cell_of_huan_is_made_whole(tmp_path, block):
    huan_file(tmp_path, block)

    (candidate,) = read_huan(HuanSource(path=str(tmp_path)))

    molecule = whole(candidate)
    assert candidate.source_id == "0001"
    assert candidate.known == {"atomization_energy_ev": pytest.approx(30.0)}
    distances = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=2)
    carbon = [i for i, s in enumerate(molecule.symbols) if s == "C"]
    assert distances[carbon[0], carbon[1]] == pytest.approx(1.527, abs=0.01)
    for i, symbol in enumerate(molecule.symbols):
        if symbol == "H":
            assert min(distances[i, carbon]) == pytest.approx(1.09, abs=0.01)


def test_files_of_huan_without_an_energy_or_a_structure(tmp_path):
    huan_file(tmp_path, "")
    (tmp_path / "0002.cif").write_text("nothing")
    first, second = read_huan(HuanSource(path=str(tmp_path)))
    assert first.known == {}
    assert second.molecule is None
    with pytest.raises(ConfigError, match="dryad"):
        read_huan(HuanSource(path=str(tmp_path / "none")))


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "smiles", "smiles": ["C"]},
        {"kind": "enumerated", "heavy_atoms": 1, "elements": ["C"]},
        {"kind": "oligomers", "units": 1},
    ],
)
def test_every_kind_is_read_by_its_name(settings):
    spec = TypeAdapter(MoleculeSourceSpec).validate_python(settings)
    found = read_molecules(
        spec, registry=RESOURCES / "registry.csv", polymers=RESOURCES / "polymers.csv"
    )
    assert next(iter(found)).molecule is not None
    assert isinstance(molecule_source_steps(spec), dict)
    assert molecule_source_fingerprint(spec) == ""
