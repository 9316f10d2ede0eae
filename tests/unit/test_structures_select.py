"""The selection: the funnel's arithmetic, duplicates, and the sample."""

import json
from typing import get_args

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from pymatgen.core import DummySpecies, Lattice, Structure

from rhoflow import tables
from rhoflow.errors import ConfigError, DataError
from rhoflow.structures.candidates import Candidate
from rhoflow.structures.files import FilesSource
from rhoflow.structures.funnel import STEPS
from rhoflow.structures.prototypes import PrototypesSource
from rhoflow.structures.select import SelectionSpec, select
from rhoflow.structures.sources import (
    SourceSpec,
    read_candidates,
    source_fingerprint,
    source_steps,
)

TABLE_TEXT = """
cations: {Mg: [2], Ca: [2], Sr: [2], Ba: [2], Zn: [2], Cd: [2], Ti: [4], Zr: [4], Hf: [4]}
prototypes:
  rocksalt:
    formula: AO
    spacegroup: 225
    reference: MgO
    cell: [4.212, 4.212, 4.212, 90, 90, 90]
    oxidation: [[2]]
    sites: [[A, 0, 0, 0, 6], [O, 0.5, 0.5, 0.5]]
  perovskite:
    formula: ABO3
    spacegroup: 221
    reference: SrTiO3
    cell: [3.905, 3.905, 3.905, 90, 90, 90]
    oxidation: [[2, 4]]
    sites: [[A, 0.5, 0.5, 0.5, 12], [B, 0, 0, 0, 6], [O, 0.5, 0, 0]]
"""


def rocksalt(cation: str = "Mg", a: float = 4.212, anion: str = "O") -> Structure:
    face_centred = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    coords = np.concatenate([face_centred, face_centred + 0.5])
    return Structure(Lattice.cubic(a), [cation] * 4 + [anion] * 4, coords)


def perovskite(shift: float = 0.0) -> Structure:
    return Structure(
        Lattice.cubic(4.0),
        ["Ba", "Ti", "O", "O", "O"],
        [[0.5, 0.5, 0.5], [0, 0, shift], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]],
    )


def supercell(structure: Structure, *shape: int) -> Structure:
    copy = structure.copy()
    copy.make_supercell(shape)
    return copy


def partial() -> Structure:
    return Structure(Lattice.cubic(4.0), [{"Mg": 0.5, "Ca": 0.5}, "O"], [[0, 0, 0], [0.5] * 3])


def many(n: int) -> list[Candidate]:
    """Distinct crystals, at most twelve."""
    cations = ("Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Mn", "Fe", "Co", "Ni", "V", "Ti")
    return [Candidate(f"{cation}O", rocksalt(cation, 4.4)) for cation in cations[:n]]


def run(candidates, size=1, **settings):
    return select(candidates, SelectionSpec(size=size, **settings), source="test")


def dropped(selection) -> dict[str, int]:
    return {
        row.step: row.dropped for row in selection.funnel.itertuples(index=False) if row.dropped
    }


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "prototypes.yaml"
    path.write_text(TABLE_TEXT)
    return path


MIXED = [
    Candidate("bad.cif", None, "empty file"),
    Candidate("mixed", partial()),
    Candidate("placeholder", Structure(Lattice.cubic(4), [DummySpecies("X"), "O"],
                                       [[0, 0, 0], [0.5] * 3])),
    Candidate("salt", rocksalt("Na", 5.64, "Cl")),
    Candidate("iron", rocksalt("Fe", 4.33)),
    Candidate("collapsed", rocksalt("Mg", 1.0)),
    Candidate("large", supercell(rocksalt("Sr", 5.16), 1, 1, 1)),
    Candidate("once", rocksalt()),
    Candidate("twice", supercell(rocksalt(), 2, 1, 1)),
    Candidate("other", rocksalt("Ca", 4.81)),
]  # fmt: skip


