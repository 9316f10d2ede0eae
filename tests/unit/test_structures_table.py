"""Tables of structures: every notation, and every way in which a row or a file can be bad."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from rhoflow.errors import ConfigError, DataError
from rhoflow.structures.candidates import ONE_ENTRY
from rhoflow.structures.select import SelectionSpec, select
from rhoflow.structures.table import TableSource, read_table, table_fingerprint, table_steps

SHARED = Path(os.environ.get("RHOFLOW_SHARED", "/nowhere")) / "data/oxides/oxides_lt50.csv.gz"
A = 4.212 / 2
LATTICE = [[0.0, A, A], [A, 0.0, A], [A, A, 0.0]]
COORDS = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]


def frame(n=1, **columns):
    rows = {
        "material_id": [f"id-{i}" for i in range(n)],
        "lattice": [json.dumps(LATTICE)] * n,
        "species": ['["Mg", "O"]'] * n,
        "frac_coords": [json.dumps(COORDS)] * n,
    }
    return pd.DataFrame({**rows, **columns})


def read(path, **settings):
    return list(read_table(TableSource(path=str(path), **settings)))


def only(folder, **columns):
    frame(**columns).to_csv(folder / "t.csv", index=False)
    (candidate,) = read(folder / "t.csv")
    return candidate


def is_mgo(candidate):
    structure = candidate.structure
    assert structure is not None, candidate.reason
    return (
        [s.symbol for s in structure.species] == ["Mg", "O"]
        and np.allclose(structure.lattice.matrix, LATTICE)
        and np.allclose(structure.frac_coords, COORDS)
    )


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz"])
def test_text_tables(tmp_path, name):
    frame(3).to_csv(tmp_path / name, index=False, sep="\t" if ".tsv" in name else ",")

    candidates = read(tmp_path / name)

    assert [c.source_id for c in candidates] == ["id-0", "id-1", "id-2"]
    assert all(is_mgo(c) for c in candidates)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"lattice": [LATTICE], "species": [["Mg", "O"]], "frac_coords": [COORDS]},
        {"lattice": [np.ravel(LATTICE)], "species": [[12, 8]], "frac_coords": [np.ravel(COORDS)]},
    ],
)
def test_parquet_with_text_nested_and_flat_lists(tmp_path, columns):
    frame(**columns).to_parquet(tmp_path / "t.parquet")

    (candidate,) = read(tmp_path / "t.parquet")

    assert is_mgo(candidate)


@pytest.mark.parametrize(
    "species",
    ["Mg O", "Mg, O", "['Mg', 'O']", '["Mg2+", "O2-"]', "12 8", "[12, 8]", "Mg;O", '"Mg O"'],
)
def test_species_in_any_notation(tmp_path, species):
    assert is_mgo(only(tmp_path, species=[species]))


@pytest.mark.parametrize(
    "notation",
    [
        str(LATTICE),
        str(np.array(LATTICE)),
        repr(np.array(LATTICE)),
        " ".join(map(str, np.ravel(LATTICE))),
    ],
)
def test_numbers_in_any_notation(tmp_path, notation):
    assert is_mgo(only(tmp_path, lattice=[notation]))


def test_cell_parameters_and_cartesian_coordinates_in_columns_of_other_names(tmp_path):
    pd.DataFrame(
        {
            "name": ["x"], "a": [4.0], "b": [5.0], "c": [6.0], "al": [90], "be": [100], "ga": [90],
            "atoms": ["Mg O"], "xyz": ["0 0 0 2.0 2.5 2.9"],
        }
    ).to_csv(tmp_path / "t.csv", index=False)  # fmt: skip

    (candidate,) = read(
        tmp_path / "t.csv", id_column="name", lattice_column=None, species_column="atoms",
        cell_columns=("a", "b", "c", "al", "be", "ga"), coords_column="xyz", cartesian=True,
    )  # fmt: skip

    assert candidate.structure is not None
    assert candidate.structure.lattice.parameters == pytest.approx((4, 5, 6, 90, 100, 90))
    assert np.allclose(candidate.structure.cart_coords[1], [2.0, 2.5, 2.9])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"species": ["Mg Qq"]}, "unknown element Qq"),
        ({"species": [""]}, "species is empty"),
        ({"species": ["Mg"]}, "frac_coords has 6 numbers for 1 atoms, expected 3"),
        ({"species": ["Mg 0.5"]}, "species mixes symbols and numbers ('Mg 0.5')"),
        ({"species": ["12 999"]}, "unknown element 999"),
        ({"species": ["12 1e2"]}, "unknown element 1e2"),
        ({"species": ["12 8.0"]}, "unknown element 8.0"),
        ({"species": ["Mg 1 O 1"]}, "mixes symbols and numbers"),
        ({"lattice": ["200 0 0 0 200 0 0 0 2.6e-8"]}, "flat cell, 2.6e-08 Å high"),
        ({"frac_coords": ["0 0 0 0.5 0.5 1e5"]}, "fractional coordinate 1e+05"),
        ({"lattice": ["1 2 3"]}, "lattice has 3 numbers, expected 9"),
        ({"lattice": ["[[1, 0, 0], [0, 1, 0], [0, 0, null]]"]}, "not finite"),
        ({"lattice": ["[" * 50_000]}, "lattice has 0 numbers, expected 9"),
        ({"species": ['["Mg", null]']}, "unknown element None"),
        ({"species": ['{"Mg": 1, "O": 1}']}, "mixes symbols and numbers"),
        ({"lattice": ["nan " * 9]}, "not finite"),
        ({"lattice": ["1e400 " * 9]}, "not finite"),
        ({"lattice": ["1 0 0 0 1 0 1 1 0"]}, "cell volume 0"),
        ({"lattice": ["900 0 0 0 9 0 0 0 9"]}, "cell edge of 900 Å"),
        ({"frac_coords": ["0 0 0 a b c"]}, "holds 'a', no number"),
        ({"frac_coords": ["__import__('os').system('true')"]}, "no number"),
    ],
)
def test_a_bad_row_is_a_row_with_a_reason(tmp_path, columns, reason):
    candidate = only(tmp_path, **columns)

    assert candidate.structure is None
    assert reason in candidate.reason
    assert candidate.source_id == "id-0"


def test_a_crowd_of_atoms_is_a_row_with_a_reason(tmp_path):
    n = 1001
    crowd = {
        "lattice": ["1 0 0 0 1 0 0 0 1"],
        "species": ["Mg " * n],
        "frac_coords": [" ".join(map(str, np.random.default_rng(0).random(3 * n)))],
    }

    assert "1001 atoms in 1 Å³, denser than any crystal" in only(tmp_path, **crowd).reason


def test_parquet_text_that_is_not_utf8_is_a_row_with_a_reason(tmp_path):
    table = pa.Table.from_pandas(frame(3), preserve_index=False)
    damaged = pa.array([b"Mg O", b"\xff\xfe O", b"Mg O"], pa.binary())
    place = table.schema.get_field_index("species")
    # As a writer that does not check leaves it: bytes under the name of text.
    text = pa.Array.from_buffers(pa.string(), 3, damaged.buffers())
    pq.write_table(table.set_column(place, "species", text), tmp_path / "t.parquet")

    candidates = read(tmp_path / "t.parquet")

    assert [c.structure is not None for c in candidates] == [True, False, True]
    assert candidates[1].reason == "column species holds text that is not UTF-8"


@pytest.mark.parametrize("place", ["first", "last"])
def test_an_open_quote_names_its_line_and_what_it_swallows(tmp_path, place):
    lines = ["material_id,lattice,species,frac_coords"]
    lines += [f"id-{i},0 2 2 2 0 2 2 2 0,Mg O,0 0 0 .5 .5 .5" for i in range(9)]
    lines[3] = f'"{lines[3]}' if place == "first" else lines[3].replace(",0 0 0", ',"0 0 0')
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")

    candidates = read(tmp_path / "t.csv")

    assert [c.structure is not None for c in candidates] == [True, True, False]
    assert candidates[2].reason.startswith("line 4: a quotation mark runs over the next 6 lines")


@pytest.mark.parametrize("name", ["T.CSV", "t.Csv.GZ", "t.PARQUET"])
def test_suffixes_in_capitals(tmp_path, name):
    if name == "t.PARQUET":
        frame().to_parquet(tmp_path / name)
    else:
        opened = gzip.open if name.endswith("GZ") else open
        with opened(tmp_path / name, "wt") as file:
            file.write(frame().to_csv(index=False))

    assert [is_mgo(c) for c in read(tmp_path / name)] == [True]


def test_bad_rows_stop_nothing(tmp_path):
    good = frame(2).to_csv(index=False)
    header, first, second = good.splitlines()
    (tmp_path / "t.csv").write_text("\n".join([header, first, "a,b", "", first + ",x", second]))

    candidates = read(tmp_path / "t.csv")

    assert [c.structure is not None for c in candidates] == [True, False, False, True]
    assert candidates[1].source_id == "row-2"
    assert candidates[1].reason == "row has 2 fields, the header 4"


def test_ids_that_repeat_or_lack(tmp_path):
    frame(4, material_id=["x", "x", "", " y\n"]).to_csv(tmp_path / "t.csv", index=False)

    candidates = read(tmp_path / "t.csv")

    assert [c.source_id for c in candidates] == ["x", "x", "row-3", "y"]
    assert [c.step for c in candidates] == ["", ONE_ENTRY, "", ""]
    result = select(candidates, SelectionSpec(size=1), source="table", source_steps=table_steps())
    assert result.funnel.remaining.iloc[0] == 4


def test_limit_reads_the_first_rows(tmp_path):
    frame(5).to_csv(tmp_path / "t.csv", index=False)

    assert len(read(tmp_path / "t.csv", limit=3)) == 3


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_missing_column_is_a_config_error(tmp_path, name):
    table = frame().rename(columns={"species": "specie"})
    table.to_csv(tmp_path / name) if name == "t.csv" else table.to_parquet(tmp_path / name)

    with pytest.raises(ConfigError, match="no column 'species'; did you mean 'specie'"):
        read(tmp_path / name)


def test_a_home_that_is_not_known_is_a_config_error():
    with pytest.raises(ConfigError, match="no home folder is known for '~nobody-here'"):
        read("~nobody-here/t.csv")


@pytest.mark.parametrize("name", ["nowhere.csv", ".", "t.xlsx"])
def test_no_table_is_a_config_error(tmp_path, name):
    (tmp_path / "t.xlsx").write_text("x")

    with pytest.raises(ConfigError, match=r"not a file|no known kind"):
        read(tmp_path / name)


def test_truncated_and_foreign_files_are_data_errors(tmp_path):
    frame(2000, lattice=[str(np.random.default_rng(i).random(9)) for i in range(2000)]).to_csv(
        tmp_path / "t.csv.gz", index=False
    )
    whole = (tmp_path / "t.csv.gz").read_bytes()
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "u.csv.gz").write_bytes(b"no gzip at all")
    (tmp_path / "v.parquet").write_bytes(b"PAR1 no parquet")

    for name in ("t.csv.gz", "u.csv.gz", "v.parquet"):
        with pytest.raises(DataError, match="cannot be read"):
            read(tmp_path / name)


def test_a_bomb_of_one_line_is_refused_unread(tmp_path):
    with gzip.open(tmp_path / "t.csv.gz", "wb", compresslevel=1) as file:
        file.write(frame().to_csv(index=False).encode())
        for _ in range(30):
            file.write(b"0" * 1_000_000)

    with pytest.raises(DataError, match="a line of more than"):
        read(tmp_path / "t.csv.gz")


def test_an_open_quote_does_not_swallow_the_file(tmp_path):
    text = frame(3).to_csv(index=False)
    (tmp_path / "t.csv").write_text(text + '"' + "open\n" * 3_000_000)

    with pytest.raises(
        DataError, match=r"line 5: field larger than .* runs over the next \d+ lines"
    ):
        read(tmp_path / "t.csv")


def test_one_kind_of_cell():
    for settings in ({"lattice_column": None}, {"cell_columns": tuple("abcdef")}):
        with pytest.raises(ValidationError, match="either lattice_column or cell_columns"):
            TableSource.model_validate({"path": "x.csv", **settings})


def test_fingerprint_follows_the_file(tmp_path):
    frame().to_csv(tmp_path / "t.csv", index=False)
    spec = TableSource(path=str(tmp_path / "t.csv"))
    before = table_fingerprint(spec)

    assert table_fingerprint(spec) == before
    os.utime(tmp_path / "t.csv", ns=(1, 1))
    assert table_fingerprint(spec) != before


@pytest.mark.skipif(not SHARED.exists(), reason="RHOFLOW_SHARED names no folder with the oxides")
def test_the_oxides_are_read_by_the_defaults():
    candidates = read(SHARED, limit=60)

    assert all(c.structure is not None for c in candidates)
    assert len(select(candidates, SelectionSpec(size=40), source="table").structures) == 40
