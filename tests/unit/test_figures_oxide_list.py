"""The list of oxides."""

import numpy as np
import pandas as pd
import pytest

from rhoflow import tables
from rhoflow.errors import DataError
from rhoflow.figures.oxide_list import COLUMNS, oxide_list, reduced_formula, structure_type

ROWS = {
    "perovskite-SrTiO3": (["Sr", "Ti", "O", "O", "O"], 221, "prototypes"),
    "rocksalt-MgO": (["O", "Mg"], 225, "archive"),
    "mp-1265": (["Mg", "O", "Mg", "O"], 14, "materials_project"),
    "lost": (["Al", "Al", "O", "O", "O"], 0, "files"),
}


def inputs() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    ids = list(ROWS)
    structures = tables.STRUCTURES.empty_table().to_pandas().reindex(range(len(ids)))
    symbols, numbers, sources = zip(*ROWS.values(), strict=True)
    structures = structures.assign(
        material_id=ids,
        n_atoms=[len(s) for s in symbols],
        symbols=list(symbols),
        spacegroup_number=numbers,
        source=sources,
        source_id=ids,
    )
    targets = pd.DataFrame(np.nan, index=range(len(ids)), columns=tables.TARGET_TABLE.names)
    targets = targets.assign(material_id=ids[::-1])
    targets.loc[2, ["band_gap_ev", "volume_angstrom3_per_atom"]] = [4.41239, 9.26543]
    records = pd.DataFrame({"material_id": ids, "status": "ok", "reason": None})
    records.loc[3, ["status", "reason"]] = ["failed", "no set for Xx"]
    return structures, targets, records


def test_rows_are_sorted_and_carry_what_was_computed():
    table = oxide_list(*inputs())
    assert list(table.columns) == COLUMNS
    assert table["formula"].tolist() == ["Al2O3", "MgO", "MgO", "SrTiO3"]
    assert table["spacegroup_symbol"].tolist() == ["", "P2_1/c", "Fm-3m", "Pm-3m"]
    assert table["structure_type"].tolist() == ["", "", "rocksalt", "perovskite"]
    rocksalt = table[table["material_id"] == "rocksalt-MgO"].iloc[0]
    assert rocksalt["band_gap_ev"] == 4.412
    assert rocksalt["volume_angstrom3_per_atom"] == 9.265
    assert table.loc[0, ["status", "reason"]].tolist() == ["failed", "no set for Xx"]
    assert np.isnan(table.loc[0, "band_gap_ev"])


def test_every_number_names_its_unit():
    plain = {"formula", "spacegroup_symbol", "spacegroup_number", "structure_type", "n_atoms",
             "status", "reason", "source", "source_id", "material_id"}  # fmt: skip
    units = ("_angstrom3_per_atom", "_ev_per_atom", "_ev", "_gpa")
    assert all(c.endswith(units) for c in COLUMNS if c not in plain)


def test_tables_that_do_not_belong_together_are_refused():
    structures, targets, records = inputs()
    with pytest.raises(DataError, match="no record of lost"):
        oxide_list(structures, targets, records[:3])
    with pytest.raises(DataError, match="no record of perovskite-SrTiO3"):
        oxide_list(structures, targets[:3], records)
    with pytest.raises(DataError, match="named twice"):
        oxide_list(pd.concat([structures, structures[:1]]), targets, records)


def test_an_empty_data_set_has_an_empty_list():
    structures, targets, records = (t[:0] for t in inputs())
    assert list(oxide_list(structures, targets, records).columns) == COLUMNS


@pytest.mark.parametrize(
    ("source", "name", "symbols", "expected"),
    [
        ("prototypes", "layered-rocksalt-LiGaO2", ["Li", "Ga", "O", "O"], "layered-rocksalt"),
        ("prototypes", "spinel-SiMg2O4", ["Mg", "Mg", "Si", *["O"] * 4] * 2, "spinel"),
        ("archive", "mp-1265", ["Mg", "O"], ""),
        ("archive", "my-MgO", ["Ca", "O"], ""),
        ("files", "rocksalt-MgO", ["Mg", "O"], ""),
        ("prototypes", "MgO", ["Mg", "O"], ""),
        ("archive", "x-=cmd()", ["Mg", "O"], ""),
        ("archive", "x-Mg0O0", ["Mg", "O"], ""),
        ("archive", "x-O" + "9" * 400, ["O"], ""),
        ("archive", "", ["O"], ""),
    ],
)
def test_a_structure_type_is_a_prototype_of_that_composition(source, name, symbols, expected):
    assert structure_type(source, name, symbols) == expected


def test_formulas_begin_with_the_metal():
    assert reduced_formula(["O", "O", "Na", "Na"]) == "Na2O2"
    assert reduced_formula(["O"] * 6 + ["Sr", "Ti"] * 2) == "SrTiO3"
