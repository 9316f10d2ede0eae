"""Models on cases with known answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rhoflow.descriptors.base import VectorSet
from rhoflow.descriptors.composition import CompositionSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.soap import SOAPSpec
from rhoflow.descriptors.voxels import SpotBatcher
from rhoflow.errors import ConfigError
from rhoflow.models import registry
from rhoflow.models.base import Standardiser
from rhoflow.models.cnn3d.fit import ReplicaSampler, fit
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.models.mean import MeanSpec
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
        ids, offsets, g.astype(np.float32), amplitude.astype(np.float32), np.full(n, 10.0)
    )
    return data, y


def test_linear_kernel_ridge_is_ridge_regression():
    x, y = vectors(10), np.arange(10.0) ** 2
    fitted = registry.fit(KRRSpec(ridge=3.0), CompositionSpec(), x, y, seed=0)
    z = (y - y.mean()) / y.std()
    weights = np.linalg.solve(x.values.T @ x.values + 3.0 * np.eye(3), x.values.T @ z)
    np.testing.assert_allclose(fitted.predict(x), x.values @ weights * y.std() + y.mean())


@pytest.mark.parametrize("width", [None, 0.7])
def test_gaussian_kernel_ridge_is_its_closed_form(width):
    data, known = vectors(12), 9
    y = np.sin(data.values[:known]).sum(axis=1) * 40 + 3
    spec = KRRSpec(kernel="gaussian", ridge=0.3, width=width)
    fitted = registry.fit(spec, CompositionSpec(), data.take(range(known)), y, seed=0)
    distances = np.linalg.norm(data.values[:, None] - data.values[None], axis=2)
    w = width or np.median(distances[:known, :known][np.triu_indices(known, 1)])
    kernel = np.exp(-(distances**2) / (2 * w**2))
    z = (y - y.mean()) / y.std()
    weights = np.linalg.solve(kernel[:known, :known] + 0.3 * np.eye(known), z)
    expected = kernel[known:, :known] @ weights * y.std() + y.mean()
    np.testing.assert_allclose(fitted.predict(data.take(range(known, 12))), expected, rtol=1e-10)


def test_a_prediction_does_not_depend_on_its_company():
    """Inputs are scaled by the training set alone; the test set tells a model nothing."""
    data = vectors(20)
    y = data.values[:12].sum(axis=1)
    spec = KRRSpec(kernel="gaussian", standardise_inputs=True)
    fitted = registry.fit(spec, CompositionSpec(), data.take(range(12)), y, seed=0)
    together = fitted.predict(data.take(range(12, 20)))
    alone = [fitted.predict(data.take([i]))[0] for i in range(12, 20)]
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
    fitted = registry.fit(spec, CompositionSpec(), x, y, seed=0)
    np.testing.assert_allclose(fitted.predict(x), y, atol=1e-4)


def test_a_constant_component_and_constant_targets_are_harmless():
    x = VectorSet(("a", "b", "c"), np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 4.0]]))
    spec = KRRSpec(kernel="gaussian", standardise_inputs=True)
    fitted = registry.fit(spec, CompositionSpec(), x, np.full(3, 5.0), seed=0)
    np.testing.assert_allclose(fitted.predict(x), 5.0)


def test_mean():
    x = vectors(4)
    fitted = registry.fit(MeanSpec(), CompositionSpec(), x, np.array([1.0, 2, 3, 6]), seed=0)
    np.testing.assert_array_equal(fitted.predict(x), 3.0)


def test_a_model_refuses_a_descriptor_that_it_cannot_read():
    with pytest.raises(ConfigError, match="'cnn3d' cannot read a descriptor of kind 'soap'"):
        registry.fit(CNN3DSpec(), SOAPSpec(), vectors(3), np.zeros(3), seed=0)


def test_the_network_learns_a_rotation_invariant_function():
    data, y = random_spots(60)
    fitted = fit(SMALL, VOXELS, data.take(range(48)), y[:48], seed=1)
    error = np.abs(fitted.predict(data.take(range(48, 60))) - y[48:]).mean()
    baseline = np.abs(y[48:] - y[:48].mean()).mean()
    assert error < 0.35 * baseline


def test_the_network_is_reproducible_and_its_seed_matters():
    data, y = random_spots(8)
    quick = SMALL.model_copy(update={"optimiser": OptimiserSpec(epochs=2)})
    first, again, other = (fit(quick, VOXELS, data, y, seed=s).predict(data) for s in (5, 5, 6))
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


def test_every_structure_has_rotations_of_its_own():
    sampler = ReplicaSampler(4, SMALL.model_copy(update={"replicas": 3}), seed=0)
    rotations = torch.cat([r for _, r in sampler.epoch(0)])
    assert len({tuple(r.ravel().tolist()) for r in rotations}) == 12
    assert not torch.isclose(rotations, torch.eye(3)).all(dim=(1, 2)).any()


@pytest.mark.parametrize("edge", [4, 16, 33])
def test_the_network_takes_any_cube(edge):
    model = VoxelCNN(CNN3DSpec(channels=(2, 3, 4, 5), dense=(6,)), edge)
    assert model(torch.zeros(3, 1, edge, edge, edge)).shape == (3,)


def test_the_leak_is_that_of_the_spec():
    model = VoxelCNN(CNN3DSpec(channels=(2,), dense=(3,), leak=0.25), 4)
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
    first, second = (fit(QUICK, VOXELS, d, y, seed=0).predict(d) for d in (data, larger))
    np.testing.assert_allclose(first, second, rtol=1e-3)


def test_the_unrotated_original_is_what_one_pose_predicts():
    data, y = random_spots(3)
    fitted = fit(QUICK, VOXELS, data, y, seed=0)
    device = next(fitted.model.parameters()).device
    unrotated = torch.eye(3, device=device).expand(3, 3, 3)
    grids = SpotBatcher(data, VOXELS, device).voxels(torch.arange(3, device=device), unrotated)
    with torch.no_grad():
        answer = fitted.model.eval()(grids / fitted.voxel_scale)
    expected = fitted.targets.inverse(answer.cpu().double().numpy())
    np.testing.assert_allclose(fitted.predict(data), expected, rtol=1e-5)


def test_pose_averaging_answers_with_the_mean_over_poses():
    data, y = random_spots(4)
    fitted = fit(QUICK, VOXELS, data, y, seed=0)
    single = fitted.predict(data)
    fitted.spec = QUICK.model_copy(update={"test_poses": 200})
    averaged = fitted.predict(data)
    assert not np.allclose(single, averaged)
    fitted.spec = QUICK.model_copy(update={"test_poses": 400})
    # Averages over many poses approach one value, single poses do not.
    assert np.abs(fitted.predict(data) - averaged).max() < np.abs(single - averaged).max()
