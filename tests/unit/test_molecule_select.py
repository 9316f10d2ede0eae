"""From candidate molecules to a dataset: every filter, duplicates, and the draw."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from rhoflow import molecule_tables
from rhoflow.errors import DataError
from rhoflow.molecule import Molecule
from rhoflow.structures.funnel import DISTANCES, DISTINCT, READABLE, SAMPLE
from rhoflow.structures.molecule_candidates import MoleculeCandidate
from rhoflow.structures.molecule_select import (
    ALLOWED,
    NEUTRAL,
    PAIRED,
    SIZE,
    MoleculeSelectionSpec,
    select_molecules,
)
from rhoflow.structures.molecule_twins import twins

WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])


def molecule(symbols="OHH", positions=None, **more):
    places = WATER if positions is None else np.asarray(positions, dtype=float)
    return Molecule("x", tuple(symbols), places[: len(symbols)], **more)


def candidate(name, *, known=None, **more):
    return MoleculeCandidate(name, molecule(**more), known=known or {})


def run(candidates, size=1, **settings):
    return select_molecules(candidates, MoleculeSelectionSpec(size=size, **settings), source="test")


def stretched(number):
    """Water molecules that all differ."""
    return WATER * (1 + 0.01 * number)


def many(n):
    return [candidate(f"m-{i}", positions=stretched(i)) for i in range(n)]


@pytest.mark.parametrize(
    ("settings", "more", "step", "reason"),
    [
        ({"elements": ("O",)}, {}, ALLOWED, "contains H"),
        ({}, {"charge": -2}, NEUTRAL, "charge -2"),
        ({"charged": True}, {"charge": 1}, PAIRED, "9 electrons, an odd number"),
        ({}, {"symbols": "OH"}, PAIRED, "9 electrons"),
        ({"max_atoms": 2}, {}, SIZE, "3 atoms, more than 2"),
        ({"min_atoms": 4}, {}, SIZE, "3 atoms, fewer than 4"),
        ({}, {"positions": WATER / 3}, DISTANCES, "O-H at 0.32 Å, less than 0.5 Å"),
    ],
)
def test_each_filter_names_what_falls(settings, more, step, reason):
    bad = candidate("bad", **more)
    good = candidate("good", symbols="O" if "min_atoms" not in settings else "OOOO",
                     positions=np.eye(4, 3) * 5)  # fmt: skip
    result = run([bad, good], **settings)
    assert list(result.structures.source_id) == ["good"]
    assert result.rejected.values.tolist() == [["bad", step, result.rejected.reason[0]]]
    assert reason in result.rejected.reason[0]
    assert result.funnel.set_index("step").dropped[step] == 1


def test_open_shells_and_charges_stay_where_they_are_wanted():
    result = run(
        [candidate("radical", symbols="OH"), candidate("ion", charge=1)],
        size=2,
        charged=True,
        open_shell=True,
    )
    assert set(result.structures.source_id) == {"radical", "ion"}


def test_what_cannot_be_read_and_what_falls_at_the_source():
    candidates = [
        MoleculeCandidate("broken", None, "unreadable: no"),
        MoleculeCandidate("own", None, "not wanted", step="mine"),
        candidate("good"),
    ]
    spec = MoleculeSelectionSpec(size=1)
    result = select_molecules(candidates, spec, source="x", source_steps={"mine": "wanted"})
    assert list(result.funnel.step)[:3] == ["candidates found", READABLE, "mine"]
    assert list(result.rejected.step) == [READABLE, "mine"]
    with pytest.raises(ValueError, match="is no step of the source"):
        select_molecules(candidates, spec, source="x")


def test_rows_hold_what_was_read():
    result = run([candidate("a/b c", known={"homo_ev": -7.0}, smiles="O")])
    row = result.structures.iloc[0]
    assert row.material_id == "a-b-c"
    assert row.formula == "H2O"
    assert row.known_homo_ev == -7.0
    assert np.isnan(row.known_lumo_ev)
    (back,) = molecule_tables.table_to_molecules(result.structures)
    assert np.array_equal(back.positions, WATER)
    assert back.smiles == "O"


def test_the_draw_depends_on_neither_order_nor_size():
    candidates = many(20)
    few = list(run(candidates, size=5).structures.source_id)
    more = list(run(candidates[::-1], size=12).structures.source_id)
    assert more[:5] == few
    assert list(run(candidates, size=5, seed=1).structures.source_id) != few
    rejected = run(candidates, size=5).rejected
    assert (rejected.step == SAMPLE).sum() == 15


def test_too_few_tells_the_whole_funnel():
    with pytest.raises(DataError, match=r"leaves 3 structures, but size is 4") as caught:
        run([*many(3), candidate("ion", charge=2)], size=4)
    assert "charge +2" in str(caught.value)
    assert len(run(many(3), size=4, min_size=3).structures) == 3


@pytest.mark.parametrize(
    "settings",
    [{"min_size": 3, "size": 2}, {"min_atoms": 5, "max_atoms": 4}, {"elements": ("Xx",)}],
)
def test_contradictions_are_refused(settings):
    with pytest.raises(ValidationError):
        MoleculeSelectionSpec(**{"size": 1, **settings})


def test_equal_distances_in_any_orientation_are_duplicates():
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(6, 3)) * 2
    turned = Rotation.random(random_state=1).apply(shape) + np.array([1.0, 2.0, 3.0])
    order = [0, 2, 1, 4, 3, 5]
    symbols = "CHHHHC"
    found = twins(
        [
            molecule(symbols, shape),
            molecule(symbols, turned[order]),
            molecule(symbols, shape * [-1, 1, 1]),
            molecule(symbols, shape + rng.normal(size=(6, 3)) * 0.01),
            molecule("CHHHHN", shape),
            molecule(symbols, shape, charge=2),
        ]
    )
    assert found == {1: 0, 2: 0}


def test_the_tolerance_of_distances():
    long = WATER.copy()
    long[1:] *= 1.0005
    longer = WATER.copy()
    longer[1:] *= 1.005
    assert twins([molecule(), molecule(positions=long), molecule(positions=longer)]) == {1: 0}


def test_bonds_decide_where_they_are_known():
    places = np.arange(27.0).reshape(9, 3)
    symbols = "CCOHHHHHH"
    found = twins(
        [
            molecule(symbols, places, smiles="CCO"),
            molecule(symbols, places * 1.1, smiles="OCC"),
            molecule(symbols, places, smiles="COC"),
            molecule(symbols, places, smiles="not bonds"),
            molecule(symbols, places),
        ]
    )
    assert found == {1: 0, 4: 3}


def test_duplicates_fall_by_source_id_or_stay():
    candidates = [candidate("b", smiles="O"), candidate("a", smiles="O", positions=WATER * 1.1)]
    result = run(candidates)
    assert list(result.structures.source_id) == ["a"]
    assert result.rejected.values.tolist() == [["b", DISTINCT, "equals a"]]
    assert len(run(candidates, size=2, drop_duplicates=False).structures) == 2


def test_single_atoms_pass():
    result = run([candidate("a", symbols="O"), candidate("b", symbols="O", positions=WATER + 1)])
    assert list(result.structures.source_id) == ["a"]
