"""Structures of more atoms than any that is trained on: their splits, predictions and scores."""

import numpy as np
import pandas as pd
import pytest
from tests.unit.test_evaluation import claim, predictions

from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import DataError
from rhoflow.evaluation import metrics
from rhoflow.evaluation.claims import judge
from rhoflow.evaluation.protocol import LearningCurveSpec, learning_curve
from rhoflow.evaluation.splits import draw
from rhoflow.figures.scores import learning_curves_data, parity_data, scan, scan_data

IDS = [f"m{i:02d}" for i in range(20)]
SIZES = {name: 3 + i // 2 for i, name in enumerate(IDS)}  # 3 to 12 atoms, 12 of them up to 8
SPEC = LearningCurveSpec(
    train_sizes=(3, 6), test_size=4, redraws=5, seeds=2, seed=7, train_max_atoms=8
)
LARGER = {name for name, n in SIZES.items() if n > 8}


def parts(splits: pd.DataFrame, redraw: int) -> dict[str, list[str]]:
    rows = splits[splits["redraw"] == redraw].sort_values("order")
    return {str(p): ids.tolist() for p, ids in rows.groupby("part")["material_id"]}


def test_larger_structures_are_tested_and_never_trained_on():
    splits = draw(IDS, SPEC, study="s", sizes=SIZES)
    for redraw in range(5):
        sets = parts(splits, redraw)
        assert {p: len(ids) for p, ids in sets.items()} == {"test": 4, "train": 6, "larger": 8}
        assert set(sets["larger"]) == LARGER
        assert not (set(sets["test"]) | set(sets["train"])) & LARGER
        assert not set(sets["test"]) & set(sets["train"])
    pd.testing.assert_frame_equal(splits, draw(IDS[::-1], SPEC, study="s", sizes=SIZES))


def test_some_larger_structures_are_drawn_anew_in_every_redraw():
    all_of_them = draw(IDS, SPEC, study="s", sizes=SIZES)
    some = draw(IDS, SPEC.model_copy(update={"larger_size": 3}), study="s", sizes=SIZES)
    drawn = [parts(some, redraw) for redraw in range(5)]
    assert all(len(d["larger"]) == 3 and set(d["larger"]) < LARGER for d in drawn)
    assert len({tuple(d["larger"]) for d in drawn}) > 1
    for redraw, sets in enumerate(drawn):
        whole = parts(all_of_them, redraw)
        assert (sets["test"], sets["train"]) == (whole["test"], whole["train"])


def test_small_structures_are_split_as_if_there_were_no_others():
    small = [n for n in IDS if n not in LARGER]
    alone = draw(small, SPEC.model_copy(update={"train_max_atoms": None}), study="s")
    both = draw(IDS, SPEC, study="s", sizes=SIZES)
    pd.testing.assert_frame_equal(alone, both[both["part"] != "larger"].reset_index(drop=True))


def test_a_group_that_is_trained_on_is_not_tested_among_the_larger():
    formula = {name: "ABCD"[i % 4] for i, name in enumerate(IDS)}
    spec = SPEC.model_copy(update={"train_sizes": (3,), "test_size": 3})
    splits = draw(IDS, spec, study="s", sizes=SIZES, groups=formula)
    for redraw in range(5):
        sets = parts(splits, redraw)
        trained = {formula[n] for n in sets["train"]}
        assert set(sets["larger"]) == {n for n in LARGER if formula[n] not in trained}


@pytest.mark.parametrize(
    ("settings", "sizes", "message"),
    [
        ({"train_max_atoms": 12}, SIZES, r"none of the 20 structures .* \(at most 12\)"),
        ({"train_max_atoms": 6}, SIZES, r"8 structures .* and at most 6 atoms, .* need 10"),
        ({}, None, "needs the number of atoms"),
    ],
)
def test_splits_that_cannot_be_made_say_why(settings, sizes, message):
    with pytest.raises(DataError, match=message):
        draw(IDS, SPEC.model_copy(update=settings), study="s", sizes=sizes)


def test_a_number_of_larger_structures_needs_a_boundary():
    with pytest.raises(ValueError, match="give train_max_atoms too"):
        LearningCurveSpec(larger_size=3)


class _Mean:
    """A model that answers with the mean of what it was trained on."""

    def __init__(self, inputs, y, seeds):
        assert not set(inputs.ids) & LARGER
        self.mean, self.seeds = y.mean(axis=0), seeds

    def predict(self, inputs):
        return np.tile(self.mean, (len(self.seeds), len(inputs), 1))


def test_the_protocol_predicts_both_sets_with_the_same_networks():
    y = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20.0) ** 2}, index=IDS)
    inputs = VectorSet(tuple(IDS), np.zeros((20, 1)))
    splits = draw(IDS, SPEC, study="s", sizes=SIZES)
    table = learning_curve(_Mean, inputs, y, splits, SPEC, redraws=[1, 2])
    # 2 redraws, 2 sizes, 2 seeds and 2 targets of every structure.
    assert table["part"].value_counts().to_dict() == {"test": 16 * 4, "larger": 16 * 8}
    assert set(table[table["part"] == "larger"]["material_id"]) == LARGER
    for (redraw, size, target), rows in table.groupby(["redraw", "train_size", "target"]):
        ids = parts(splits, redraw)["train"][:size]
        np.testing.assert_allclose(rows["y_pred"], y.loc[ids, target].mean())
        assert (rows["y_true"] == rows["material_id"].map(y[target])).all()


