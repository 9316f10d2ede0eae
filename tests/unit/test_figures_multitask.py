"""Figures of several targets: tables of scores, added tasks, similarity, and their captions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.unit.test_evaluation import predictions
from tests.unit.test_multitask import BULK, COHESION, FERMI, GAP, Y, several

from rhoflow.config import load
from rhoflow.evaluation import paired
from rhoflow.figures import report
from rhoflow.figures.multitask import (
    added_tasks,
    added_tasks_data,
    score_table,
    score_table_data,
    task_similarity,
    task_similarity_data,
)

ROOT = Path(__file__).parents[2]
LABELS = {"x": "X", "y": "Y"}
POINTS = [
    {"name": "x__gap", "arm": "x", "beside": GAP},
    {"name": "x__bulk", "arm": "x", "beside": BULK},
]


@pytest.fixture
def changes() -> pd.DataFrame:
    """The gap helps the modulus by a half in every redraw, the modulus may help the gap."""
    table = several(
        {
            BULK: {"x": Y, "x__gap": [0.2, 0.25, 0.31]},
            GAP: {"x": Y, "x__bulk": [0.3, 0.6, 0.5]},
        }
    )
    smaller = several({BULK: {"x": [9.0] * 3, "x__gap": [1.0] * 3}}, train_size=50)
    return added_tasks_data(pd.concat([smaller, table]), POINTS)


def test_changes_are_those_of_the_same_redraws(changes):
    assert changes[["arm", "target", "beside"]].to_numpy().tolist() == [
        ["x", BULK, GAP],
        ["x", GAP, BULK],
    ]
    logs = np.log(np.divide([0.2, 0.25, 0.31], Y))
    assert changes["change_percent"][0] == pytest.approx(100 * (np.exp(logs.mean()) - 1))
    error = logs.std(ddof=1) * np.sqrt(1 / 3 + 2 / 100)
    assert changes["standard_errors"][0] == pytest.approx(logs.mean() / error)
    assert changes["clear"].tolist() == [True, False]
    assert (changes["n_redraws"] == 3).all()


def test_two_redraws_make_nothing_clear():
    table = several({BULK: {"x": [0.4, 0.5], "x__gap": [0.2, 0.25]}})
    (row,) = added_tasks_data(table, POINTS[:1]).to_dict("records")
    assert row["change_percent"] == pytest.approx(-50)
    assert (row["clear"], row["n_redraws"]) == (False, 2)
    assert np.isnan(row["standard_errors"])


def texts(ax: Any) -> list[str]:
    return [t.get_text() for t in ax.texts]


def test_the_map_of_added_tasks_frames_what_is_clear(changes):
    figure = added_tasks(changes, LABELS)
    (ax,) = figure.axes
    assert ax.get_title() == "X"
    # Rows stand in the order of the columns; nothing is learned beside itself.
    assert [t.get_text() for t in ax.get_yticklabels()] == ["band gap", "bulk modulus"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["band gap", "bulk\nmodulus"]
    assert texts(ax) == [f"{changes['change_percent'][1]:+.1f}".replace("-", "−"),
                         f"{changes['change_percent'][0]:+.1f}".replace("-", "−")]  # fmt: skip
    assert [t.get_weight() for t in ax.texts] == ["normal", "bold"]
    frames = [p for p in ax.patches if not p.get_fill()]
    assert len(frames) == 1
    assert (frames[0].get_x() + 0.46, frames[0].get_y() + 0.43) == pytest.approx((0, 1))


def test_no_change_has_no_sign_of_its_own():
    table = several({BULK: {"x": Y, "x__gap": [v * 0.9999 for v in Y]}})
    (ax,) = added_tasks(added_tasks_data(table, POINTS[:1]), LABELS).axes
    assert texts(ax) == ["+0.0"]


def test_a_table_of_scores_marks_the_best_of_each_column():
    table = several({GAP: {"x": [0.1, 0.3], "y": [0.5, 0.7]}, BULK: {"y": [0.1, 0.1]}})
    table = pd.concat([table, table.assign(train_size=50, y_pred=99)])
    data = score_table_data(table, list(LABELS))
    rows = data.set_index(["arm", "target"])
    # R² of a redraw is 1 - e².
    assert rows.loc[("x", GAP), "r2_mean"] == pytest.approx(1 - (0.01 + 0.09) / 2)
    assert rows.loc[("x", GAP), "r2_std"] == pytest.approx(np.std([0.99, 0.91], ddof=1))
    assert rows.loc[("x", GAP), "mae_mean"] == pytest.approx(0.2)
    assert rows.loc[("x", GAP), "mae_std"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    # The mean is that of arms which learn every target.
    assert ("x", "mean") not in rows.index
    assert rows.loc[("y", "mean"), "r2_mean"] == pytest.approx((0.99 + 0.63) / 2)
    (ax,) = score_table(data, LABELS).axes
    assert [t.get_text() for t in ax.get_xticklabels()] == [
        "band gap\neV", "bulk\nmodulus\nGPa", "mean\nR²",
    ]  # fmt: skip
    bold = {t.get_text() for t in ax.texts if t.get_weight() == "bold"}
    assert bold == {"0.95 ± 0.06", "0.20 ± 0.14", "0.99 ± 0.00", "0.100 ± 0.000", "0.81 ± 0.08"}
    assert len(ax.texts) == 2 + 2 + 2 + 1
    assert len(ax.patches) == 2


def test_one_redraw_and_one_target_make_a_table_too():
    data = score_table_data(several({GAP: {"x": [0.5]}}), ["x"])
    assert data["target"].tolist() == [GAP]
    (ax,) = score_table(data, {"x": "X"}).axes
    assert texts(ax) == ["0.75", "0.50"]


@pytest.fixture
def values() -> pd.DataFrame:
    """The modulus rises with the gap, the cohesive energy nearly falls; another is free."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    return pd.DataFrame(
        {
            GAP: x,
            FERMI: rng.normal(size=50),
            BULK: np.exp(x),
            COHESION: -x + 0.1 * rng.normal(size=50),
        }
    )


