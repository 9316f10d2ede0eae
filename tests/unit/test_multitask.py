"""Arms that learn several targets: their trainings, what is refused, and claims about them."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.training_jobs import TARGETS as LEARNED
from tests.training_jobs import learning_job
from tests.unit.test_evaluation import predictions

from rhoflow import io, tables
from rhoflow.arms import ArmSpec
from rhoflow.config import WorkflowConfig, load
from rhoflow.errors import ConfigError
from rhoflow.evaluation.claims import ClaimSpec, judge
from rhoflow.jobs.training import run

ROOT = Path(__file__).parents[2]
COHESION, GAP, BULK = "cohesive_energy_ev_per_atom", "band_gap_ev", "bulk_modulus_gpa"
FERMI = "fermi_energy_ev"
GROUPS = {"elastic": [BULK], "energies": [COHESION, GAP]}


@pytest.fixture
def raw() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config" / "test" / "r3dvs.yaml").read_text())


def loaded(raw: dict[str, Any], arm: dict[str, Any], **study: Any) -> WorkflowConfig:
    """The study ``tasks`` with three targets, one arm of networks and a ridge regression."""
    changed = copy.deepcopy(raw)
    arms = {
        "x": {"descriptor": "soap", "model": "dense", **arm},
        "ridge": {"descriptor": "soap", "model": "ridge"},
    }
    own = {"targets": [BULK, COHESION, GAP], "arms": arms, "figures": ["parity"], "claims": []}
    changed["studies"]["tasks"] |= {**own, **study}
    return load(changed)


# Trainings ---------------------------------------------------------------------------------


def test_a_network_learns_a_group(raw):
    config = loaded(raw, {"learns": "groups", "groups": GROUPS})
    assert config.tasks("tasks", "x") == {"elastic": (BULK,), "energies": (COHESION, GAP)}
    some = {"learns": "groups", "groups": {"both": [GAP, BULK]}, "targets": [BULK, GAP]}
    assert loaded(raw, some).tasks("tasks", "x") == {"both": (GAP, BULK)}
    # Kernel ridge regression gives the same numbers either way.
    exact = {"model": "ridge", "learns": "groups", "groups": GROUPS}
    assert loaded(raw, exact).tasks("tasks", "x") == {"together": (BULK, COHESION, GAP)}


def test_a_target_beside_is_learned_along_but_not_judged(raw):
    config = loaded(raw, {"beside": [GAP]})
    assert config.tasks("tasks", "x") == {BULK: (BULK, GAP), COHESION: (COHESION, GAP)}
    assert config.studies["tasks"].arms["x"].judged((BULK, COHESION, GAP)) == (BULK, COHESION)
    # It need not be a target of the arm.
    config = loaded(raw, {"beside": [GAP], "targets": [BULK]})
    assert config.tasks("tasks", "x") == {BULK: (BULK, GAP)}


def test_each_added_task_becomes_an_arm(raw):
    arm = {"targets": [BULK, GAP], "label": "X", "vary": {"beside": [GAP, COHESION]}}
    config = loaded(raw, arm, figures=["added_tasks"])
    study = config.studies["tasks"]
    gap, cohesion = f"x__beside_{GAP}", f"x__beside_{COHESION}"
    assert list(study.arms) == ["x", "ridge", gap, cohesion]
    assert config.tasks("tasks", "x") == {BULK: (BULK,), GAP: (GAP,)}
    assert config.tasks("tasks", gap) == {BULK: (BULK, GAP)}
    assert config.tasks("tasks", cohesion) == {BULK: (BULK, COHESION), GAP: (GAP, COHESION)}
    assert study.arms[gap].label == "X, beside band gap"
    assert (study.arms[gap].descriptor, study.arms[gap].model) == ("soap", "dense")
    assert list(study.shown_arms()) == ["x", "ridge"]
    assert [(name, p.key, p.value) for name, p in study.scan_points()] == [
        (gap, "beside", GAP),
        (cohesion, "beside", COHESION),
    ]
    more = loaded(raw, {"beside": [GAP], "vary": {"beside": [COHESION]}})
    assert more.tasks("tasks", cohesion) == {BULK: (BULK, GAP, COHESION)}


ALL = {"all_three": [BULK, COHESION, GAP]}
BAD = [
    ({"learns": "groups"}, r"arms\.x: groups: stand beside `learns: groups`, which needs them"),
    ({"groups": GROUPS}, r"groups: stand beside `learns: groups`"),
    ({"learns": "groups", "groups": {"elastic": [BULK]}}, rf"{COHESION}, {GAP} stands in no group"),
    (
        {"learns": "groups", "groups": {**GROUPS, "gap": [GAP]}},
        rf"groups: '{GAP}' is named twice; name each target once",
    ),
    ({"learns": "groups", "groups": {"elastic": []}}, r"groups\.elastic: got \[\]"),
    ({"learns": "groups", "groups": {"together": ALL["all_three"]}}, r"'together' names a train"),
    ({"learns": "groups", "groups": {GAP: ALL["all_three"]}}, rf"'{GAP}' names a training"),
    ({"learns": "groups", "groups": {"A b": ALL["all_three"]}}, r"groups\.A b"),
    (
        {"learns": "groups", "groups": {"all_three": [BULK, COHESION, "band_gap"]}},
        r"x\.groups\.all_three: unknown name 'band_gap'; did you mean 'band_gap_ev'",
    ),
    (
        {"learns": "groups", "groups": ALL, "targets": [BULK, GAP]},
        rf"x\.groups\.all_three: the arm does not learn {COHESION}; take it out",
    ),
    ({"beside": ["band_gap"]}, r"x\.beside: unknown name 'band_gap'; did you mean 'band_gap_ev'"),
    ({"beside": [GAP, GAP]}, rf"beside: '{GAP}' is named twice"),
    ({"beside": [GAP], "learns": "together"}, r"beside: needs `learns: each`; got `learns: tog"),
    ({"vary": {"beside": [GAP]}, "learns": "together"}, r"beside: needs `learns: each`"),
    ({"beside": [GAP], "targets": [GAP]}, r"x\.beside: holds every target of the arm"),
    ({"vary": {"beside": [GAP]}, "targets": [GAP]}, rf"x__beside_{GAP}\.beside: holds every"),
    ({"beside": [GAP], "model": "ridge"}, r"x\.beside: its model learns each target by itself"),
    ({"vary": {"beside": [GAP]}, "model": "ridge"}, r"its model learns each target by itself"),
    ({"vary": {"beside": ["band_gap"]}}, r"vary\.beside: expected another target; did you mean"),
    ({"vary": {"beside": [3]}}, r"vary\.beside: expected another target; valid are: band_gap_ev"),
    ({"vary": {"beside": [FERMI]}}, r"vary\.beside: expected another target; valid"),
    ({"beside": [GAP], "vary": {"beside": [GAP]}}, r"vary\.beside: expected another target"),
    ({"vary": {"beside": [GAP, GAP]}}, rf"'{GAP}' makes a second arm 'x__beside_{GAP}'"),
    (
        {"learns": "groups", "groups": GROUPS, "keep": True},
        r"x\.keep: expected .* that learns all its targets together",
    ),
]


@pytest.mark.parametrize(("arm", "message"), BAD, ids=[m for _, m in BAD])
def test_each_mistake_has_its_message(raw, arm, message):
    with pytest.raises(ConfigError, match=message) as caught:
        loaded(raw, arm)
    assert "studies.tasks.arms.x" in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (
            {"figures": ["added_tasks"]},
            r"added_tasks needs an arm that varies what it learns beside",
        ),
        ({"figures": ["scan"]}, r"a scan shows what arms `vary`, but none does"),
        (
            {"figures": ["task_similarity"], "targets": [BULK]},
            r"task_similarity compares targets; give two at least",
        ),
    ],
)
def test_figures_need_what_they_show(raw, study, message):
    with pytest.raises(ConfigError, match=message):
        loaded(raw, {}, **study)
    if study["figures"] == ["scan"]:  # what is learned beside is no setting
        with pytest.raises(ConfigError, match=message):
            loaded(raw, {"vary": {"beside": [GAP]}}, **study)


def test_a_claim_needs_targets_that_its_arms_are_judged_by(raw):
    claim = {"claim": "c", "paper": "p", "arm": "x", "than": ["ridge"]}
    for targets, message in (
        ({"target": GAP}, rf"claims\.0: arm 'x' does not learn {GAP}"),
        ({"targets": [BULK, GAP]}, rf"claims\.0: arm 'x' does not learn {GAP}"),
        ({"targets": [BULK, "band_gap"]}, r"claims\.0\.targets: unknown name 'band_gap'; did you"),
        ({}, r"claims\.0: give target or targets, and not both"),
    ):
        with pytest.raises(ConfigError, match=message):
            loaded(raw, {"beside": [GAP]}, claims=[{**claim, **targets}])
    fine = loaded(raw, {"beside": [GAP]}, claims=[{**claim, "targets": [BULK, COHESION]}])
    assert fine.studies["tasks"].claims[0].about == (BULK, COHESION)


def test_a_job_predicts_what_its_arm_is_judged_by(tmp_path):
    """The network sees both targets, its predictions hold one; alone it would learn others."""
    both = learning_job(tmp_path, devices=1, epochs=5)
    run(both)
    whole = io.read_table(both.output["predictions"], tables.PREDICTIONS)
    output = {"predictions": str(tmp_path / "beside.parquet")}
    beside = both.model_copy(
        update={"params": {**both.params, "beside": LEARNED[1:]}, "output": output}
    )
    run(beside)
    found = io.read_table(output["predictions"], tables.PREDICTIONS)
    judged = whole[whole["target"] == LEARNED[0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, judged, check_exact=True)
    alone = both.model_copy(
        update={"params": {**both.params, "targets": LEARNED[:1]}, "output": output}
    )
    run(alone)
    other = io.read_table(output["predictions"], tables.PREDICTIONS)
    assert not np.allclose(other["y_pred"], found["y_pred"])


def test_networks_of_an_arm_answer_each_judged_target_once():
    targets = (BULK, COHESION, GAP)
    for arm in (
        {},
        {"learns": "together"},
        {"learns": "groups", "groups": GROUPS},
        {"beside": (GAP,)},
    ):
        spec = ArmSpec(descriptor="soap", model="dense", **arm)
        answered = [
            t for learned in spec.trainings(targets).values() for t in learned
            if t not in spec.beside
        ]  # fmt: skip
        assert sorted(answered) == sorted(spec.judged(targets))


# Claims about several targets --------------------------------------------------------------


def several(errors: dict[str, dict[str, list[float]]], train_size: int = 100) -> pd.DataFrame:
    """Predictions whose errors are given by target, arm and redraw."""
    parts = [predictions(by_arm, train_size).assign(target=t) for t, by_arm in errors.items()]
    return pd.concat(parts, ignore_index=True)


def claim(**settings: Any) -> ClaimSpec:
    base = {"claim": "c", "paper": "p", "targets": (GAP, BULK), "arm": "x", "than": ("y",)}
    return ClaimSpec(**{**base, **settings})


# x errs half as much as y of the gap, and twice as much, a quarter and the same of the modulus.
Y = [0.4, 0.5, 0.6]
HALF = [0.2, 0.25, 0.3]


def judged(modulus: list[float], **settings: Any) -> pd.Series:
    table = several({GAP: {"x": HALF, "y": Y}, BULK: {"x": modulus, "y": Y}})
    return judge([claim(**settings)], table, study="s", labels={"x": "X"}).iloc[0]


@pytest.mark.parametrize(
    ("modulus", "verdict", "change"),
    [
        ([0.1, 0.125, 0.15], "holds", "-64.6"),  # √(1/2 · 1/4) = 0.354
        ([0.8, 1.0, 1.2], "undecided", "+0.0"),  # √(1/2 · 2) = 1
        ([3.2, 4.0, 4.8], "does not hold", "+100.0"),  # √(1/2 · 8) = 2
    ],
)
def test_several_targets_are_judged_by_their_mean_logarithm(modulus, verdict, change):
    row = judged(modulus)
    assert row["verdict"] == verdict
    assert f"MAE of X {change} % against y" in row["measured"]
    assert row["target"] == f"{GAP}, {BULK}"
    mirrored = judge(
        [claim(relation="higher", arm="y", than=("x",))],
        several({GAP: {"x": HALF, "y": Y}, BULK: {"x": modulus, "y": Y}}),
        study="s",
    ).iloc[0]
    assert mirrored["verdict"] == verdict


def test_the_standard_error_of_several_targets_is_that_of_the_redraws():
    """Logarithms of the ratios by hand; 2 test and 100 training structures."""
    modulus = [0.5, 0.45, 0.5]
    by_redraw = np.mean([np.log(np.divide(Y, HALF)), np.log(np.divide(Y, modulus))], axis=0)
    error = by_redraw.std(ddof=1) * np.sqrt(1 / 3 + 2 / 100)
    assert f"{by_redraw.mean() / error:.1f} standard errors" in judged(modulus)["why"]


def test_what_was_measured_of_several_targets():
    """R² is 1 - mean e² of each target and arm."""
    text = judged([0.2, 0.25, 0.3])["measured"]
    own, other = 1 - np.mean(np.square(HALF)), 1 - np.mean(np.square(Y))
    assert text == f"mean R² X {own:.3g}, y {other:.3g}; MAE of X -50.0 % against y"


def test_the_largest_r2_of_several_targets_counts():
    best = 1 - np.mean(np.square(HALF))
    for bound, verdict in ((0.93, "holds"), (0.94, "does not hold")):
        row = judged([2.0, 2.0, 2.0], than=(), r2_at_least=bound)
        assert row["verdict"] == verdict
        assert row["measured"] == (
            f"largest R² X {best:.3g} (band gap), mean R² {(best - 3) / 2:.3g}"
        )


@pytest.mark.parametrize(
    ("modulus", "verdict"),
    [([0.9, 1.1, 1.3], "holds"), ([0.3, 0.36, 0.44], "does not hold"), ([0.4, 1, 2], "undecided")],
)
def test_several_targets_are_equal_within_a_share(modulus, verdict):
    assert judged(modulus, relation="equal")["verdict"] == verdict


def test_redraws_without_an_error_or_without_a_number_tell_nothing():
    for missing in (0.0, np.nan, np.inf):
        row = judged([0.4, missing, 0.6])
        assert (row["verdict"], row["why"]) == (
            "undecided",
            "2 redraws leave the spread unknown",
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": GAP}, "give target or targets, and not both"),
        ({"targets": None}, "give target or targets, and not both"),
        ({"targets": (GAP,)}, "at least 2 items"),
        ({"targets": (GAP, GAP)}, "a target is named twice"),
        ({"than": (), "at_most": 0.3}, "errors of several targets share no unit"),
    ],
)
def test_claims_about_several_targets_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        claim(**settings)


def test_a_claim_comes_back_from_the_params_of_its_rule():
    """Rules leave out the key that is not given, so that older params stay as they were."""
    for stated, unused in ((claim(), "target"), (claim(target=GAP, targets=None), "targets")):
        plain = stated.model_dump(mode="json", exclude={unused})
        assert unused not in plain
        assert ClaimSpec.model_validate(plain) == stated
