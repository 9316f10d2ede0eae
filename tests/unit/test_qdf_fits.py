"""Trainings of the quantum deep field and the graph convolution, and what they answer."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.qdf_cases import CPU, GRAPH, OURS, SMALL, chem, molecules, network, one

from rhoflow.errors import DataError
from rhoflow.models.base import Start
from rhoflow.models.qdf import gcn
from rhoflow.models.qdf.field import Fields
from rhoflow.models.qdf.fit import Alternation, FittedQDF, fit, restore
from rhoflow.models.qdf.model import QuantumDeepField
from rhoflow.models.qdf.orbitals import OrbitalTypes
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec
from rhoflow.training.distributed import ALONE
from rhoflow.training.ensemble import seeded
from rhoflow.training.loop import train
from rhoflow.training.losses import sum_of_mean_squares
from rhoflow.training.spec import OptimiserSpec


def both(seeds: tuple[int, ...] = (0,)) -> Iterator[tuple[str, object]]:
    """A short training of either kind, on an extensive and an intensive target."""
    inputs, y = molecules()
    y = np.hstack([y, y / inputs.sizes[:, None]])
    start = Start(seeds, None, (True, False))
    yield "qdf", fit(SMALL, inputs, y, start)
    yield "ours", fit(OURS, inputs, y, start)
    yield "gcn", gcn.fit(GRAPH, inputs, y, start)


def test_a_training_learns():
    """Twenty epochs bring the error far below that of the mean."""
    inputs, y = molecules(24)
    quick = OptimiserSpec(epochs=20, batch_size=4, learning_rate=2e-3)
    start = Start((0,), None, (True,))
    spread = np.abs(y - y.mean()).mean()
    spec = QDFSpec(dimension=40, map_dimension=40, optimiser=quick)
    errors = {"qdf": np.abs(fit(spec, inputs, y, start).predict(inputs)[0] - y).mean()}
    spec = GCNSpec(dimension=40, optimiser=quick)
    errors["gcn"] = np.abs(gcn.fit(spec, inputs, y, start).predict(inputs)[0] - y).mean()
    assert max(errors.values()) < 0.2 * spread, (errors, spread)


def test_targets_read_sums_or_means():
    """Two copies of a molecule far apart double what is extensive, and leave what is not."""
    inputs, _ = molecules()
    m = inputs.take([5])
    twice = one(
        [chem(z) for z in m.numbers] * 2, np.concatenate([m.positions, m.positions + 300.0])
    )
    for name, model in both():
        if name == "ours":
            continue  # its constants an element are tested by themselves
        bias = next(w for n, w in zip(model.model.names, model.model.weights, strict=True)
                    if n.endswith("property.bias"))[0].detach().numpy()  # fmt: skip
        single, double = model.predict(m)[0, 0] - bias, model.predict(twice)[0, 0] - bias
        assert double[0] == pytest.approx(2 * single[0], rel=1e-4), name
        assert double[1] == pytest.approx(single[1], rel=1e-4), name


def test_seeds_share_their_batches_and_nothing_else():
    inputs, _ = molecules()
    for (name, pair), (_, alone) in zip(both((0, 5)), both((0,)), strict=True):
        answers = pair.predict(inputs)
        assert answers.shape == (2, len(inputs), 2)
        np.testing.assert_allclose(answers[0], alone.predict(inputs)[0], rtol=1e-5, err_msg=name)
        assert np.abs(answers[0] - answers[1]).max() > 1e-3, name


def test_a_prediction_does_not_depend_on_its_company_or_order():
    inputs, _ = molecules()
    order = [3, 0, 6, 1, 5, 2, 4]
    for name, model in both():
        answers = model.predict(inputs)[0]
        moved = model.predict(inputs.take(order))[0]
        np.testing.assert_allclose(moved, answers[order], rtol=1e-4, err_msg=name)
        assert model.predict(inputs.take([])).shape == (1, 0, 2)


def test_the_descriptor_is_what_the_last_layer_reads():
    inputs, _ = molecules()
    for name, model in both():
        if name == "ours":
            continue
        last = model.first().functional.property
        total, mean = (model.descriptor(inputs, extensive=e) for e in (True, False))
        weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
        read = np.stack([total @ weight[0] + bias[0], mean @ weight[1] + bias[1]], axis=1)
        np.testing.assert_allclose(read, model.predict(inputs)[0], rtol=1e-4, err_msg=name)
        np.testing.assert_array_equal(model.descriptor(inputs), total)
        assert total.shape == (len(inputs), 12)


def test_features_are_all_that_the_last_layer_reads():
    inputs, y = molecules()
    for name, model in both():
        total, mean = (model.descriptor(inputs, extensive=e) for e in (True, False))
        np.testing.assert_array_equal(
            model.features(inputs), np.hstack([total, mean]), err_msg=name
        )
    pooled = SMALL.model_copy(update={"pooling": "sum"})
    model = fit(pooled, inputs, np.hstack([y, y]), Start((0,), None, (True, False)))
    np.testing.assert_array_equal(model.features(inputs), model.descriptor(inputs, extensive=True))


def test_a_kept_network_answers_as_before():
    inputs, _ = molecules()
    for (name, model), spec, back in zip(
        both((0, 1)), (SMALL, OURS, GRAPH), (restore, restore, gcn.restore), strict=True
    ):
        found = back(spec, model.arrays())
        np.testing.assert_array_equal(found.predict(inputs), model.predict(inputs), err_msg=name)
        np.testing.assert_array_equal(found.features(inputs), model.features(inputs))
        wider = spec.model_copy(update={"dimension": 13})
        with pytest.raises(DataError, match="its settings ask for"):
            back(wider, model.arrays())


def test_one_batched_network_answers_as_one_after_the_other():
    """What a GPU runs for several seeds, compared on the processor."""
    inputs, _ = molecules()
    for spec in (SMALL, OURS):
        types = OrbitalTypes.of(inputs, spec.basis)
        model = seeded(lambda s=spec, t=types: QuantumDeepField(s, t, 1), (1, 2))
        field, _ = Fields(inputs, spec, types, (True,), CPU).batch(np.array([0, 3]))
        for asks in (False, True):
            asked = field._replace(asks_potential=asks)
            torch.testing.assert_close(
                model.one_by_one(asked), model.side_by_side(asked), rtol=1e-4, atol=1e-5
            )


class Kept:
    """A checkpoint in memory, whose owner may be stopped after any number of epochs."""

    def __init__(self) -> None:
        self.state: dict[str, torch.Tensor] | None = None

    def load(self) -> dict[str, torch.Tensor] | None:
        return self.state

    def save(self, state: dict[str, torch.Tensor]) -> None:
        self.state = {name: value.detach().clone() for name, value in state.items()}


def test_a_stopped_training_ends_with_the_same_weights():
    inputs, y = molecules()
    z = torch.from_numpy(y).float()

    def trained(*stops: int) -> list[torch.Tensor]:
        net, fields = network(SMALL, inputs)
        first, kept = copy.deepcopy(net), Kept()
        for epochs in stops:
            model = seeded(lambda: copy.deepcopy(first), (0,))
            optimiser = OptimiserSpec(epochs=epochs, batch_size=3, halve_every=2)
            batches = Alternation(fields, z, 3, 0, ALONE)
            train(model, batches, sum_of_mean_squares, optimiser, checkpoint=kept)
        return [w.detach() for w in model.weights]

    for whole, resumed in zip(trained(4), trained(1, 4), strict=True):
        torch.testing.assert_close(whole, resumed, rtol=0, atol=0)


def test_a_fit_keeps_its_state_where_it_is_told():
    inputs, y = molecules()
    kept = {}
    start = Start((0,), lambda digest: kept.setdefault(digest, Kept()), (True,))
    first = fit(SMALL, inputs, y, start).predict(inputs)
    assert len(kept) == 1
    np.testing.assert_array_equal(fit(SMALL, inputs, y, start).predict(inputs), first)
    fit(OURS, inputs, y, start)
    assert len(kept) == 2


# The density ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted() -> FittedQDF:
    inputs, y = molecules()
    return fit(SMALL, inputs, y, Start((0, 1), None, (True,)))


def test_the_density_on_the_field(fitted):
    inputs, _ = molecules()
    m = inputs.take([5])
    found = fitted.field_density(m)
    assert found.points.shape == (56 * 7, 3)
    assert found.electrons.sum() == pytest.approx(m.numbers.sum(), rel=1e-5)
    nearest = np.linalg.norm(found.points[:, None] - m.positions, axis=-1).min(axis=1)
    assert nearest.max() < 0.75
    # The same orbitals elsewhere: electrons a point are in proportion to the density there.
    ratio = fitted.density(m, found.points) / found.electrons
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_the_density_is_that_of_one_molecule(fitted):
    inputs, _ = molecules()
    with pytest.raises(TypeError, match="not of 7"):
        fitted.field_density(inputs)
    assert fitted.density(inputs.take([0]), np.empty((0, 3))).shape == (0,)


# Bad input --------------------------------------------------------------------------------------


def test_an_element_that_was_never_trained_is_named(fitted):
    other = one(("C", "N"), [[0, 0, 0], [0, 0, 1.2]], name="hcn-17")
    for model in (fitted, next(m for name, m in both() if name == "gcn")):
        for ask in (model.predict, model.descriptor):
            with pytest.raises(DataError, match=r"molecule hcn-17: nothing was trained for N"):
                ask(other)
    with pytest.raises(DataError, match="hcn-17"):
        fitted.density(other, np.zeros((1, 3)))


def test_an_element_without_orbitals_is_named():
    heavy = one(("C", "Br"), [[0, 0, 0], [0, 0, 1.9]], name="bromo")
    with pytest.raises(DataError, match=r"molecule bromo: .* no orbitals for Br"):
        fit(SMALL, heavy, np.zeros((1, 1)), Start())


def test_a_bare_nucleus_is_refused():
    bare = one(("H",), [[0, 0, 0]], name="proton", charge=1)
    with pytest.raises(DataError, match=r"molecule proton: got 0 electrons"):
        fit(SMALL, bare, np.zeros((1, 1)), Start())
