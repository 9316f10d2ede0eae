"""Splits, the learning-curve protocol, metrics and claims on cases with known answers."""

import numpy as np
import pandas as pd
import pytest

from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import DataError
from rhoflow.evaluation import metrics
from rhoflow.evaluation.claims import ClaimSpec, judge
from rhoflow.evaluation.protocol import (
    LearningCurveSpec,
    learning_curve,
    network_seed,
    parse_range,
)
from rhoflow.evaluation.splits import draw

SPEC = LearningCurveSpec(
    train_sizes=(3, 6), test_size=4, redraws=5, redraws_per_job=2, seeds=2, seed=7
)
IDS = [f"m{i:02d}" for i in range(12)]


def test_splits_are_disjoint_nested_and_reproducible():
    splits = draw(IDS, SPEC, study="s")
    for _, rows in splits.groupby("redraw"):
        test = rows[rows["part"] == "test"]["material_id"]
        train = rows[rows["part"] == "train"].sort_values("order")["material_id"]
        assert len(test) == 4
        assert len(train) == 6
        assert set(test).isdisjoint(train)
        assert set(test) | set(train) <= set(IDS)
    pd.testing.assert_frame_equal(splits, draw(IDS[::-1], SPEC, study="s"))
    tests = {
        tuple(sorted(r["material_id"])) for _, r in splits[splits.part == "test"].groupby("redraw")
    }
    assert len(tests) == 5


def test_too_few_structures_say_how_many_are_needed():
    with pytest.raises(DataError, match=r"study 's': 9 structures .* need 10"):
        draw(IDS[:9], SPEC, study="s")


def test_polymorphs_are_kept_together():
    """12 structures of 4 formulas: no formula stands on both sides, sets stay nested and full."""
    formula = {name: "ABCD"[i % 4] for i, name in enumerate(IDS)}
    spec = SPEC.model_copy(update={"test_size": 4})
    splits = draw(IDS, spec, study="s", groups=formula)
    for _, rows in splits.groupby("redraw"):
        sides = [
            set(rows[rows["part"] == part]["material_id"].map(formula))
            for part in ("test", "train")
        ]
        assert sides[0].isdisjoint(sides[1])
        assert (rows["part"] == "test").sum() == 4
    with pytest.raises(DataError, match="of which a split without divided groups leaves"):
        draw(IDS, spec.model_copy(update={"train_sizes": (8,)}), study="s", groups=formula)


def test_the_spread_over_poses_is_noted_where_it_is_asked_for():
    class Turning(_Memory):
        def predict_poses(self, inputs, n):
            return self.predict(inputs)[:, :, None] + np.array([-1.0, 1.0])[None, None, :, None]

    y = pd.DataFrame({"a": np.arange(12.0), "b": np.arange(12.0)}, index=IDS)
    spec = SPEC.model_copy(update={"spread_poses": 2})
    inputs, splits = VectorSet(tuple(IDS), np.zeros((12, 1))), draw(IDS, SPEC, study="s")
    for model, spread in ((Turning, 1.0), (_Memory, 0.0)):
        table = learning_curve(model, inputs, y, splits, spec, redraws=[0])
        assert (table["pose_std"] == spread).all()
    assert learning_curve(_Memory, inputs, y, splits, SPEC, redraws=[0])["pose_std"].isna().all()


def test_redraws_are_grouped_into_jobs():
    assert SPEC.jobs() == ["0-1", "2-3", "4-4"]
    assert [list(parse_range(j)) for j in SPEC.jobs()] == [[0, 1], [2, 3], [4]]


class _Memory:
    """A model that answers with the number of its seed, and 100 more for the second target."""

    def __init__(self, inputs, y, seeds):
        self.seen, self.seeds = inputs.ids, seeds
        assert y.shape == (len(inputs), 2)

    def predict(self, inputs):
        assert not set(self.seen) & set(inputs.ids)
        seed, _, target = np.indices((len(self.seeds), len(inputs), 2))
        return seed + 100.0 * target


