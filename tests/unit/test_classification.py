"""The classification test: draws, answers, claims, the network that learns, and its figure."""

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from rhoflow.descriptors.base import VectorSet
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.soap import SOAPSpec
from rhoflow.errors import ConfigError, DataError
from rhoflow.evaluation.claims import AccuracyClaimSpec, judge_accuracy
from rhoflow.evaluation.classification import (
    Answers,
    ClassificationSpec,
    accuracies,
    classification,
    draw_classes,
)
from rhoflow.figures.classification import draw, project
from rhoflow.models import registry
from rhoflow.models.base import Start
from rhoflow.models.cnn3d import classify as cnn3d_classify
from rhoflow.models.cnn3d.classify import classify
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.training.spec import OptimiserSpec

IDS = tuple(f"m{i:02d}" for i in range(12))
SPEC = ClassificationSpec(
    classes=5,
    replicas=(1, 3),
    repeats=4,
    repeats_per_job=3,
    feature_replicas=(3, 9),
    feature_poses=2,
    seed=7,
)
VOXELS = R3DVSSpec(resolution_angstrom=0.8, length_angstrom=6.4, deposit="linear")
CNN = CNN3DSpec(
    channels=(4, 8),
    dense=(16,),
    replicas=10,
    optimiser=OptimiserSpec(epochs=25, batch_size=20, learning_rate=1e-2),
)