def test_each_filter_drops_its_own():
    selection = run(MIXED, size=3, excluded_elements=("Fe",))

    assert dict(zip(selection.rejected.source_id, selection.rejected.step, strict=True)) == {
        "bad.cif": "readable",
        "placeholder": "readable",
        "mixed": "ordered",
        "salt": "required elements",
        "iron": "no excluded elements",
        "collapsed": "sensible distances",
        "twice": "no duplicates",
    }
    assert set(selection.structures.source_id) == {"once", "other", "large"}


def test_reasons_are_particular():
    rejected = run(MIXED, size=3, excluded_elements=("Fe",)).rejected
    reasons = dict(zip(rejected.source_id, rejected.reason, strict=True))

    assert reasons["bad.cif"] == "empty file"
    assert reasons["mixed"].startswith("partial occupancy: ")
    assert reasons["salt"] == "contains no O"
    assert reasons["iron"] == "contains Fe"
    assert reasons["collapsed"] == "Mg-O at 0.50 Å, less than 0.7 Å"
    assert reasons["twice"] == "equals once"
    assert all("\n" not in r for r in rejected.reason)


def test_funnel_adds_up():
    selection = run(MIXED, size=2, excluded_elements=("Fe",))
    funnel = selection.funnel

    assert tuple(funnel.step) == STEPS
    assert funnel.remaining.iloc[0] == len(MIXED)
    assert (funnel.remaining.diff().dropna() == -funnel.dropped.iloc[1:]).all()
    assert funnel.remaining.iloc[-1] == len(selection.structures) == 2
    assert dropped(selection) == selection.rejected.step.value_counts().to_dict()
    assert list(selection.funnel.columns) == tables.FUNNEL.names
    assert list(selection.structures.columns) == tables.STRUCTURES.names
    assert list(selection.rejected.columns) == tables.REJECTED.names


def test_max_atoms_counts_the_primitive_cell():
    candidates = [
        Candidate("conventional", supercell(rocksalt(), 2, 2, 2)),  # 64 atoms, 2 primitive
        Candidate("perovskite", supercell(perovskite(), 2, 1, 1)),  # 5 primitive
    ]
    selection = run(candidates, max_atoms=2)

    assert list(selection.structures.source_id) == ["conventional"]
    assert list(selection.structures.n_atoms) == [2]
    assert dropped(selection) == {"size of the primitive cell": 1}


def test_primitive_cell_larger_than_the_formula_unit_counts():
    rutile = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"],
        [[0, 0, 0], [0.3053, 0.3053, 0]],
    )  # fmt: skip
    candidates = [Candidate("rutile", rutile), Candidate("mgo", rocksalt())]

    rejected = run(candidates, max_atoms=5).rejected

    assert list(rejected.reason) == ["6 atoms, more than 5"]


@pytest.mark.parametrize(
    "other",
    [
        supercell(rocksalt(), 2, 1, 1),
        rocksalt().get_primitive_structure(),
        rocksalt(a=4.25),  # the same compound measured at another temperature
        Structure(rocksalt().lattice, rocksalt().species, rocksalt().frac_coords + 0.123),
        Structure(-rocksalt().lattice.matrix, rocksalt().species, rocksalt().frac_coords),
    ],
)
def test_one_crystal_in_two_cells_is_one(other):
    selection = run([Candidate("b", other), Candidate("a", rocksalt())])

    assert list(selection.structures.source_id) == ["a"]
    assert list(selection.rejected.reason) == ["equals a"]


def test_mirror_images_are_one():
    left = Structure.from_spacegroup(
        "P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"],
        [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]],
    )  # fmt: skip
    right = Structure(-left.lattice.matrix, left.species, left.frac_coords)

    assert len(run([Candidate("l", left), Candidate("r", right)]).structures) == 1