def test_the_protocol_trains_on_nested_sets_and_never_on_test_structures():
    inputs = VectorSet(tuple(reversed(IDS)), np.arange(12.0)[:, None])
    y = pd.DataFrame({"a": np.arange(12.0), "b": np.arange(12.0) ** 2}, index=IDS)
    trained = []

    def fit(x, targets, seeds):
        trained.append((x.ids, seeds))
        np.testing.assert_array_equal(targets, y.loc[list(x.ids)])
        return _Memory(x, targets, seeds)

    splits = draw(IDS, SPEC, study="s")
    table = learning_curve(fit, inputs, y, splits, SPEC, redraws=range(2))
    assert len(table) == 2 * 2 * 2 * 4 * 2
    assert {len(ids) for ids, _ in trained} == {3, 6}
    assert set(trained[0][0]) < set(trained[1][0])
    assert len({seed for _, seeds in trained for seed in seeds}) == 4
    for target, rows in table.groupby("target"):
        assert (rows["y_true"] == rows["material_id"].map(y[target])).all()
    assert (table["y_pred"] == table["seed"] + table["target"].map({"a": 0, "b": 100})).all()


def predictions(errors: dict[str, list[float]], train_size: int = 100) -> pd.DataFrame:
    """Two test structures a redraw, wrong by plus and minus the given error."""
    rows = [
        ("s", arm, "band_gap_ev", train_size, redraw, seed, name, true, true + sign * error)
        for arm, values in errors.items()
        for redraw, error in enumerate(values)
        for seed in (0, 1)
        for name, true, sign in (("a", 1.0, 1), ("b", 3.0, -1))
    ]
    columns = [
        "study",
        "arm",
        "target",
        "train_size",
        "redraw",
        "seed",
        "material_id",
        "y_true",
        "y_pred",
    ]
    return pd.DataFrame(rows, columns=columns).assign(part="test", pose_std=np.nan)


