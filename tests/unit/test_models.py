"""Models on cases with known answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rhoflow.checkpoints import CheckpointStore, FileCheckpoint
from rhoflow.descriptors.base import VectorSet, paired
from rhoflow.descriptors.composition import CompositionSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.soap import SOAPSpec
from rhoflow.descriptors.voxels import SpotBatcher
from rhoflow.errors import ConfigError, DataError
from rhoflow.models import registry, stacked
from rhoflow.models.base import Standardiser, Start
from rhoflow.models.cnn3d.fit import ReplicaSampler, fit
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.models.mean import MeanSpec
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.training import loop
from rhoflow.training.loop import Batch, train
from rhoflow.training.spec import OptimiserSpec

VOXELS = R3DVSSpec(resolution_angstrom=0.8, length_angstrom=6.4, deposit="linear", value="squared")
SMALL = CNN3DSpec(
    channels=(4, 8),
    dense=(16,),
    replicas=8,
    test_poses=8,
    optimiser=OptimiserSpec(epochs=60, batch_size=32, learning_rate=3e-3),
)
QUICK = SMALL.model_copy(update={"optimiser": OptimiserSpec(epochs=1), "test_poses": 1})


def vectors(n: int, d: int = 3) -> VectorSet:
    x = np.random.default_rng(0).normal(size=(n, d))
    return VectorSet(tuple(f"m{i}" for i in range(n)), x)


def random_spots(n: int, seed: int = 0) -> tuple[SpotSet, np.ndarray]:
    """Spots whose target, the mean radius weighted by |s|², no rotation changes."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(20, 40, size=n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    g = rng.normal(size=(offsets[-1], 3))
    # Each crystal has a spread of its own, so that its spots lie nearer to or farther from 0.
    g *= np.repeat(rng.uniform(0.5, 1.6, size=n), lengths)[:, None]
    g *= np.minimum(1, VOXELS.g_cut / np.linalg.norm(g, axis=1))[:, None]
    amplitude = rng.uniform(0.5, 1, size=offsets[-1])
    weighted = np.add.reduceat(amplitude**2 * np.linalg.norm(g, axis=1), offsets[:-1])
    y = weighted / np.add.reduceat(amplitude**2, offsets[:-1])
    ids = tuple(f"m{i}" for i in range(n))
    data = SpotSet(
        ids, offsets, g.astype(np.float32), amplitude[None].astype(np.float32), np.full(n, 10.0)
    )
    return data, y


def fitted_to(spec, inputs, y, descriptor=None):
    """Fit a model by its registry to targets of one column."""
    pair = registry.PairSpec(descriptor=descriptor or CompositionSpec(), model=spec)
    return registry.fit(pair, inputs, np.asarray(y, dtype=float)[:, None], Start())


def one(fitted, inputs):
    """(n,) predictions of a model with one seed and one target."""
    return fitted.predict(inputs)[0, :, 0]


def network(data, y, spec=QUICK, seed=0):
    return fit(spec, VOXELS, data, y[:, None], Start((seed,)))


def test_linear_kernel_ridge_is_ridge_regression():
    x, y = vectors(10), np.arange(10.0) ** 2
    fitted = fitted_to(KRRSpec(ridge=3.0), x, y)
    z, centred = (y - y.mean()) / y.std(), x.values - x.values.mean(axis=0)
    weights = np.linalg.solve(centred.T @ centred + 3.0 * np.eye(3), centred.T @ z)
    np.testing.assert_allclose(one(fitted, x), centred @ weights * y.std() + y.mean())


@pytest.mark.parametrize("width", [None, 0.7])
def test_gaussian_kernel_ridge_is_its_closed_form(width):
    data, known = vectors(12), 9
    y = np.sin(data.values[:known]).sum(axis=1) * 40 + 3
    spec = KRRSpec(kernel="gaussian", ridge=0.3, width=width)
    fitted = fitted_to(spec, data.take(range(known)), y)
    distances = np.linalg.norm(data.values[:, None] - data.values[None], axis=2)
    w = width or np.median(distances[:known, :known][np.triu_indices(known, 1)])
    kernel = np.exp(-(distances**2) / (2 * w**2))
    z = (y - y.mean()) / y.std()
    weights = np.linalg.solve(kernel[:known, :known] + 0.3 * np.eye(known), z)
    expected = kernel[known:, :known] @ weights * y.std() + y.mean()
    np.testing.assert_allclose(one(fitted, data.take(range(known, 12))), expected, rtol=1e-10)