def with_larger(inside: dict[str, list[float]], beyond: dict[str, list[float]]) -> pd.DataFrame:
    return pd.concat([predictions(inside), predictions(beyond).assign(part="larger")])


def test_scores_and_figures_keep_the_two_sets_apart():
    table = with_larger({"x": [0.1, 0.3]}, {"x": [2.0, 4.0]})
    scores = metrics.scores(table).set_index("part")
    assert scores["mae_mean"].to_dict() == pytest.approx({"test": 0.2, "larger": 3.0})
    assert scores["n_test"].to_dict() == {"test": 4, "larger": 4}
    assert learning_curves_data(table)["mae_mean"].tolist() == pytest.approx([0.2])
    parity = parity_data(table)
    assert np.abs(parity["y_pred"] - parity["y_true"]).max() == pytest.approx(0.3)
    data = scan_data(table, [{"name": "x", "arm": "x", "key": "model.k", "value": 1}])
    assert data.set_index("part")["mae_mean"].to_dict() == pytest.approx({"test": 0.2, "larger": 3})
    assert data["deviation"].tolist() == [1, 1]  # of the structures of the sizes trained on
    first, second = scan(data, {"x": "X"}).axes
    assert first.lines[0].get_ydata().tolist() == pytest.approx([0.2])
    assert second.lines[0].get_ydata().tolist() == pytest.approx([3])
    assert second.get_ylabel() == "larger: MAE / deviation"


def test_claims_say_which_set_they_are_about():
    table = with_larger(
        {"x": [0.1, 0.11, 0.12], "y": [0.5, 0.52, 0.49]},
        {"x": [2.5, 2.52, 2.49], "y": [2.1, 2.11, 2.12]},
    )
    inside, beyond = (claim(part=part) for part in ("test", "larger"))
    judged = judge([inside, beyond], table, study="s")
    assert judged["verdict"].tolist() == ["holds", "does not hold"]
    assert judged["measured"].tolist() == ["MAE x 0.11, y 0.503", "MAE x 2.5, y 2.11"]
    assert "structures of more atoms" in judged["scale"][1]
    # The number of larger structures, two here, is not in the standard error.
    more = pd.concat([table, table[table["part"] == "larger"].assign(material_id="c")])
    pd.testing.assert_frame_equal(judge([inside], more, study="s"), judged[:1])
    assert judge([beyond], more, study="s")["why"][0] == judged["why"][1]
    (row,) = judge([beyond], predictions({"x": [0.1] * 3, "y": [0.5] * 3}), study="s").to_dict(
        "records"
    )
    assert (row["verdict"], row["measured"]) == ("not testable", "")
    assert row["why"] == "this run tested no larger structures"


def test_claims_about_a_number_say_which_set_they_are_about():
    """R² is 1 - mean e², as each set has Σ(y - ȳ)² = 2 and two structures in a redraw."""
    table = with_larger({"x": [0.1, 0.11, 0.12]}, {"x": [0.5, 0.52, 0.48]})
    stated = [
        claim(than=(), part=part, **bound)
        for bound in ({"at_most": 0.3}, {"r2_at_least": 0.9})
        for part in ("test", "larger")
    ]
    judged = judge(stated, table, study="s")
    assert judged["verdict"].tolist() == ["holds", "does not hold"] * 2
    assert judged["measured"].tolist() == [
        "MAE x 0.11",
        "MAE x 0.5",
        "R² x 0.988, MAE x 0.11",
        "R² x 0.75, MAE x 0.5",
    ]
    assert judged["scale"].str.contains("structures of more atoms").tolist() == [False, True] * 2
    # 0.02 · √(1/3 + 2/100) = 0.0119: the share is that of the structures like those trained on.
    assert judged["why"][1] == "the difference from 0.3 eV is -16.8 standard errors"
    inside = judge(stated, predictions({"x": [0.1] * 3}), study="s")
    assert inside["verdict"].tolist() == ["holds", "not testable"] * 2
    assert set(inside["why"][[1, 3]]) == {"this run tested no larger structures"}


def test_the_distance_of_densities():
    reference = np.array([4.0, 0.0, 1.0])
    assert metrics.density_distance(reference, reference) == 0
    assert metrics.density_distance(np.array([3.0, 0.5, 1.0]), reference) == pytest.approx(30)
    assert metrics.density_distance(np.zeros(3), reference) == pytest.approx(100)
    with pytest.raises(DataError, match="zero at all points"):
        metrics.density_distance(reference, np.zeros(3))
    with pytest.raises(DataError, match=r"\(3,\) and \(2,\)"):
        metrics.density_distance(reference, np.ones(2))