def test_phases_of_one_compound_are_two():
    candidates = [Candidate("cubic", perovskite()), Candidate("polar", perovskite(shift=0.02))]

    selection = run(candidates, size=2)

    assert sorted(selection.structures.spacegroup_number) == [99, 221]


def test_sample_does_not_depend_on_order():
    candidates = many(12)
    first = run(candidates, size=5, seed=3)
    second = run(candidates[::-1], size=5, seed=3)

    assert list(first.structures.material_id) == list(second.structures.material_id)
    assert np.array_equal(
        np.stack(first.structures.frac_coords), np.stack(second.structures.frac_coords)
    )
    assert first.rejected.equals(second.rejected)


def test_sample_is_nested_and_in_front():
    candidates = many(12)
    small = list(run(candidates, size=4).structures.material_id)
    large = list(run(candidates, size=9).structures.material_id)

    assert large[:4] == small


def test_sample_does_not_depend_on_the_others():
    candidates = many(12)
    all_ranked = list(run(candidates, size=12).structures.source_id)
    without_one = [c for c in candidates if c.source_id != all_ranked[5]]

    ranked = list(run(without_one, size=11).structures.source_id)

    assert ranked == all_ranked[:5] + all_ranked[6:]


def test_seed_changes_the_sample():
    candidates = many(12)
    samples = {tuple(run(candidates, size=4, seed=s).structures.source_id) for s in range(5)}

    assert len(samples) > 1


def test_too_few_says_all():
    with pytest.raises(DataError) as error:
        run(MIXED, size=30, excluded_elements=("Fe",))
    text = str(error.value)

    assert "leaves 3 structures, but size is 30" in text
    assert all(step in text for step in STEPS[:-1])
    assert "Set size to 3 or less" in text


def test_too_few_names_usual_reasons_with_an_example():
    cold = [Candidate(f"t{i}", None, f"unreadable: {i} K, sort of") for i in range(3)]
    odd = Candidate("z", None, "unreadable: empty file")

    with pytest.raises(DataError) as error:
        run([odd, *cold], size=5, min_size=2)
    lines = str(error.value).splitlines()

    place = next(i for i, line in enumerate(lines) if line.startswith("  readable"))
    assert lines[place + 1 : place + 3] == [
        "    3 as t0: unreadable: 0 K, sort of", "    1 as z: unreadable: empty file",
    ]  # fmt: skip
    assert lines[0].endswith("leaves 0 structures, but min_size is 2:")
    assert "0 or less" not in lines[-1]
    with pytest.raises(DataError, match="Set min_size to 1 or less, loosen"):
        run(many(1), size=5, min_size=2)


def test_min_size_accepts_fewer():
    selection = run(many(6), size=30, min_size=5)

    assert len(selection.structures) == 6
    assert selection.funnel.detail.iloc[-1] == "all 6; size is 30"
    with pytest.raises(DataError, match="leaves 6 structures, but min_size is 7"):
        run(many(6), size=30, min_size=7)
    assert len(run(many(6), size=4, min_size=2).structures) == 4


def test_duplicates_are_kept_on_demand():
    selection = run([Candidate("a", rocksalt()), Candidate("b", rocksalt())], 2,
                    drop_duplicates=False)  # fmt: skip

    assert sorted(selection.structures.source_id) == ["a", "b"]


def test_steps_of_the_source_come_after_reading():
    candidates = [*many(2), Candidate("hot", None, "900 K", step="temperature"),
                  Candidate("bad", None, "empty file")]  # fmt: skip

    selection = select(
        candidates, SelectionSpec(size=2), source="test",
        source_steps={"year": "since 1990", "temperature": "at most 300 K"},
    )  # fmt: skip

    assert list(selection.funnel.step[:5]) == [
        "candidates found", "readable", "year", "temperature", "ordered",
    ]  # fmt: skip
    assert list(selection.funnel.remaining[:5]) == [4, 3, 3, 2, 2]
    assert selection.funnel.detail[3] == "at most 300 K"
    assert list(selection.rejected.step) == ["readable", "temperature"]


