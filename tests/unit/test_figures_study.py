"""Figures of arms that differ in what they learn, of scans, and the report of a study."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.unit.test_evaluation import predictions

from rhoflow import tables
from rhoflow.config import load
from rhoflow.descriptors.base import VectorSet, paired
from rhoflow.evaluation import metrics
from rhoflow.evaluation.protocol import LearningCurveSpec, learning_curve
from rhoflow.figures import report, scores
from rhoflow.figures.scores import learning_curves, parity, parity_data, scan, scan_data
from rhoflow.models.stacked import FittedStack

ROOT = Path(__file__).parents[2]
LABELS = {"x": "X", "y": "Y", "z": "Z"}


def uneven() -> pd.DataFrame:
    """x learns the gap, z the cohesive energy, y both."""
    gap = predictions({"x": [0.1, 0.3], "y": [0.5, 0.7]})
    cohesion = predictions({"y": [0.2, 0.4], "z": [0.9, 1.1]})
    return pd.concat([gap, cohesion.assign(target="cohesive_energy_ev_per_atom")])


def lines(ax: Any) -> dict[str, Any]:
    return {c.get_label(): c.lines[0] for c in ax.containers}


def heights(line: Any) -> np.ndarray:
    return np.asarray(line.get_ydata(), dtype=float)


def test_an_arm_looks_the_same_in_every_panel_and_is_in_the_legend():
    figure = learning_curves(metrics.scores(uneven()), LABELS)
    gap, cohesion = (lines(ax) for ax in figure.axes)
    assert list(gap) == ["X", "Y"]
    assert list(cohesion) == ["Y", "Z"]
    assert gap["Y"].get_color() == cohesion["Y"].get_color()
    assert gap["Y"].get_marker() == cohesion["Y"].get_marker()
    assert len({line.get_color() for line in (gap["X"], gap["Y"], cohesion["Z"])}) == 3
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["X", "Y", "Z"]


def test_parity_leaves_the_panel_of_what_an_arm_does_not_learn_empty():
    figure = parity(parity_data(uneven()), LABELS)
    panels = np.array(figure.axes).reshape(2, 3)
    assert [[ax.axison for ax in row] for row in panels] == [
        [True, True, False],
        [False, True, True],
    ]
    assert all("nan" not in t.get_text() for ax in figure.axes for t in ax.texts)
    assert [ax.get_title() for ax in panels[0]] == ["X", "Y", "Z"]
    assert "E_\\mathrm{gap}" in panels[0, 0].get_ylabel()
    assert "E_\\mathrm{coh}" in panels[1, 1].get_ylabel()
    for row in panels:
        assert sum(bool(ax.get_xlabel()) for ax in row if ax.axison) == 1


# Scans -------------------------------------------------------------------------------------

SCANS = [
    {"name": "x__leak_0_1", "arm": "x", "key": "model.leak", "value": 0.1},
    {"name": "x__leak_0_3", "arm": "x", "key": "model.leak", "value": 0.3},
    {"name": "y__deposit_linear", "arm": "y", "key": "descriptor.deposit", "value": "linear"},
]


def test_of_many_redraws_parity_draws_the_first_and_tells_the_error_of_all(monkeypatch):
    monkeypatch.setattr(scores, "MOST_POINTS", 4)
    figure = parity(parity_data(predictions({"x": [0.1, 0.1, 0.7]})), {"x": "X"})
    drawn = sum(len(c.get_offsets()) for c in figure.axes[0].collections)
    assert drawn == 4  # two redraws of two structures
    assert figure.axes[0].texts[0].get_text() == "MAE 0.3"


def scan_predictions(pose_std: float = np.nan) -> pd.DataFrame:
    errors = {"x": [9.0, 9.0], "x__leak_0_1": [0.1, 0.3], "x__leak_0_3": [0.5, 0.5]}
    errors["y__deposit_linear"] = [0.7, 0.9]
    both = [predictions(errors, size) for size in (10, 100)]
    both[0]["y_pred"] += 50
    return pd.concat(both).assign(pose_std=pose_std)


def test_a_scan_holds_the_scores_of_its_arms_at_the_largest_size():
    data = scan_data(scan_predictions(), SCANS)
    assert data["arm"].tolist() == ["x", "x", "y"]
    assert data["key"].tolist() == ["model.leak", "model.leak", "descriptor.deposit"]
    assert data["value"].tolist() == ["0.1", "0.3", "linear"]
    np.testing.assert_allclose(data["mae_mean"], [0.2, 0.5, 0.8])
    np.testing.assert_allclose(data["mae_std"], [np.std([0.1, 0.3], ddof=1), 0, data["mae_std"][0]])
    np.testing.assert_allclose(data["deviation"], 1)  # of 1 eV and 3 eV
    assert data["pose_std"].isna().all()
    spread = scan_predictions(pose_std=0.25)
    spread.loc[spread["seed"] == 1, "pose_std"] = 0.35
    np.testing.assert_allclose(scan_data(spread, SCANS)["pose_std"], 0.3)


def test_an_arm_stands_for_the_values_that_it_has_in_their_place():
    own = {"name": "x", "arm": "x", "key": "model.leak", "value": 0.2}
    elsewhere = {"name": "x", "arm": "x", "key": "model.depth", "value": 3}
    points = [SCANS[0], own, SCANS[1], elsewhere]
    data = scan_data(scan_predictions(), points)
    assert data["value"].tolist() == ["0.1", "0.2", "0.3", "3"]
    assert set(data["arm"]) == {"x"}
    np.testing.assert_allclose(data["mae_mean"], [0.2, 9.0, 0.5, 9.0])


def test_a_scan_has_a_panel_for_each_setting_and_a_line_for_each_target():
    table = scan_predictions(pose_std=0.25)
    other = table[table["arm"] != "y__deposit_linear"].assign(target="cohesive_energy_ev_per_atom")
    data = scan_data(pd.concat([table, other]), SCANS)
    data.loc[data["arm"] == "y", ["mae_mean", "mae_std"]] = 30.0
    data["deviation"] = 2.0
    figure = scan(data, {"x": "X", "y": "Y"})
    errors, poses = np.array(figure.axes).reshape(2, 2)
    assert [ax.get_title() for ax in errors] == ["X", "Y"]
    assert [ax.get_xlabel() for ax in errors] == ["leak", "deposit"]
    assert [t.get_text() for t in errors[0].get_xticklabels()] == ["0.1", "0.3"]
    np.testing.assert_allclose(heights(lines(errors[0])["band gap"]), [0.1, 0.25])
    np.testing.assert_allclose(heights(lines(errors[0])["cohesive energy"]), [0.1, 0.25])
    assert list(lines(errors[1])) == ["band gap"]
    np.testing.assert_allclose(heights(lines(poses[0])["band gap"]), 0.125)
    assert poses[0].get_ylabel() == "pose spread / deviation"
    # One axis for the line of panels, and nothing lies outside it.
    for row, top in ((errors, 30.0), (poses, 0.125)):
        for ax in row:
            assert ax.get_ylim()[0] == 0
            assert ax.get_ylim()[1] > top
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["band gap", "cohesive energy"]


def test_many_settings_take_several_lines_of_panels():
    keys = [f"model.k{i}" for i in range(6)]
    data = pd.DataFrame(
        [("x", key, v, "band_gap_ev", "test", 0.5, np.nan, 0.1) for key in keys for v in "12"],
        columns=["arm", "key", "value", "target", "part", "mae_mean", "mae_std", "pose_std"],
    ).assign(deviation=1.0)
    figure = scan(data, {"x": "X"})
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(figure.axes) == len(shown) == 12
    assert [ax.get_xlabel() for ax in shown] == [f"k{i}" for i in (0, 1, 2) * 2 + (3, 4, 5) * 2]


class _Turns:
    """Answers that change with the pose by plus and minus a width."""

    def __init__(self, width: float, knows_poses: bool = True) -> None:
        self.width = width
        if knows_poses:
            self.predict_poses = self._poses

    def predict(self, inputs: VectorSet) -> np.ndarray:
        return np.tile(inputs.values[None], (2, 1, 1))

    def _poses(self, inputs: VectorSet, n: int) -> np.ndarray:
        signs = np.resize([1.0, -1.0], n)
        return self.predict(inputs)[:, :, None] + self.width * signs[None, None, :, None]


@pytest.mark.parametrize(
    ("first", "second", "spread"),
    [(True, True, 3.0), (True, False, 1.0), (False, True, 2.0), (False, False, 0.0)],
)
def test_the_spread_over_poses_of_a_stack_is_that_of_both_its_models(first, second, spread):
    ids = tuple("abcd")
    x = VectorSet(ids, np.arange(4.0)[:, None])
    stack = FittedStack(_Turns(1.0, first), _Turns(2.0, second))
    splits = pd.DataFrame(
        {"redraw": 0, "part": ["test"] * 2 + ["train"] * 2, "order": [0, 1, 0, 1],
         "material_id": ids}
    )  # fmt: skip
    table = learning_curve(
        lambda *_: stack,
        paired(x, x),
        pd.DataFrame({"t": np.zeros(4)}, index=list(ids)),
        splits,
        LearningCurveSpec(train_sizes=(2,), test_size=2, redraws=1, seeds=2, spread_poses=4),
        redraws=[0],
    )
    np.testing.assert_allclose(table["pose_std"], spread)
    np.testing.assert_allclose(table["y_pred"], [0, 2, 0, 2])


# The report --------------------------------------------------------------------------------


def rendered(title: str, table: pd.DataFrame, label: str = "R3DVS") -> str:
    raw = yaml.safe_load((ROOT / "config/test/r3dvs.yaml").read_text())
    raw["studies"]["rotations"]["arms"]["voxels"]["label"] = label
    shares = [("rotations", "voxels", n, i, v) for n, i, v in ((1, 0, 0.5), (2, 0, 0.6), (2, 1, 1))]
    study = report.StudyResults(
        report.FigureSet("rotations", {}, {}),
        pd.DataFrame(shares, columns=tables.ACCURACIES.names),
        tables.empty(tables.CLAIMS),
        {title: table},
    )
    template = (ROOT / "workflow/report/report.html.j2").read_text()
    results = report.ReportResults([study], [], [])
    return report.render(template, results, load(raw).model_dump(mode="json"))


def test_the_report_shows_accuracies_and_tables():
    layers = pd.DataFrame(
        {"layer_name": ["conv", "pool"], "share": [1 / 3, np.nan], "n": [5, 7], "note": ["", None]}
    )
    html = rendered("Layers", layers)
    assert "Errors at the largest training size" not in html
    rows = html.split("Originals recognised</h3>")[1].split("</table>")[0]
    cells = [r.split("<td")[1:] for r in rows.split("<tr>")[2:]]
    texts = [[c.split(">", 1)[1].split("<")[0] for c in row] for row in cells]
    assert texts == [["R3DVS", "1", "0.5", "–", "1"], ["R3DVS", "2", "0.8", "0.283", "2"]]
    assert "Layers (2 rows)" in html
    assert "<th>layer name</th>" in html
    assert "<td>conv</td><td>0.3333</td><td>5</td><td></td>" in html
    assert "<td>pool</td><td>–</td><td>7</td><td>–</td>" in html


def test_long_tables_are_folded():
    assert "<details open>" in rendered("Few", pd.DataFrame({"a": range(29)}))
    assert "<details open>" not in rendered("Many", pd.DataFrame({"a": range(30)}))


def test_titles_columns_and_cells_of_tables_are_escaped():
    evil = "<script>alert(1)</script>"
    html = rendered(evil, pd.DataFrame({evil: [evil]}), label=evil)
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 4
