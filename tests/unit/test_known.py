"""Computed oxides against the shipped table of known ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from rhoflow import io, tables
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, hartree_energy, truncate
from rhoflow.errors import DataError
from rhoflow.evaluation import known as known_module
from rhoflow.evaluation.known import (
    COLUMNS,
    KNOWN,
    QUANTITIES,
    compare_with_known,
    coordination,
    hartree_check,
    with_volumes,
)
from rhoflow.figures.known import known_figure
from rhoflow.figures.style import render
from rhoflow.properties import TARGETS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return io.read_table(ROOT / "resources" / "known_oxides.csv", KNOWN)


def structures(crystals: Sequence[Crystal], *spacegroups: int) -> pd.DataFrame:
    return tables.crystals_to_table(
        crystals,
        spacegroup_numbers=spacegroups,
        source="prototypes",
        source_ids=[c.material_id for c in crystals],
    )


def values(ids: Sequence[str], **columns: Sequence[float]) -> pd.DataFrame:
    table = pd.DataFrame(np.nan, index=range(len(ids)), columns=tables.TARGET_TABLE.names)
    return table.assign(material_id=list(ids), **columns)


def rhombohedral(name: str, symbols: tuple[str, ...], frac: list[list[float]]) -> Crystal:
    """The primitive cell of R-3m with a = 2.86 Å, c = 16.96 Å; coordinates along its axis."""
    a, c = 2.86, 16.96
    lattice = np.array(
        [[a / 2, a / 12**0.5, c / 3], [-a / 2, a / 12**0.5, c / 3], [0, -a / 3**0.5, c / 3]]
    )
    return Crystal(name, lattice, symbols, np.array(frac, dtype=float))


def test_the_shipped_table_is_sound(shipped):
    table = with_volumes(shipped)

    assert len(table) >= 100
    assert table["volume_angstrom3_per_atom"].between(6, 30).all()
    assert not table.duplicated(["formula", "spacegroup_number", "coordination"]).any()
    assert table["spacegroup_number"].between(1, 230).all()
    for number, source in (
        ("a_angstrom", "cell_source"),
        ("bulk_modulus_gpa", "bulk_modulus_source"),
        ("band_gap_pbe_ev", "band_gap_source"),
    ):
        assert (table[number].notna() == table[source].notna()).all(), source
    assert (table["bulk_modulus_gpa"].dropna() > 0).all()
    assert (table["band_gap_pbe_ev"].dropna() >= 0).all()


def test_the_shipped_oxides_can_be_made_by_the_prototypes(shipped):
    prototypes = yaml.safe_load((ROOT / "resources" / "prototypes.yaml").read_text())["prototypes"]
    for row in shipped.to_dict("records"):
        assert prototypes[row["structure"]]["spacegroup"] == row["spacegroup_number"], row


def test_volumes_follow_from_lattice_constants(shipped):
    table = with_volumes(shipped).set_index(["formula", "structure"])
    volume = table["volume_angstrom3_per_atom"]

    assert volume["MgO", "rocksalt"] == pytest.approx(4.2112**3 / 8)
    assert volume["Al2O3", "corundum"] == pytest.approx(
        4.7589**2 * 12.991 * np.sin(np.radians(60)) / 30
    )


def test_units_are_those_of_the_targets():
    for column, (_, unit) in QUANTITIES.items():
        assert TARGETS[column].unit == unit


def test_values_of_a_known_oxide_are_compared(mgo, shipped):
    targets = values(
        ["MgO"], volume_angstrom3_per_atom=[9.66], band_gap_ev=[4.4], bulk_modulus_gpa=[150.0]
    )

    table = compare_with_known(structures([mgo], 225), targets, shipped)

    assert list(table.columns) == COLUMNS
    assert list(table["quantity"]) == list(QUANTITIES)
    assert set(table["structure"]) == {"rocksalt"}
    np.testing.assert_allclose(table["deviation"], table["computed"] - table["known"])
    np.testing.assert_allclose(table["relative_deviation"], table["computed"] / table["known"] - 1)


def test_a_supercell_matches_and_another_space_group_does_not(mgo, shipped):
    twice = Crystal(
        "twice",
        mgo.lattice * np.array([[2], [1], [1]]),
        ("Mg", "O", "Mg", "O"),
        np.array([[0, 0, 0], [0.25, 0.5, 0.5], [0.5, 0, 0], [0.75, 0.5, 0.5]]),
    )
    targets = values(["twice", "MgO"], volume_angstrom3_per_atom=[9.6, 9.6])

    table = compare_with_known(structures([twice, mgo], 225, 186), targets, shipped)

    assert list(table["material_id"]) == ["twice"]


def test_delafossite_is_told_from_layered_rocksalt(shipped):
    symbols = ("Cu", "Al", "O", "O")
    linear = rhombohedral("linear", symbols, [[0] * 3, [0.5] * 3, [0.11] * 3, [0.89] * 3])
    layered = rhombohedral("layered", symbols, [[0.5] * 3, [0] * 3, [0.26] * 3, [0.74] * 3])
    table = structures([linear, layered], 166, 166)
    assert coordination(table.iloc[0].to_dict(), "Cu").tolist() == [2]
    assert coordination(table.iloc[1].to_dict(), "Cu").tolist() == [6]

    found = compare_with_known(
        table, values(["linear", "layered"], volume_angstrom3_per_atom=[10.2, 10.0]), shipped
    )

    assert list(found["material_id"]) == ["linear"]


def test_left_and_right_quartz_are_one_oxide(shipped):
    assert known_module._key({"Si": 3, "O": 6}, 152) == known_module._key({"Si": 1, "O": 2}, 154)


def test_failed_calculations_and_empty_tables_give_no_rows(mgo, shipped):
    assert compare_with_known(structures([mgo], 225), values(["MgO"]), shipped).empty
    assert compare_with_known(structures([], *[]), values([]), shipped).empty
    assert compare_with_known(structures([mgo], 225), values([]), shipped).empty
    empty = compare_with_known(structures([mgo], 225), values(["MgO"]), shipped.iloc[:0])
    assert list(empty.columns) == COLUMNS


def test_a_gap_of_zero_has_no_relative_deviation(mgo, shipped):
    only = shipped[shipped["formula"] == "MgO"].assign(band_gap_pbe_ev=0.0)
    table = compare_with_known(structures([mgo], 225), values(["MgO"], band_gap_ev=[0.5]), only)
    assert table["deviation"].tolist() == [0.5]
    assert table["relative_deviation"].isna().all()


@pytest.mark.parametrize(
    ("column", "value"),
    [("formula", "Mg?"), ("a_angstrom", -1.0), ("gamma_deg", 200.0), ("formula_units", np.nan)],
)
def test_a_wrong_row_is_named(shipped, column, value):
    one = shipped[shipped["formula"] == "MgO"].astype({"formula_units": float})
    with pytest.raises(DataError, match="known oxides"):
        with_volumes(one.assign(**{column: value}))


def test_the_energy_of_a_truncated_density_is_lower(gaussian_spectrum: Spectrum):
    record = hartree_energy(gaussian_spectrum) / gaussian_spectrum.n_atoms
    spectra = {"x": truncate(gaussian_spectrum, 6.0), "other": gaussian_spectrum}
    targets = values(["lost", "x", "failed"], hartree_energy_ev_per_atom=[5.0, record, np.nan])

    table = hartree_check(targets, spectra)

    assert list(table["material_id"]) == ["x"]
    assert -0.05 < table["relative_difference"][0] < 0
    assert table["n_valence_electrons"][0] == pytest.approx(16, abs=1e-3)
    whole = hartree_check(values(["other"], hartree_energy_ev_per_atom=[record]), spectra)
    assert whole["relative_difference"][0] == pytest.approx(0, abs=1e-12)


def known_rows(shipped: pd.DataFrame, factor: float) -> pd.DataFrame:
    table = with_volumes(shipped)
    rows = []
    for quantity, (column, unit) in QUANTITIES.items():
        right = table[table[column].notna()]
        rows.append(
            right[["formula", "structure"]].assign(
                material_id="x", quantity=quantity, computed=factor * right[column],
                known=right[column], deviation=(factor - 1) * right[column],
                relative_deviation=factor - 1, unit=unit,
            )
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def test_the_figure_counts_and_names_outliers(shipped):
    hartree = pd.DataFrame({"n_valence_electrons": [8.0, 16.0], "relative_difference": [-1e-4, 0]})
    figure = known_figure(known_rows(shipped, 1.05), hartree, pd.Series([100.0, -5.0, np.nan]))

    texts = [" ".join(t.get_text() for t in ax.texts) for ax in figure.axes]

    assert f"{len(shipped)} outside" in texts[0]
    assert "mean +5.0 %" in texts[0]
    assert texts[0].count("(") == 6
    assert "1 not positive" in texts[3]
    assert "at most 1.0e-04" in texts[4]
    assert render(figure)


def test_the_figure_draws_without_anything(shipped):
    hartree = pd.DataFrame({"n_valence_electrons": [], "relative_difference": []})
    figure = known_figure(
        known_rows(shipped, 1.0).iloc[:0], hartree, pd.Series([np.nan], dtype=float)
    )
    assert all("no " in ax.texts[0].get_text() for ax in figure.axes)
    assert render(figure)