def test_a_step_that_no_source_declares_is_refused():
    with pytest.raises(ValueError, match="'temperature' is no step of the source"):
        run([Candidate("hot", None, "900 K", step="temperature")])


def test_origin_reaches_the_table():
    candidates = [Candidate("a", rocksalt(), origin="runs/a"), *many(3)[1:]]

    table = run(candidates, size=3).structures.set_index("source_id")

    assert table.origin["a"] == "runs/a"
    assert table.origin.drop("a").isna().all()


@pytest.mark.parametrize("minimum", [0, 0.7])
def test_atoms_in_one_place_fall_at_the_distances(minimum):
    twice = Structure(Lattice.cubic(4), ["Mg", "O", "O"], [[0, 0, 0], [0.5] * 3, [0.5] * 3])

    selection = run([Candidate("x", twice), *many(1)], min_distance_angstrom=minimum)

    assert dropped(selection) == {"sensible distances": 1}
    assert selection.rejected.reason[0].startswith("O-O at 0.00 Å")


def test_names_stay_short():
    selection = run([Candidate("x" * 500, rocksalt())])

    assert len(selection.structures.material_id[0]) <= 80


def test_no_candidates_at_all():
    with pytest.raises(DataError, match="leaves 0 structures"):
        run([])


def test_material_ids_are_clean_and_unique():
    candidates = [
        Candidate(name, s.structure)
        for name, s in zip(("a/b c.cif", "a-b c.cif", "..", "é"), many(4), strict=True)
    ]
    ids = set(run(candidates, size=4).structures.material_id)

    assert ids == {"a-b-c.cif", "a-b-c.cif-2", "structure", "structure-2"}


def test_table_holds_the_crystal():
    table = run([Candidate("x", rocksalt())]).structures
    (crystal,) = tables.table_to_crystals(table)

    assert table.formula[0] == "MgO"
    assert table.source[0] == "test"
    assert crystal.symbols == ("Mg", "O")
    assert crystal.volume == pytest.approx(4.212**3 / 4)
    assert np.linalg.det(crystal.lattice) > 0


def test_deuterium_is_hydrogen():
    structure = Structure(Lattice.cubic(4.0), ["D", "Na", "O"], [[0, 0, 0.3], [0.5] * 3, [0, 0, 0]])

    assert "H" in set(run([Candidate("x", structure)]).structures.symbols[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"excluded_elements": ("FE",)}, "did you mean 'Fe'"),
        ({"required_elements": ("Oxygen",)}, "'Oxygen' is not the symbol of an element"),
        ({"excluded_elements": ("O",)}, "O both required and excluded"),
        ({"size": 0}, "greater than or equal to 1"),
        ({"size": 2, "min_size": 3}, "min_size = 3 is more than size = 2"),
        ({"maxatoms": 3}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValidationError, match=message):
        SelectionSpec.model_validate({"size": 1, **settings})


def test_sources_are_told_apart_by_kind(tmp_path, table):
    parse = TypeAdapter(SourceSpec).validate_python
    (tmp_path / "POSCAR").write_text(
        "MgO\n4.2\n1 0 0\n0 1 0\n0 0 1\nMg O\n1 1\ndirect\n0 0 0\n0.5 0.5 0.5\n"
    )
    files = parse({"kind": "files", "path": str(tmp_path)})
    prototypes = parse({"kind": "prototypes"})

    assert isinstance(files, FilesSource)
    assert isinstance(prototypes, PrototypesSource)
    assert [c.source_id for c in read_candidates(files, prototypes_table=table)] == ["POSCAR"]
    assert "perovskite-SrTiO3" in {
        c.source_id for c in read_candidates(prototypes, prototypes_table=table)
    }


