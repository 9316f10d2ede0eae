"""Ensembles, losses, the loop and its checkpoints on cases with known answers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from rhoflow.checkpoints import CheckpointStore, FileCheckpoint
from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import TrainingError
from rhoflow.models.base import Standardiser, Start
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.mlp.fit import fit as fit_mlp
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.training.ensemble import Ensemble, seeded
from rhoflow.training.loop import Batch, learning_rate, train
from rhoflow.training.losses import sum_of_cross_entropies, sum_of_mean_squares
from rhoflow.training.spec import OptimiserSpec

SMALL = CNN3DSpec(channels=(2, 3), dense=(5,))


def cnns(*seeds: int) -> Ensemble:
    return seeded(lambda: VoxelCNN(SMALL, (8, 8, 8), n_channels=2, n_outputs=2), seeds)


def dense(*seeds: int) -> Ensemble:
    return seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 1)), seeds)


def grids(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))


def batch(n: int = 6) -> Batch:
    rng = torch.Generator().manual_seed(1)
    return Batch(torch.randn(n, 3, generator=rng), torch.randn(n, 1, generator=rng))


# Ensembles ---------------------------------------------------------------------------------


def test_one_batched_network_answers_as_one_after_the_other():
    """What a GPU runs, compared on the processor: answers and gradients."""
    model, x = cnns(1, 2, 3), grids()
    found = []
    for forward in (model.one_by_one, model.side_by_side):
        model.zero_grad()
        answer = forward(x)
        sum_of_mean_squares(answer, torch.ones(4, 2)).backward()
        found.append([answer.detach(), *(w.grad.clone() for w in model.weights)])
    assert found[0][0].shape == (3, 4, 2)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_dropout_differs_between_networks_side_by_side():
    model = seeded(lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(50, 1)), (7, 7))
    model.train()
    for forward in (model.one_by_one, model.side_by_side):
        first, second = forward(torch.ones(1, 50))
        assert not torch.equal(first, second)
    model.eval()
    for forward in (model.one_by_one, model.side_by_side):
        first, second = forward(torch.ones(1, 50))
        assert torch.equal(first, second)


def test_a_network_by_itself_answers_as_in_the_ensemble():
    model, x = cnns(1, 2), grids()
    with torch.no_grad():
        together = model(x)
        for i in range(2):
            torch.testing.assert_close(model.network(i)(x), together[i])
    assert not torch.allclose(together[0], together[1])
    for parameter in model.network(0).parameters():  # a copy: the ensemble keeps its own
        parameter.data += 1
    torch.testing.assert_close(model(x), together)


def test_the_seed_of_a_network_decides_its_first_weights_alone():
    torch.manual_seed(99)
    pair, alone = cnns(5, 6), cnns(6)
    for w, other in zip(pair.weights, alone.weights, strict=True):
        assert torch.equal(w[1], other[0])


def test_the_gradient_of_one_network_does_not_touch_another():
    model = cnns(1, 2, 3)
    model(grids())[1].square().sum().backward()
    for name, w in zip(model.names, model.weights, strict=True):
        assert (w.grad[1] != 0).any(), name
        assert (w.grad[[0, 2]] == 0).all(), name


def test_the_weights_of_an_ensemble_are_its_only_parameters():
    model, single = dense(1, 2), nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 1))
    count = sum(p.numel() for p in single.parameters())
    assert sum(p.numel() for p in model.parameters()) == 2 * count


# Losses ------------------------------------------------------------------------------------


def test_mean_squares_are_averaged_over_a_batch_and_summed_over_networks():
    outputs = torch.tensor([[[1.0], [2.0]], [[0.0], [0.0]]])
    targets = torch.tensor([[0.0], [4.0]])
    assert float(sum_of_mean_squares(outputs, targets)) == (1 + 4) / 2 + 16 / 2


def test_cross_entropies_are_averaged_over_a_batch_and_summed_over_networks():
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[0.0, np.log(3.0)], [0.0, np.log(3.0)]]])
    value = float(sum_of_cross_entropies(logits, torch.tensor([0, 1])))
    assert value == pytest.approx(np.log(2) + (np.log(4) + np.log(4 / 3)) / 2)


@pytest.mark.parametrize("loss", [sum_of_mean_squares, sum_of_cross_entropies])
def test_each_network_has_the_gradient_of_its_own_mean_loss(loss):
    outputs = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    squares = loss is sum_of_mean_squares
    wanted = torch.ones(5, 2) if squares else torch.tensor([0, 1, 1, 0, 1])
    (together,) = torch.autograd.grad(loss(outputs, wanted), outputs)
    one = functional.mse_loss if squares else functional.cross_entropy
    for i in range(3):
        alone = outputs[i].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(one(alone, wanted), alone)
        torch.testing.assert_close(together[i], gradient)


# The loop ----------------------------------------------------------------------------------


def test_the_rate_starts_at_the_first_and_falls_towards_the_last():
    spec = OptimiserSpec(epochs=50, learning_rate=0.02, final_rate=0.1)
    rates = [learning_rate(spec, epoch) for epoch in range(51)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[25] == pytest.approx((0.02 + 0.002) / 2)
    assert rates[50] == pytest.approx(0.002)
    assert (np.diff(rates) < 0).all()


def test_every_epoch_is_asked_for_its_batches_by_number():
    asked = []

    def batches(epoch: int) -> list[Batch]:
        asked.append(epoch)
        return [batch()]

    history = train(dense(1), batches, sum_of_mean_squares, OptimiserSpec(epochs=4))
    assert asked == [0, 1, 2, 3]
    assert len(history) == 4
    assert history[-1] < history[0]


def test_the_history_is_the_mean_loss_of_an_epoch():
    """At a rate of almost zero the weights stay, so the losses can be worked out beforehand."""
    model, batches = dense(1, 2), [batch(3), batch(6)]
    with torch.no_grad():
        losses = [float(sum_of_mean_squares(model(b.inputs), b.targets)) for b in batches]
    spec = OptimiserSpec(epochs=2, learning_rate=1e-12)
    history = train(model, lambda epoch: batches, sum_of_mean_squares, spec)
    assert history == pytest.approx([np.mean(losses)] * 2, rel=1e-5)


def test_bfloat16_trains_with_float32_weights_to_nearly_the_same():
    answers = []
    for precision in ("float32", "bfloat16"):
        model = cnns(1, 2)
        spec = OptimiserSpec(epochs=3, precision=precision)
        train(model, lambda e: [Batch(grids(), torch.ones(4, 2))], sum_of_mean_squares, spec)
        assert all(w.dtype == torch.float32 for w in model.weights)
        answers.append(model(grids()).detach())
    assert not torch.equal(*answers)
    torch.testing.assert_close(*answers, rtol=0.05, atol=0.05)


def test_weight_decay_pulls_weights_towards_zero():
    """Without a gradient AdamW multiplies by 1 - rate · decay in every step."""
    model = dense(1)
    before = model.weights[0].detach().clone()
    spec = OptimiserSpec(epochs=1, learning_rate=0.1, weight_decay=0.5)
    train(model, lambda epoch: [batch()], lambda outputs, _: (outputs * 0).sum(), spec)
    torch.testing.assert_close(model.weights[0].detach(), before * 0.95)


# Checkpoints -------------------------------------------------------------------------------


def test_a_finished_training_is_not_repeated(tmp_path):
    spec, first, second = OptimiserSpec(epochs=3), dense(1), dense(2)

    def never(epoch: int) -> list[Batch]:
        raise AssertionError

    kept = FileCheckpoint(tmp_path / "state.npz")
    history = train(first, lambda e: [batch()], sum_of_mean_squares, spec, checkpoint=kept)
    assert train(second, never, sum_of_mean_squares, spec, checkpoint=kept) == history
    for w, other in zip(first.weights, second.weights, strict=True):
        assert torch.equal(w, other)


def test_what_decides_a_training_decides_its_checkpoint(tmp_path):
    x = VectorSet(("a", "b"), np.array([[1.0, 2.0], [3.0, 4.0]]))
    y = np.array([[0.0], [1.0]])
    spec, known = MLPSpec(), []
    starts = [Start((1,), known.append), Start((1, 2), known.append)]
    other = MLPSpec(dropout=0.1)
    for start in starts:
        for specs in ((spec,), (other,), (spec, other)):
            start.checkpoint(specs, x, y)
    first = starts[0]
    first.checkpoint((spec,), x.take([1, 0]), y)
    first.checkpoint((spec,), VectorSet(("a", "c"), x.values), y)
    first.checkpoint((spec,), VectorSet(x.ids, x.values + 1e-9), y)
    first.checkpoint((spec,), x, y + 1e-9)
    first.checkpoint((spec,), x, y.ravel())  # classes, say: another last layer and loss
    assert len(set(known)) == len(known) == 11
    first.checkpoint((spec,), VectorSet(x.ids, x.values.copy()), y.copy())
    assert known[-1] == known[0]
    assert Start((1,)).checkpoint((spec,), x, y) is None


def test_a_job_removes_its_own_checkpoints_only(tmp_path):
    mine, others = CheckpointStore(tmp_path), CheckpointStore(tmp_path)
    for store, name in ((mine, "a"), (mine, "b"), (others, "c")):
        store(name).save({"history": torch.zeros(1)})
    mine("never saved")
    mine.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


# Scales ------------------------------------------------------------------------------------


def test_the_rounding_of_equal_numbers_is_no_unit():
    """0.1 a dozen times has a standard deviation of 1e-17, which must not divide anything."""
    equal = np.full((12, 1), 0.1)
    assert equal.std() > 0
    assert Standardiser(equal).scale == 1
    np.testing.assert_allclose(Standardiser(1e-9 * np.eye(3)).scale, 1e-9 * np.sqrt(2) / 3)
    x = VectorSet(tuple(map(str, range(12))), np.hstack([equal, np.arange(12.0)[:, None]]))
    spec = MLPSpec(optimiser=OptimiserSpec(epochs=2))
    fitted = fit_mlp(spec, x, np.arange(12.0)[:, None], Start())
    other = VectorSet(("new",), np.array([[0.2, 3.0]]))
    assert np.abs(fitted.predict(other)).max() < 100


def test_a_training_that_diverges_says_so():
    numbers = Batch(batch().inputs, batch().targets * float("inf"))
    with pytest.raises(TrainingError, match=r"diverged in epoch 1 of 3: .* lower optimiser"):
        train(dense(0), lambda epoch: [numbers], sum_of_mean_squares, OptimiserSpec(epochs=3))


def test_a_state_of_another_network_is_left_aside(tmp_path):
    """A file that another version of the code wrote under the same name."""
    spec, checkpoint = OptimiserSpec(epochs=2), FileCheckpoint(tmp_path / "x.npz")
    checkpoint.save({"model.weights.0": torch.zeros(1, 9), "history": torch.zeros(1)})
    histories = [
        train(dense(0), lambda epoch: [batch()], sum_of_mean_squares, spec, checkpoint=c)
        for c in (checkpoint, None)
    ]
    assert histories[0] == histories[1]