def test_scores_of_known_errors():
    table = metrics.scores(predictions({"x": [0.1, 0.3]}))
    row = table.iloc[0]
    assert row["mae_mean"] == pytest.approx(0.2)
    assert row["mae_std"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    # Σ(y - ŷ)² = 2·0.01 + 2·0.09, Σ(y - ȳ)² = 4.
    assert row["r2"] == pytest.approx(1 - 0.2 / 4)
    assert (row["n_redraws"], row["n_test"]) == (2, 4)


def test_seeds_are_averaged_before_the_error():
    table = predictions({"x": [0.5]})
    table.loc[table["seed"] == 1, "y_pred"] = 2 * table["y_true"] - table["y_pred"]
    assert metrics.scores(table)["mae_mean"].iloc[0] == pytest.approx(0)


def claim(**settings) -> ClaimSpec:
    base = {"claim": "c", "paper": "p", "target": "band_gap_ev", "arm": "x", "than": ("y",)}
    return ClaimSpec(**{**base, **settings})


@pytest.mark.parametrize(
    ("x", "y", "verdict"),
    [
        ([0.1, 0.11, 0.12], [0.5, 0.52, 0.49], "holds"),
        ([0.5, 0.52, 0.49], [0.1, 0.11, 0.12], "does not hold"),
        ([0.1, 0.5, 0.3], [0.3, 0.2, 0.45], "undecided"),
        ([0.1, 0.1], [0.5, 0.6], "undecided"),
        ([0.5] * 3, [0.1] * 3, "does not hold"),
        ([0.1] * 3, [0.5] * 3, "holds"),
        ([0.3] * 3, [0.3] * 3, "undecided"),
    ],
)
def test_verdicts(x, y, verdict):
    table = predictions({"x": x, "y": y})
    assert judge([claim()], table, study="s")["verdict"].tolist() == [verdict]
    mirrored = claim(relation="higher", arm="y", than=("x",))
    assert judge([mirrored], table, study="s")["verdict"].tolist() == [verdict]


def test_the_standard_error_counts_shared_training_structures():
    """s² (1/n + n_test/n_train) with n = 3 redraws, 2 test and 100 training structures."""
    x, y = [0.1, 0.2, 0.3], [0.4, 0.4, 0.7]
    difference = np.subtract(y, x)
    error = difference.std(ddof=1) * np.sqrt(1 / 3 + 2 / 100)
    why = judge([claim()], predictions({"x": x, "y": y}), study="s")["why"][0]
    assert f"{difference.mean() / error:.1f} standard errors" in why


def test_a_claim_about_more_data_is_not_testable():
    table = judge([claim()], predictions({"x": [0.1] * 3, "y": [0.5] * 3}, 16), study="s")
    assert table["verdict"].tolist() == ["not testable"]
    assert "16 training structures" in table["why"].iloc[0]
    assert "x 0.1, y 0.5" in table["measured"].iloc[0]


@pytest.mark.parametrize(
    ("y", "verdict"),
    [
        ([0.51, 0.52, 0.50], "holds"),
        ([0.9, 0.92, 0.88], "does not hold"),
        ([0.3, 0.55, 0.8], "undecided"),
    ],
)
def test_equal_claims(y, verdict):
    table = predictions({"x": [0.50, 0.51, 0.49], "y": y})
    assert judge([claim(relation="equal")], table, study="s")["verdict"][0] == verdict


def test_a_claim_against_itself_is_refused():
    with pytest.raises(ValueError, match="compared with itself"):
        claim(than=("x",))


def judged_alone(errors: list[float], train_size: int = 100, **settings) -> tuple[str, str, str]:
    """Verdict, why and what was measured of a claim about arm x alone."""
    row = judge([claim(than=(), **settings)], predictions({"x": errors}, train_size), study="s")
    return tuple(row.loc[0, ["verdict", "why", "measured"]])


@pytest.mark.parametrize(
    ("x", "verdict", "why"),
    [
        # s = 0.01, and two test structures of 102: 0.01 · √(1/3 + 2/100) = 0.0059.
        ([0.10, 0.11, 0.12], "holds", "the difference from 0.3 eV is 32.0 standard errors"),
        (
            [0.40, 0.41, 0.42],
            "does not hold",
            "the difference from 0.3 eV is -18.5 standard errors",
        ),
        ([0.28, 0.29, 0.30], "undecided", "the difference from 0.3 eV is 1.7 standard errors"),
        ([0.30, 0.31, 0.32], "undecided", "the difference from 0.3 eV is -1.7 standard errors"),
        ([0.25] * 3, "holds", "the difference from 0.3 eV is the same in every draw"),
        ([0.35] * 3, "does not hold", "the difference from 0.3 eV is the same in every draw"),
        ([0.10, 0.11], "undecided", "2 redraws leave the spread unknown"),
        ([0.10, 0.11, np.nan], "undecided", "2 redraws leave the spread unknown"),
    ],
)
def test_an_error_is_clearly_below_a_number_or_above_it(x, verdict, why):
    measured = f"MAE x {np.nanmean(x):.3g}"
    assert judged_alone(x, at_most=0.3) == (verdict, why, measured)


# Σ(y - ȳ)² is 2 in a redraw and Σ(y - ŷ)² is 2 e² for an error e, so R² is 1 - mean e².
@pytest.mark.parametrize(
    ("x", "bound", "verdict", "difference", "measured"),
    [
        ([0.1, 0.3], 0.9, "holds", "0.05", "R² x 0.95, MAE x 0.2"),
        ([0.1, 0.3], 0.99, "does not hold", "-0.04", "R² x 0.95, MAE x 0.2"),
        ([0.0], 1.0, "holds", "0", "R² x 1, MAE x 0"),
    ],
)
def test_r2_is_judged_without_a_standard_error(x, bound, verdict, difference, measured):
    why = f"the difference is {difference}; R² of all redraws together has no standard error"
    assert judged_alone(x, r2_at_least=bound) == (verdict, why, measured)


def test_an_arm_that_gave_no_number_has_no_r2():
    verdict, why, _ = judged_alone([0.1, np.nan, 0.1], r2_at_least=0.5)
    assert (verdict, why) == ("undecided", "R² is not a number")


@pytest.mark.parametrize("bound", [{"at_most": 0.3}, {"r2_at_least": 0.5}])
def test_numbers_are_not_testable_with_little_data(bound):
    verdict, why, _ = judged_alone([0.1] * 3, 16, **bound)
    assert verdict == "not testable"
    assert why == "16 training structures; the claim is about 100 and more"
    assert judged_alone([0.1, 0.11, 0.1], 16, min_train_size=16, **bound)[0] == "holds"


def test_numbers_are_about_one_arm_at_the_largest_size():
    """The other arm and the smaller size are far above the bound."""
    table = pd.concat(
        [predictions({"x": [0.9] * 3}), predictions({"x": [0.1] * 3, "y": [9] * 3}, 200)]
    )
    rows = judge(
        [claim(than=(), at_most=0.3), claim(than=(), r2_at_least=0.9)],
        table,
        study="s",
        labels={"x": "QDF"},
    )
    assert rows["verdict"].tolist() == ["holds", "holds"]
    assert rows["measured"].tolist() == ["MAE QDF 0.1", "R² QDF 0.99, MAE QDF 0.1"]
    assert set(rows["scale"]) == {"200 training structures, 3 redraws"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"at_most": 0.3}, "than, at_most and r2_at_least; got than and at_most"),
        ({"than": (), "at_most": 0.3, "r2_at_least": 0.9}, "got at_most and r2_at_least"),
        ({"than": ()}, "give exactly one of than, at_most and r2_at_least; got none"),
        ({"than": (), "at_most": 0.0}, "greater than 0"),
        ({"than": (), "r2_at_least": 1.1}, "less than or equal to 1"),
        ({"than": (), "at_most": 0.3, "relation": "equal"}, "arms of `than`; at_most has none"),
        ({"than": (), "r2_at_least": 0.3, "relation": "higher"}, "`than`; r2_at_least has none"),
    ],
)
def test_a_claim_is_about_arms_or_one_number(settings, message):
    with pytest.raises(ValueError, match=message):
        claim(**settings)