def shells(n: int) -> SpotSet:
    """Crystals that differ by the radius on which their 30 spots lie."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=(n, 30, 3))
    g /= np.linalg.norm(g, axis=2, keepdims=True)
    g *= np.linspace(0.2, 0.9, n)[:, None, None] * VOXELS.g_cut
    return SpotSet(
        tuple(f"m{i}" for i in range(n)),
        np.arange(n + 1) * 30,
        g.reshape(-1, 3).astype(np.float32),
        np.ones((1, 30 * n), np.float32),
        np.full(n, 10.0),
    )


# The protocol ------------------------------------------------------------------------------


def test_materials_are_drawn_by_seed_and_repeat_alone():
    drawn = [draw_classes(IDS, SPEC, repeat) for repeat in range(4)]
    assert all(len(set(names)) == 5 and set(names) <= set(IDS) for names in drawn)
    assert len({tuple(names) for names in drawn}) == 4
    assert drawn[2] == draw_classes(IDS[::-1], SPEC, 2)
    assert drawn[2] != draw_classes(IDS, SPEC.model_copy(update={"seed": 8}), 2)
    fewer = draw_classes(IDS, SPEC.model_copy(update={"classes": 3}), 2)
    assert fewer == drawn[2][:3]


def test_too_few_materials_say_how_many_there_are():
    with pytest.raises(DataError, match=r"4 materials have a density, but .* 5 classes; lower"):
        draw_classes(IDS[:4], SPEC, 0)


def test_few_replicas_take_as_many_steps_as_many():
    spec = ClassificationSpec(replicas=(1, 4, 30))
    assert [spec.shown(n) for n in (1, 4, 30)] == [30, 30, 30]
    each = spec.model_copy(update={"same_steps": False})
    assert [each.shown(n) for n in (1, 4, 30)] == [1, 4, 30]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicas": (0, 1)}, "expected ascending numbers from 1"),
        ({"replicas": (2, 1)}, "expected ascending"),
        ({"replicas": (2, 2)}, "expected ascending"),
        ({"replicas": ()}, "at least 1 item"),
        ({"classes": 1}, "greater than or equal to 2"),
        ({"feature_poses": 1}, "greater than or equal to 2"),
    ],
)
def test_impossible_protocols_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ClassificationSpec(**settings)


def asked(repeats: range) -> tuple[list[tuple], pd.DataFrame, dict[str, np.ndarray]]:
    """Run the protocol with a classifier that names the first class for everything."""
    calls = []

    def first(inputs, replicas: int, seed: int, poses: int) -> Answers:
        calls.append((inputs.ids, replicas, seed, poses))
        features = np.full((5, poses, 2), replicas, np.float32) if poses else None
        return Answers(np.zeros(5, dtype=np.int64), np.full(5, 0.25), features)

    inputs = VectorSet(IDS, np.zeros((12, 1)))
    return calls, *classification(first, inputs, SPEC, repeats=repeats)


def test_every_repeat_asks_about_its_materials_with_every_number_of_replicas():
    calls, table, features = asked(range(3))
    assert [(c[0], c[1]) for c in calls] == [
        (tuple(draw_classes(IDS, SPEC, repeat)), n) for repeat in range(3) for n in (1, 3)
    ]
    assert len({seed for _, _, seed, _ in calls}) == 6
    # Features: the first repeat, and of the numbers that are named and trained.
    assert [poses for *_, poses in calls] == [0, 2, 0, 0, 0, 0]
    assert {name: f.shape for name, f in features.items()} == {"3": (5, 2, 2)}
    assert len(table) == 3 * 2 * 5
    for (repeat, _), rows in table.groupby(["repeat", "replicas"]):
        names = draw_classes(IDS, SPEC, repeat)
        assert rows["material_id"].tolist() == names
        assert set(rows["predicted_id"]) == {names[0]}
    assert (table["probability"] == 0.25).all()


def test_a_job_of_later_repeats_gives_the_same_rows():
    _, whole, _ = asked(range(4))
    calls, later, features = asked(range(3, 4))
    assert features == {}
    expected = whole[whole["repeat"] == 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(later, expected)
    assert SPEC.jobs() == ["0-2", "3-3"]
    assert len(calls) == 2


def test_accuracies_of_known_answers():
    rows = [
        ("s", "x", n, repeat, name, name if name in right else "a")
        for (n, repeat), right in {(1, 0): "a", (1, 1): "ab", (5, 0): "abcd"}.items()
        for name in "abcd"
    ]
    columns = ["study", "arm", "replicas", "repeat", "material_id", "predicted_id"]
    table = accuracies(pd.DataFrame(rows, columns=columns))
    assert table.columns.tolist() == ["study", "arm", "replicas", "repeat", "accuracy"]
    assert table["accuracy"].tolist() == [0.25, 0.5, 1.0]
    assert table["replicas"].tolist() == [1, 1, 5]


# The network -------------------------------------------------------------------------------


def test_distinguishable_spot_sets_are_learned_in_any_pose():
    answers = classify(CNN, VOXELS, shells(4), Start((3,)), poses=6)
    assert answers.predicted.tolist() == [0, 1, 2, 3]
    assert (answers.probability > 0.6).all()
    assert answers.features is not None
    assert answers.features.shape == (4, 6, 8 * 2**3)
    # The poses of a material lie closer together than the materials.
    centres = answers.features.mean(axis=1)
    within = np.linalg.norm(answers.features - centres[:, None], axis=2).mean()
    apart = np.linalg.norm(centres[:, None] - centres, axis=2)[~np.eye(4, dtype=bool)]
    assert within < apart.mean()


def test_only_rotated_replicas_are_trained_on(monkeypatch):
    """Materials that are copies of each other cannot be told apart: nothing leaks a class."""
    spots = shells(1).take([0, 0, 0])
    short = CNN.model_copy(update={"optimiser": OptimiserSpec(epochs=2)})
    answers = classify(short, VOXELS, spots, Start((3,)))
    assert len(set(answers.predicted.tolist())) == 1
    assert answers.features is None
    seen = []
    train = cnn3d_classify.train_networks
    monkeypatch.setattr(
        cnn3d_classify, "train_networks", lambda *a, **k: seen.append((a, k)) or train(*a, **k)
    )
    classify(short, VOXELS, shells(3), Start((3, 4)))
    ((_, _, inputs, classes, _), settings) = seen[0]
    assert inputs.ids == ("m0", "m1", "m2")
    assert torch.equal(classes, torch.arange(3))
    assert settings["n_outputs"] == 3
    assert settings["seeds"] == (3,)


def test_an_untrained_network_has_features_and_uncertain_answers():
    spec = CNN.model_copy(update={"optimiser": OptimiserSpec(epochs=1, learning_rate=1e-9)})
    answers = classify(spec, VOXELS, shells(3), Start((1,)), poses=2)
    assert answers.features is not None
    assert answers.features.shape == (3, 2, 64)
    assert answers.features.dtype == np.float32
    np.testing.assert_allclose(answers.probability, 1 / 3, atol=0.1)
    again = classify(spec, VOXELS, shells(3), Start((1,)), poses=2)
    np.testing.assert_array_equal(again.features, answers.features)


def test_the_registry_sets_replicas_and_how_often_they_are_shown(monkeypatch):
    seen = []
    monkeypatch.setattr(cnn3d_classify, "classify", lambda *a, **k: seen.append((a, k)))
    pair = registry.PairSpec(descriptor=VOXELS, model=CNN)
    registry.classify(pair, SPEC, shells(2), 1, Start(), poses=2)
    (model, voxels, *_), settings = seen[0]
    assert (model.replicas, model.shown) == (1, max(SPEC.replicas))
    assert model.optimiser == CNN.optimiser
    assert model.optimiser.batch_size == 20
    assert voxels == VOXELS
    assert settings == {"poses": 2}
    assert CNN.replicas == 10


def test_a_model_that_reads_vectors_does_not_classify():
    pair = registry.PairSpec(descriptor=SOAPSpec(), model=MLPSpec())
    with pytest.raises(ConfigError, match="'mlp' does not classify"):
        registry.classify(pair, SPEC, shells(2), 1, Start())


# Claims ------------------------------------------------------------------------------------


def measured(values: dict[int, list[float]], arm: str = "x") -> pd.DataFrame:
    rows = [(arm, n, i, v) for n, shares in values.items() for i, v in enumerate(shares)]
    columns = ["arm", "replicas", "repeat", "accuracy"]
    return pd.DataFrame(rows, columns=columns).assign(study="s")


def verdict(table: pd.DataFrame, n_classes: int = 50, **settings) -> tuple[str, str, str]:
    base = {"claim": "c", "paper": "p", "arm": "x", "replicas": 30}
    claim = AccuracyClaimSpec(**{**base, **settings})
    row = judge_accuracy([claim], table, study="s", n_classes=n_classes).iloc[0]
    return row["verdict"], row["why"], row["measured"]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.94, 0.96, 0.98], "holds"),
        ([0.94, 0.94, 0.94], "holds"),
        ([0.80, 0.82, 0.78], "does not hold"),
        ([0.8, 0.8, 0.8], "does not hold"),
        ([0.98, 0.96, 0.82], "undecided"),  # 92 %, two standard errors reach beyond 94 %
        ([0.2, 1.0, 0.98], "undecided"),
        ([0.99, 0.99], "undecided"),
    ],
)
def test_a_share_is_reached_or_clearly_missed(shares, expected):
    assert verdict(measured({30: shares}), accuracy=0.94)[0] == expected


@pytest.mark.parametrize(
    ("few", "many", "expected"),
    [
        ([0.5, 0.52, 0.51], [0.9, 0.91, 0.93], "holds"),
        ([0.5] * 3, [0.6] * 3, "holds"),
        ([0.9, 0.91, 0.93], [0.5, 0.52, 0.51], "does not hold"),
        ([0.5, 0.9, 0.7], [0.7, 0.8, 0.75], "undecided"),
        ([0.7] * 3, [0.7] * 3, "undecided"),
        ([0.5, 0.5], [0.9, 0.9], "undecided"),
    ],
)
def test_more_replicas_are_clearly_better_or_not(few, many, expected):
    found, why, shown = verdict(measured({1: few, 30: many}), more_than=1)
    assert found == expected
    assert shown == f"{np.mean(many):.1%} at 30 replicas, {np.mean(few):.1%} at 1 replicas"
    assert "inf" not in why


@pytest.mark.parametrize("kind", [{"accuracy": 0.94}, {"more_than": 1}])
def test_what_this_run_cannot_test_says_why(kind):
    table = measured({1: [0.5] * 3, 30: [1.0] * 3})
    assert verdict(table, 49, **kind)[:2] == ("not testable", "49 classes; the claim is about 50")
    assert verdict(table, 3, min_classes=3, **kind)[0] == "holds"
    found, why, _ = verdict(table, replicas=20, **kind)
    assert (found, why) == ("not testable", "this run has no training with 20 replicas")
    found, why, shown = verdict(measured({30: [1.0] * 3}, arm="another"), **kind)
    assert (found, shown) == ("not testable", "")
    assert "no training with 30 replicas" in why


def test_claims_are_about_a_share_or_an_order():
    for wrong in ({}, {"accuracy": 0.9, "more_than": 1}):
        with pytest.raises(ValidationError, match="give accuracy or more_than, not both"):
            AccuracyClaimSpec(claim="c", paper="p", arm="x", replicas=3, **wrong)
    with pytest.raises(ValidationError, match="3 replicas are compared with themselves"):
        AccuracyClaimSpec(claim="c", paper="p", arm="x", replicas=3, more_than=3)


# The figure --------------------------------------------------------------------------------


def test_the_figure_draws_means_and_maps():
    table = pd.concat([measured({1: [0.2, 0.4], 10: [0.9, 1.0]}), measured({1: [0.1]}, arm="y")])
    maps = {n: np.random.default_rng(n).normal(size=(3, 4, 2)) for n in (30, 10)}
    panel, *others = draw(table, maps, {"x": "X", "y": "Y", "z": "absent"}).axes
    lines = {c.get_label(): c.lines[0] for c in panel.containers}
    assert list(lines) == ["X", "Y"]
    np.testing.assert_allclose(np.asarray(lines["X"].get_xdata(), float), [1, 10])
    np.testing.assert_allclose(np.asarray(lines["X"].get_ydata(), float), [0.3, 0.95])
    assert list(panel.lines[0].get_ydata()) == [0.94, 0.94]
    assert [ax.get_title() for ax in others] == ["10 replicas", "30 replicas"]
    shown = np.concatenate([c.get_offsets() for c in others[0].collections])
    np.testing.assert_allclose(shown, maps[10].reshape(-1, 2))
    assert len(others[0].collections) == 3


def test_the_figure_does_without_maps():
    assert len(draw(measured({1: [0.5]}), {}, {"x": "X"}).axes) == 1


@pytest.mark.parametrize(("classes", "poses"), [(2, 2), (6, 8)])
def test_the_projection_keeps_poses_of_a_material_together(classes, poses):
    rng = np.random.default_rng(0)
    centres = 20 * rng.normal(size=(classes, 1, 40))
    features = (centres + rng.normal(size=(classes, poses, 40))).astype(np.float32)
    plane = project(features)
    assert plane.shape == (classes, poses, 2)
    np.testing.assert_array_equal(plane, project(features))
    if classes > 2:
        within = np.linalg.norm(plane - plane.mean(axis=1, keepdims=True), axis=2).mean()
        middles = plane.mean(axis=1)
        apart = np.linalg.norm(middles[:, None] - middles, axis=2)
        assert within < 0.5 * apart[apart > 0].min()


def test_a_network_that_sees_no_difference_has_a_map_too():
    assert (project(np.full((3, 4, 8), 0.5, np.float32)) == 0).all()
    with pytest.raises(DataError, match="its training diverged"):
        project(np.full((3, 4, 8), np.nan, np.float32))
