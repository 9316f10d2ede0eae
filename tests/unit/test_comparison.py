"""Two data sets of the same structures, held against each other."""

import numpy as np
import pandas as pd
import pytest

from rhoflow import tables
from rhoflow.errors import DataError
from rhoflow.evaluation.comparison import COLUMNS, compare
from rhoflow.figures.comparison import comparison_figure
from rhoflow.figures.style import render


def structures(*rows: tuple[str, str | None, str, int]) -> pd.DataFrame:
    """Rows of material id, source id, symbols, space group."""
    return pd.DataFrame(
        {
            "material_id": [r[0] for r in rows],
            "source_id": [r[1] for r in rows],
            "formula": ["".join(r[2].split()) for r in rows],
            "symbols": [r[2].split() for r in rows],
            "spacegroup_number": [r[3] for r in rows],
        }
    )


def targets(ids: list[str], **columns: list[float]) -> pd.DataFrame:
    table = pd.DataFrame(np.nan, index=range(len(ids)), columns=tables.TARGET_TABLE.names)
    return table.assign(material_id=ids, **columns)


MINE = structures(("a", "s1", "Mg O", 225), ("b", "s2", "Zn O", 186), ("c", "s3", "Be O", 186))
THEIRS = structures(("p", "s3", "Be O", 186), ("q", "s1", "Mg O", 225), ("r", "s9", "Ca O", 225))


def test_pairs_by_source_id_whatever_the_order_and_names():
    table = compare(
        MINE,
        targets(["a", "b", "c"], band_gap_ev=[4.5, 0.7, 7.1], bulk_modulus_gpa=[150, 130, np.nan]),
        THEIRS,
        targets(["r", "q", "p"], band_gap_ev=[3.6, 4.4, 7.3], bulk_modulus_gpa=[110, 152, 200]),
    )

    assert list(table.columns) == COLUMNS
    gaps = table[table["target"] == "band_gap_ev"]
    assert list(gaps["source_id"]) == ["s1", "s3"]
    np.testing.assert_allclose(gaps["difference"], [0.1, -0.2])
    assert list(table[table["target"] == "bulk_modulus_gpa"]["formula"]) == ["MgO"]
    assert set(table["target"]) == {"band_gap_ev", "bulk_modulus_gpa"}


def test_a_target_that_one_side_lacks_is_left_out():
    mine = targets(["a"], band_gap_ev=[4.5], bulk_modulus_gpa=[150.0])
    theirs = targets(["q"], band_gap_ev=[4.4], bulk_modulus_gpa=[1.0])
    table = compare(MINE, mine, THEIRS, theirs.drop(columns="bulk_modulus_gpa"))
    assert set(table["target"]) == {"band_gap_ev"}


def test_without_common_ids_composition_and_space_group_pair():
    other = THEIRS.assign(source_id=["x1", "x2", "x3"])
    doubled = pd.concat([other, structures(("q2", "x4", "Mg Mg O O", 225))], ignore_index=True)
    mine = targets(["a", "b", "c"], band_gap_ev=[4.5, 0.7, 7.1])
    theirs = targets(["p", "q", "q2"], band_gap_ev=[7.3, 4.4, 4.3])

    assert list(compare(MINE, mine, other, theirs)["source_id"]) == ["s1", "s3"]
    # Two MgO in the reference: which one is meant cannot be told.
    assert list(compare(MINE, mine, doubled, theirs)["source_id"]) == ["s3"]


def test_equal_ids_of_different_oxides_and_doubled_ids_are_left_out():
    wrong = structures(("p", "s1", "Ca O", 225), ("q", "s2", "Zn O", 186), ("r", "s3", "Be O", 1))
    doubled = pd.concat([wrong, structures(("t", "s3", "Be O", 186))], ignore_index=True)
    gaps = targets(["a", "b", "c"], band_gap_ev=[1.0, 2.0, 3.0])
    other = targets(["p", "q", "r", "t"], band_gap_ev=[1.0, 1.0, 1.0, 1.0])

    assert list(compare(MINE, gaps, wrong, other.iloc[:3])["source_id"]) == ["s2", "s3"]
    assert list(compare(MINE, gaps, doubled, other)["source_id"]) == ["s2"]


def test_nothing_in_common_is_misuse():
    other = structures(("p", "y", "Ca O", 225))
    with pytest.raises(DataError, match="none in common"):
        compare(MINE, targets(["a"]), other, targets(["p"]))
    with pytest.raises(DataError, match="none in common"):
        compare(MINE.iloc[:0], targets([]), THEIRS, targets(["p"]))


def test_missing_source_ids_do_not_pair():
    mine, theirs = MINE.assign(source_id=None), THEIRS.assign(source_id=None)
    gaps, other = targets(["a"], band_gap_ev=[4.5]), targets(["q"], band_gap_ev=[4.5])
    table = compare(mine, gaps, theirs, other)
    assert list(table["formula"]) == ["MgO"]


@pytest.mark.parametrize("n", [0, 1, 5, 700])
def test_the_figure_has_a_panel_a_target(n):
    number = np.arange(n, dtype=float)
    rows = [
        pd.DataFrame(
            {
                "source_id": "s",
                "formula": "MgO",
                "target": target,
                "value": number + step,
                "reference": number,
                "difference": step,
            }
        )
        for target, step in (("band_gap_ev", 0.0), ("bulk_modulus_gpa", -2.5))
    ]
    figure = comparison_figure(pd.concat(rows, ignore_index=True)[COLUMNS])

    texts = [t.get_text() for ax in figure.axes for t in ax.texts]
    if n:
        assert texts == [f"all {n} equal", f"max |Δ| 2.5, n = {n}"]
        assert [ax.get_xlabel().split("(")[1] for ax in figure.axes] == ["eV)", "GPa)"]
    else:
        assert texts == ["no target has a value in both data sets"]
    assert render(figure)
