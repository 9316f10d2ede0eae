"""Networks that are kept in a file and used again."""

import numpy as np
import pytest

from rhoflow import io
from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import DataError
from rhoflow.models.base import Standardiser, Start
from rhoflow.models.mlp.fit import FittedMLP, fit, restore
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.training.spec import OptimiserSpec

SPEC = MLPSpec(hidden=(7, 5), optimiser=OptimiserSpec(epochs=2))


@pytest.fixture(scope="module")
def vectors() -> VectorSet:
    values = np.random.default_rng(1).normal(size=(12, 4))
    return VectorSet(tuple(f"m{i}" for i in range(12)), values)


@pytest.fixture(scope="module")
def fitted(vectors) -> FittedMLP:
    y = np.column_stack([vectors.values.sum(axis=1), 3 + vectors.values[:, 0]])
    return fit(SPEC, vectors, y, Start(seeds=(3, 4)))


def test_a_kept_network_answers_as_before(fitted, vectors, tmp_path):
    io.write_arrays(tmp_path / "kept.npz", fitted.arrays())
    again = restore(SPEC, io.read_arrays(tmp_path / "kept.npz")[0])
    np.testing.assert_array_equal(again.predict(vectors), fitted.predict(vectors))
    np.testing.assert_array_equal(again.features(vectors), fitted.features(vectors))


def test_features_are_what_the_last_layer_reads(fitted, vectors):
    features = fitted.features(vectors)
    assert features.shape == (12, 5)
    last = {n: w[0] for n, w in fitted.model.arrays().items() if n.startswith("6.")}
    answer = features @ last["6.weight"].T + last["6.bias"]
    np.testing.assert_allclose(
        fitted.targets.inverse(answer), fitted.predict(vectors)[0], rtol=1e-5, atol=1e-6
    )


def test_weights_of_another_architecture_are_refused(fitted):
    wider = SPEC.model_copy(update={"hidden": (8, 5)})
    with pytest.raises(DataError, match="delete its file"):
        restore(wider, fitted.arrays())


def test_a_file_that_lacks_a_part_is_refused(fitted):
    arrays = {n: a for n, a in fitted.arrays().items() if not n.startswith("targets/")}
    with pytest.raises(DataError, match="lacks 'targets'"):
        restore(SPEC, arrays)
    with pytest.raises(DataError, match="lacks 'weights'"):
        restore(SPEC, {n: a for n, a in fitted.arrays().items() if "weights" not in n})


def test_scales_are_put_back_as_they_were():
    scale = Standardiser(np.array([[1.0, 5.0], [3.0, 5.0]]))
    again = Standardiser.known(scale.arrays())
    np.testing.assert_array_equal(again.forward(np.array([[3.0, 6.0]])), [[1.0, 1.0]])


def test_a_component_that_hardly_varied_in_training_does_not_answer_alone(vectors):
    values = vectors.values.copy()
    values[:, 3] = 1e-20 * values[:, 3]
    y = values[:, :1]
    network = fit(SPEC, VectorSet(vectors.ids, values), y, Start())
    values[0, 3] = 1.0
    assert np.abs(network.predict(VectorSet(vectors.ids, values))).max() < 100