def test_a_prediction_does_not_depend_on_its_company():
    """Inputs are scaled by the training set alone; the test set tells a model nothing."""
    data = vectors(20)
    y = data.values[:12].sum(axis=1)
    spec = KRRSpec(kernel="gaussian", standardise_inputs=True)
    fitted = fitted_to(spec, data.take(range(12)), y)
    together = one(fitted, data.take(range(12, 20)))
    alone = [one(fitted, data.take([i]))[0] for i in range(12, 20)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_standardised_targets_have_unit_variance():
    y = np.array([1.0, 5.0, 9.0, 700.0])
    standardiser = Standardiser(y)
    z = standardiser.forward(y)
    assert (z.mean(), z.std()) == pytest.approx((0, 1), abs=1e-12)
    np.testing.assert_allclose(standardiser.inverse(z), y)


def test_gaussian_kernel_ridge_interpolates_its_training_set():
    x = vectors(25)
    y = np.sin(x.values).sum(axis=1) * 40 + 3
    spec = KRRSpec(kernel="gaussian", ridge=1e-10, standardise_inputs=True)
    fitted = fitted_to(spec, x, y)
    np.testing.assert_allclose(one(fitted, x), y, atol=1e-4)


def test_a_constant_component_and_constant_targets_are_harmless():
    x = VectorSet(("a", "b", "c"), np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 4.0]]))
    spec = KRRSpec(kernel="gaussian", standardise_inputs=True)
    fitted = fitted_to(spec, x, np.full(3, 5.0))
    np.testing.assert_allclose(one(fitted, x), 5.0)


def test_mean():
    x = vectors(4)
    fitted = fitted_to(MeanSpec(), x, np.array([1.0, 2, 3, 6]))
    np.testing.assert_array_equal(one(fitted, x), 3.0)


def test_a_model_refuses_a_descriptor_that_it_cannot_read():
    with pytest.raises(ConfigError, match="'cnn3d' cannot read a descriptor of kind 'soap'"):
        fitted_to(CNN3DSpec(), vectors(3), np.zeros(3), SOAPSpec())


def test_the_network_learns_a_rotation_invariant_function():
    data, y = random_spots(60)
    fitted = network(data.take(range(48)), y[:48], SMALL, seed=1)
    error = np.abs(one(fitted, data.take(range(48, 60))) - y[48:]).mean()
    baseline = np.abs(y[48:] - y[:48].mean()).mean()
    assert error < 0.35 * baseline