@pytest.mark.parametrize("bound", [{"at_most": 0.3}, {"r2_at_least": -0.5}, {"than": ("y",)}])
def test_a_claim_comes_back_from_the_params_of_its_rule(bound):
    stated = claim(**{"than": (), **bound})
    assert ClaimSpec.model_validate(stated.model_dump(mode="json")) == stated


def test_scores_keep_the_arms_apart():
    table = predictions({"b": [0.1, 0.3], "a": [0.5, 0.5]})
    table = pd.concat([table, table.assign(train_size=50, y_pred=table["y_true"])])
    scores = metrics.scores(table).set_index(["arm", "train_size"])
    assert scores.loc[("b", 100), "r2"] == pytest.approx(1 - 0.2 / 4)
    assert scores.loc[("a", 100), "r2"] == pytest.approx(1 - 1.0 / 4)
    assert (scores.loc[(slice(None), 50), "r2"] == 1).all()
    assert (scores["n_test"] == 4).all()


def test_claims_are_judged_at_the_largest_size():
    table = pd.concat(
        [
            predictions({"x": [0.9, 0.91, 0.92], "y": [0.1, 0.12, 0.11]}, 100),
            predictions({"x": [0.1, 0.11, 0.12], "y": [0.5, 0.52, 0.49]}, 200),
        ]
    )
    verdict = judge([claim()], table, study="s").iloc[0]
    assert verdict["verdict"] == "holds"
    assert verdict["scale"].startswith("200 training structures, 3 redraws")


def test_a_claim_holds_only_against_all():
    table = predictions({"x": [0.1, 0.11, 0.12], "y": [0.5, 0.52, 0.49], "z": [0.1, 0.12, 0.11]})
    both = judge([claim(than=("y", "z"))], table, study="s")
    assert both["verdict"].tolist() == ["undecided"]


def test_the_seed_decides_splits_and_networks():
    other = SPEC.model_copy(update={"seed": 8})
    assert not draw(IDS, SPEC, study="s").equals(draw(IDS, other, study="s"))
    seeds = {network_seed(s, r, n) for s in (7, 8) for r in range(3) for n in range(3)}
    assert len(seeds) == 18


def test_a_training_set_is_the_front_of_the_order():
    splits = draw(IDS, SPEC, study="s")
    trained = []

    def fit(x, targets, seed):
        trained.append(x.ids)
        return _Memory(x, targets, seed)

    y = pd.DataFrame({"a": np.arange(12.0), "b": np.arange(12.0)}, index=IDS)
    learning_curve(
        fit,
        VectorSet(tuple(IDS), np.zeros((12, 1))),
        y,
        splits,
        SPEC,
        redraws=[3],
    )
    rows = splits[(splits["redraw"] == 3) & (splits["part"] == "train")].sort_values("order")
    assert trained == [tuple(rows["material_id"][:3]), tuple(rows["material_id"])]


def test_an_arm_without_numbers_wins_nothing():
    """Every prediction of x is missing; then four redraws of five."""
    values = {"x": [0.1, 0.11, 0.12, 0.1, 0.1], "y": [0.5, 0.52, 0.49, 0.5, 0.51]}
    for lost in (range(5), range(1, 5)):
        table = predictions(values)
        table.loc[(table["arm"] == "x") & table["redraw"].isin(list(lost)), "y_pred"] = np.nan
        row = judge([claim()], table, study="s").iloc[0]
        assert row["verdict"] == "undecided"
        assert row["why"].startswith(f"{5 - len(lost)} redraws leave the spread unknown")