def test_every_kind_is_known_to_all_functions(tmp_path, table):
    (tmp_path / "a.cif").write_text("data_x")
    (tmp_path / "t.csv").write_text("material_id,lattice,species,frac_coords\n")
    settings = {
        "files": {"path": str(tmp_path)},
        "icsd": {"path": str(tmp_path)},
        "optimade": {"base_url": "http://localhost:1"},
        "table": {"path": str(tmp_path / "t.csv")},
    }
    local = {"files", "icsd", "table"}
    for model in get_args(get_args(SourceSpec)[0]):
        kind = model.model_fields["kind"].default
        if kind not in {*settings, "prototypes", "materials_project"}:
            continue
        spec = model.model_validate({"kind": kind, **settings.get(kind, {})})
        assert (source_fingerprint(spec) != "") == (kind in local)
        assert all(isinstance(detail, str) for detail in source_steps(spec).values())
        assert spec == type(spec).model_validate(json.loads(spec.model_dump_json()))


def test_what_prototypes_warrant_is_what_symmetry_search_finds(table):
    found = list(read_candidates(PrototypesSource(), prototypes_table=table))
    unwarranted = [Candidate(c.source_id, c.structure) for c in found]

    quick, slow = (run(c, size=len(found)).structures for c in (found, unwarranted))

    assert list(quick.material_id) == list(slow.material_id)
    assert list(quick.spacegroup_number) == list(slow.spacegroup_number)
    assert np.allclose(np.stack(quick.lattice_angstrom), np.stack(slow.lattice_angstrom))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prototypes": ("perovskit",)}, "did you mean 'perovskite'"),
        ({"cations": ("Sr", "Hg")}, "'Hg' is not a cation in prototypes.yaml"),
    ],
)
def test_unknown_names_are_config_errors(table, settings, message):
    with pytest.raises(ConfigError, match=message):
        read_candidates(PrototypesSource(**settings), prototypes_table=table)


def test_cations_and_prototypes_restrict(table):
    spec = PrototypesSource(prototypes=("perovskite",), cations=("Sr", "Ba", "Ti"))

    assert [c.source_id for c in read_candidates(spec, prototypes_table=table)] == [
        "perovskite-SrTiO3",
        "perovskite-BaTiO3",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("oxidation: [[2, 4]]", "oxidation: [[2, 3]]", "not neutral"),
        ("oxidation: [[2, 4]]", "oxidation: [[2]]", "expected one number for each"),
        ("[O, 0.5, 0, 0]]", "[O, 0.5, 0, 0, 2]]", "coordination for cations only"),
        ("[A, 0, 0, 0, 6]", "[A, 0, 0, 0, IVXX]", "coordination 'IVXX'"),
        ("formula: ABO3", "formula: BAO3", "expected roles A, B, C in order"),
        ("cations: {Mg", "cations: {Mq", "not element symbols"),
        ("spacegroup: 221", "spacegroup: cubic", "prototypes.perovskite.spacegroup"),
        ("cations: {", "cations: [", "not valid YAML"),
    ],
)
def test_malformed_table_is_named(table, old, new, message):
    assert old in TABLE_TEXT
    table.write_text(TABLE_TEXT.replace(old, new))

    with pytest.raises(DataError, match=message):
        read_candidates(PrototypesSource(), prototypes_table=table)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("spacegroup: 221", "spacegroup: 99"),  # the coordinates have more symmetry
        ("[O, 0.5, 0, 0]]", "[O, 0.25, 0, 0]]"),  # twice the oxygens
        ("spacegroup: 221", "spacegroup: 900"),
    ],
)
def test_geometry_that_contradicts_its_entry_is_an_error(table, old, new):
    table.write_text(TABLE_TEXT.replace(old, new))

    with pytest.raises(DataError):
        list(read_candidates(PrototypesSource(), prototypes_table=table))


def test_missing_table(tmp_path):
    with pytest.raises(DataError, match="restore it"):
        read_candidates(PrototypesSource(), prototypes_table=tmp_path / "none.yaml")