def test_rank_correlations_stand_in_the_order_of_the_tree(values):
    values.loc[50] = [np.nan, 1.0, 2.0, 3.0]  # lacks one
    data = task_similarity_data(values)
    order = data["target"].tolist()
    matrix = data.set_index("target")
    assert list(matrix.columns) == order
    assert matrix.loc[GAP, BULK] == pytest.approx(1)
    assert matrix.loc[GAP, COHESION] < -0.95
    # Alike without regard to the sign: the free one stands at an end, the two equal ones together.
    assert FERMI in (order[0], order[-1])
    assert abs(order.index(GAP) - order.index(BULK)) == 1
    expected = values.dropna().rank().corr().loc[order, order]
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


def test_the_tree_joins_the_rows_that_are_alike(values):
    data = task_similarity_data(values)
    groups = {"A": {"one": [GAP, BULK, COHESION], "rest_of_all": [FERMI]}}
    figure = task_similarity(data, groups)
    cells, strip, tree = figure.axes
    assert texts(cells)[0] == "1.00"
    assert strip.get_title() == "A"
    order = data["target"].tolist()
    at = {t.get_position()[1]: t.get_text() for t in strip.texts}
    assert [at[row] for row in range(4)] == [
        "rest of all" if target == FERMI else "one" for target in order
    ]
    branches = [np.asarray(line.get_xydata(), dtype=float) for line in tree.lines]
    assert len(branches) == 3
    first = branches[0]
    assert sorted([order[round(first[0, 1])], order[round(first[3, 1])]]) == sorted([GAP, BULK])
    np.testing.assert_allclose(first[:, 0], 0, atol=1e-12)
    heights = [branch[1, 0] for branch in branches]
    assert heights == sorted(heights)
    matrix = data.set_index("target").abs()
    last = 1 - matrix.loc[FERMI].drop(FERMI).mean()  # average linkage of one with three
    assert heights[-1] == pytest.approx(last)


def test_a_constant_target_is_like_no_other(values):
    data = task_similarity_data(values.assign(**{FERMI: 1.0}))
    figure = task_similarity(data, {})
    assert len(figure.axes) == 2
    assert len(texts(figure.axes[0])) == 9


@pytest.mark.parametrize(
    ("figure", "study", "parts"),
    [
        ("score_table", "density_properties", ["60 test structures", "5 redraws", "image: 12"]),
        ("added_tasks", "density_tasks", ["3 redraws of 60", "200 training structures"]),
        (
            "task_similarity",
            "density_properties",
            ["image, two groups", "bonding (4), packing (4)"],
        ),
    ],
)
def test_captions_quote_the_config(figure, study, parts):
    config = load(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))
    template = (ROOT / "workflow" / "report" / f"{figure}.rst").read_text()
    text = report.caption(template, config.model_dump(mode="json"), {"study": study})
    for part in parts:
        assert part in " ".join(text.split()), part


def test_the_share_of_test_structures_is_that_of_the_largest_size():
    table = pd.concat([predictions({"x": [0.1]}, 50), predictions({"x": [0.1]}, 100)])
    larger = predictions({"x": [0.1]}, 100).assign(part="larger", material_id="z")
    largest, size, n_test = paired.at_largest(pd.concat([table, larger]))
    assert (size, n_test) == (100, 2)
    assert set(largest["train_size"]) == {100}