def test_the_network_is_reproducible_and_its_seed_matters():
    data, y = random_spots(8)
    quick = SMALL.model_copy(update={"optimiser": OptimiserSpec(epochs=2)})
    first, again, other = (one(network(data, y, quick, seed=s), data) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_replicas_are_fixed_or_endless():
    def rotations(endless: bool) -> list[torch.Tensor]:
        spec = CNN3DSpec(replicas=3, endless=endless, optimiser=OptimiserSpec(batch_size=4))
        sampler = ReplicaSampler(2, spec, seed=0)
        epochs = [list(sampler.epoch(e)) for e in range(2)]
        for batches in epochs:
            seen = torch.cat([s for s, _ in batches])
            assert torch.bincount(seen).tolist() == [3, 3]
        return [torch.cat([r for _, r in b]).sum(dim=0) for b in epochs]

    fixed, endless = rotations(False), rotations(True)
    assert torch.allclose(fixed[0], fixed[1], atol=1e-5)
    assert not torch.allclose(endless[0], endless[1], atol=1e-2)


def test_replicas_are_shown_as_often_as_asked():
    """2 replicas shown 4 times: each twice; 8 replicas shown 4 times: all within two epochs."""
    for replicas, epochs, counts in ((2, 1, [2, 2]), (8, 2, [1] * 8)):
        sampler = ReplicaSampler(
            3, SMALL.model_copy(update={"replicas": replicas, "shown": 4}), seed=0
        )
        seen = [
            pair
            for e in range(epochs)
            for s, r in sampler.epoch(e)
            for pair in zip(s, r, strict=True)
        ]
        first = [tuple(r.ravel().tolist()) for s, r in seen if s == 0]
        assert len(first) == 4 * epochs
        assert sorted(first.count(r) for r in set(first)) == counts


def test_every_structure_has_rotations_of_its_own():
    sampler = ReplicaSampler(4, SMALL.model_copy(update={"replicas": 3}), seed=0)
    rotations = torch.cat([r for _, r in sampler.epoch(0)])
    assert len({tuple(r.ravel().tolist()) for r in rotations}) == 12
    assert not torch.isclose(rotations, torch.eye(3)).all(dim=(1, 2)).any()


@pytest.mark.parametrize("edge", [4, 16, 33])
def test_the_network_takes_any_cube(edge):
    model = VoxelCNN(CNN3DSpec(channels=(2, 3, 4, 5), dense=(6,)), (edge,) * 3, n_outputs=2)
    assert model(torch.zeros(3, 1, edge, edge, edge)).shape == (3, 2)


def test_the_leak_is_that_of_the_spec():
    model = VoxelCNN(CNN3DSpec(channels=(2,), dense=(3,), leak=0.25), (4, 4, 4))
    leaks = [m.negative_slope for m in model.modules() if isinstance(m, torch.nn.LeakyReLU)]
    assert leaks == [0.25, 0.25]


def test_the_learning_rate_falls_along_a_half_cosine():
    """A unit gradient moves Adam by its rate: the parameter's path is the sum of the rates."""
    model = torch.nn.Linear(1, 1, bias=False)
    start = float(model.weight.detach())
    spec = OptimiserSpec(epochs=8, learning_rate=0.1, final_rate=0.1)
    batch = Batch(torch.ones(1, 1), torch.zeros(1))
    train(model, lambda epoch: [batch], lambda prediction, target: prediction.sum(), spec)
    rates = 0.01 + (0.1 - 0.01) * (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
    assert start - float(model.weight.detach()) == pytest.approx(rates.sum(), rel=1e-4)


def test_voxels_are_scaled_so_that_the_unit_of_the_density_does_not_matter():
    data, y = random_spots(4)
    larger = replace(data, amplitude=data.amplitude * 1000)
    first, second = (one(network(d, y), d) for d in (data, larger))
    np.testing.assert_allclose(first, second, rtol=1e-3)


def test_the_unrotated_original_is_what_one_pose_predicts():
    data, y = random_spots(3)
    fitted = network(data, y)
    trained = fitted.networks
    device = trained.scale.device
    unrotated = torch.eye(3).expand(3, 3, 3)
    grids = SpotBatcher(data, VOXELS, device).voxels(torch.arange(3), unrotated)
    with torch.no_grad():
        answer = trained.model.network(0).eval()(grids / trained.scale)
    expected = fitted.targets.inverse(answer.cpu().double().numpy())
    np.testing.assert_allclose(fitted.predict(data)[0], expected, rtol=1e-5)


def test_pose_averaging_answers_with_the_mean_over_poses():
    data, y = random_spots(4)
    fitted = network(data, y)
    poses = fitted.predict_poses(data, 400)  # (seeds, n, poses, targets)
    assert poses.shape == (1, 4, 400, 1)
    fitted.networks.spec = QUICK.model_copy(update={"test_poses": 400})
    np.testing.assert_allclose(fitted.predict(data), poses.mean(axis=2))
    assert (poses.std(axis=2) > 0).all()


def test_networks_side_by_side_are_the_networks_one_by_one():
    """The weights of each are those that it would get alone, up to rounding."""
    data, y = random_spots(6)
    spec = QUICK.model_copy(update={"dropout": 0.0, "replicas": 4})
    both = fit(spec, VOXELS, data, y[:, None], Start((3, 4)))
    alone = fit(spec, VOXELS, data, y[:, None], Start((3,)))
    np.testing.assert_allclose(both.predict(data)[0], alone.predict(data)[0], rtol=1e-5)
    assert both.predict(data).shape == (2, 6, 1)
    assert not np.allclose(both.predict(data)[0], both.predict(data)[1])


def test_several_targets_share_a_network():
    data, y = random_spots(48)
    both = np.stack([y, 10 - 3 * y], axis=1)
    fitted = fit(SMALL, VOXELS, data, both, Start((1,)))
    answer = fitted.predict(data)[0]  # (n, 2)
    assert (np.abs(answer - both).mean(axis=0) < 0.3 * both.std(axis=0)).all()


@pytest.mark.parametrize("spec", [MLPSpec(optimiser=OptimiserSpec(epochs=5)), QUICK])
def test_a_training_that_was_killed_goes_on_to_the_same_result(spec, tmp_path, monkeypatch):
    """Killed after its second epoch; dropout is on, so random numbers must follow too."""
    spec = spec.model_copy(
        update={"dropout": 0.3, "optimiser": OptimiserSpec(epochs=4, batch_size=8)}
    )
    if spec.kind == "mlp":
        data, y, descriptor = vectors(20), np.arange(20.0), CompositionSpec()
    else:
        (data, y), descriptor = random_spots(6), VOXELS
    pair = registry.PairSpec(descriptor=descriptor, model=spec)
    whole = registry.fit(pair, data, y[:, None], Start((1, 2))).predict(data)

    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    store = CheckpointStore(tmp_path)
    save = FileCheckpoint.save

    def killed(self, state):
        save(self, state)
        if len(state["history"]) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(FileCheckpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        registry.fit(pair, data, y[:, None], Start((1, 2), store))
    monkeypatch.setattr(FileCheckpoint, "save", save)
    seen = []
    monkeypatch.setattr(loop, "_step", lambda *a, step=loop._step: seen.append(1) or step(*a))
    again = registry.fit(pair, data, y[:, None], Start((1, 2), store)).predict(data)
    np.testing.assert_array_equal(again, whole)
    batches = -(-len(data) * getattr(spec, "replicas", 1) // 8)
    assert len(seen) == 2 * batches  # two epochs of four were left
    store.clear()
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_left_aside(tmp_path):
    data, y = vectors(10), np.arange(10.0)[:, None]
    pair = registry.PairSpec(
        descriptor=CompositionSpec(), model=MLPSpec(optimiser=OptimiserSpec(epochs=2))
    )
    store = CheckpointStore(tmp_path)
    whole = registry.fit(pair, data, y, Start((1,), store)).predict(data)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(
        registry.fit(pair, data, y, Start((1,), store)).predict(data), whole
    )


def test_another_target_is_another_checkpoint(tmp_path):
    data, store = vectors(10), CheckpointStore(tmp_path)
    pair = registry.PairSpec(
        descriptor=CompositionSpec(), model=MLPSpec(optimiser=OptimiserSpec(epochs=1))
    )
    for y in (np.arange(10.0), np.arange(10.0) ** 2):
        registry.fit(pair, data, y[:, None], Start((1,), store))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_dense_network_learns_a_smooth_function():
    x = vectors(80)
    y = np.sin(x.values).sum(axis=1)
    fitted = fitted_to(MLPSpec(), x.take(range(60)), y[:60])
    error = np.abs(one(fitted, x.take(range(60, 80))) - y[60:]).mean()
    assert error < 0.4 * np.abs(y[60:] - y[:60].mean()).mean()


def test_the_second_of_a_stack_learns_the_residual_of_the_first():
    """y = a x₀ + sin x₁: the first model sees x₀ alone, the second x₁ alone."""
    x = vectors(60)
    first = VectorSet(x.ids, x.values[:, :1])
    second = VectorSet(x.ids, x.values[:, 1:2])
    y = (5 * x.values[:, 0] + np.sin(2 * x.values[:, 1]))[:, None]
    linear = registry.PairSpec(descriptor=CompositionSpec(), model=KRRSpec(ridge=1e-6))
    arm = registry.ArmTraining(
        descriptor=CompositionSpec(),
        model=KRRSpec(kernel="gaussian", ridge=1e-3),
        first=linear,
    )
    pairs = paired(first, second)
    train, test = pairs.take(range(45)), pairs.take(range(45, 60))
    for folds in (0, 5):
        fitted = registry.fit_arm(
            arm.model_copy(update={"residual_folds": folds}), train, y[:45], Start()
        )
        alone = registry.fit(linear, train.first, y[:45], Start())
        error = np.abs(fitted.predict(test)[0] - y[45:]).mean()
        assert error < 0.5 * np.abs(alone.predict(test.first)[0] - y[45:]).mean()


def test_folds_take_the_residual_on_structures_that_were_left_out():
    """An interpolating first model leaves no residual where it was fitted, some elsewhere."""
    x = vectors(30)
    y = np.random.default_rng(1).normal(size=(30, 1))
    exact = KRRSpec(kernel="gaussian", ridge=1e-12, width=0.2)
    seen = {}

    def second(_, residual):
        seen["residual"] = residual
        return mean_of(residual)

    def mean_of(residual):
        return registry.fit(
            registry.PairSpec(descriptor=CompositionSpec(), model=MeanSpec()), x, residual, Start()
        )

    pair = registry.PairSpec(descriptor=CompositionSpec(), model=exact)
    for folds, least, most in ((0, 0.0, 1e-6), (5, 0.3, 10.0)):
        stacked.fit(
            lambda a, b: registry.fit(pair, a, b, Start()),
            second,
            paired(x, x),
            y,
            folds=folds,
            seed=0,
        )
        assert least <= np.abs(seen["residual"]).mean() <= most


def test_two_descriptors_of_a_stack_are_brought_into_one_order():
    x = vectors(5)
    joined = paired(x, x.take([3, 1, 0, 4, 2]))
    np.testing.assert_array_equal(joined.second.values, x.values)
    fewer = paired(x, x.take([4, 1]))  # the others failed, so they have no density
    assert fewer.ids == fewer.second.ids == ("m1", "m4")
    with pytest.raises(DataError, match="no structure in common"):
        paired(x.take([0]), x.take([1]))
