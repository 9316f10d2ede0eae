"""Trainings that several processes share, and that one does alone, for comparison.

``python -m tests.distributed_cases FOLDER`` is one of the processes: it works through all cases
and writes what it found to ``RANK.npz``.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rhoflow.crystal import Crystal
from rhoflow.descriptors.base import VectorSet
from rhoflow.descriptors.graph import CrystalGraphSpec, crystal_graphs
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.errors import ConfigError, TrainingError
from rhoflow.models.base import Start
from rhoflow.models.cnn3d.fit import fit as fit_cnn3d
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.graph.fit import fit as fit_graph
from rhoflow.models.graph.spec import GraphSpec
from rhoflow.models.mlp.fit import fit as fit_mlp
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.models.qdf.fit import fit as fit_qdf
from rhoflow.models.qdf.gcn import fit as fit_gcn
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec
from rhoflow.training import distributed, loop
from rhoflow.training.loop import Batch, train
from rhoflow.training.spec import OptimiserSpec
from tests.qdf_cases import GRAPH, OURS, SMALL, molecules

Found = dict[str, np.ndarray]

EPOCHS = 6


class Kept:
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.state: dict[str, torch.Tensor] | None = None

    def load(self) -> dict[str, torch.Tensor] | None:
        return self.state

    def save(self, state: dict[str, torch.Tensor]) -> None:
        self.state = {name: value.detach().clone() for name, value in state.items()}

    def found(self) -> Found:
        return {name: value.numpy() for name, value in (self.state or {}).items()}


def optimiser(devices: int, batch_size: int) -> OptimiserSpec:
    return OptimiserSpec(epochs=EPOCHS, batch_size=batch_size, devices=devices)


def spots(n: int) -> SpotSet:
    """Ten random spots a structure."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=(10 * n, 3)).astype(np.float32)
    amplitude = rng.uniform(size=(1, 10 * n)).astype(np.float32)
    names = tuple(str(i) for i in range(n))
    offsets = np.arange(n + 1, dtype=np.int64) * 10
    return SpotSet(names, offsets, g, amplitude, np.full(n, 10.0))


def gradient(devices: int, n: int = 5) -> Found:
    """Of a linear model, after one step on n samples."""
    group = distributed.group(devices)
    x, y, model = line(n)
    mine = group.share(n)
    step = Batch(x[mine.rows], y[mine.rows], mine.weight)
    spec = optimiser(devices, n)
    moved = torch.optim.SGD(model.parameters(), lr=0.0)
    loss = loop._step(group.wrap(model), step, nn.functional.mse_loss, moved, spec, group.size)
    assert torch.isfinite(loss)
    assert model.weight.grad is not None
    return {"gradient": model.weight.grad.numpy()}


def line(n: int) -> tuple[torch.Tensor, torch.Tensor, nn.Linear]:
    """n samples (n, 3), their targets (n, 1), and a linear model without a constant."""
    rng = torch.Generator().manual_seed(n)
    model = nn.Linear(3, 1, bias=False)
    model.weight.data = torch.tensor([[1.0, -2.0, 0.5]])
    return torch.randn(n, 3, generator=rng), torch.randn(n, 1, generator=rng), model


def cnn3d(devices: int, batch_size: int, seeds: tuple[int, ...] = (3, 4)) -> Found:
    """Five structures in three rotations: batches of 4 leave 3, batches of 7 leave 1."""
    kept, inputs = Kept(), spots(5)
    spec = CNN3DSpec(
        channels=(2, 3), dense=(5,), replicas=3, optimiser=optimiser(devices, batch_size)
    )
    voxels = R3DVSSpec(length_angstrom=3.2, deposit="linear")
    y = np.arange(10.0).reshape(5, 2) ** 2
    fitted = fit_cnn3d(spec, voxels, inputs, y, Start(seeds, lambda digest: kept))
    return {**kept.found(), "predicted": fitted.predict(inputs)}


def mlp(devices: int, batch_size: int, dropout: float = 0.0) -> Found:
    kept, rng = Kept(), np.random.default_rng(1)
    x = VectorSet(tuple(map(str, range(9))), rng.normal(size=(9, 4)))
    spec = MLPSpec(hidden=(6,), dropout=dropout, optimiser=optimiser(devices, batch_size))
    fitted = fit_mlp(spec, x, rng.normal(size=(9, 1)), Start((1, 2), lambda digest: kept))
    return {**kept.found(), "predicted": fitted.predict(x)}


def molecular(devices: int, spec: QDFSpec | GCNSpec, batch_size: int) -> Found:
    """Seven molecules: batches of 3 leave one."""
    kept, (inputs, y) = Kept(), molecules(7)
    shared = spec.model_copy(update={"optimiser": optimiser(devices, batch_size)})
    start = Start((1, 2), lambda digest: kept, (True,))
    if isinstance(shared, QDFSpec):
        fitted = fit_qdf(shared, inputs, y, start)
    else:
        fitted = fit_gcn(shared, inputs, y, start)
    return {**kept.found(), "predicted": fitted.predict(inputs)}


def graph(devices: int, batch_size: int) -> Found:
    """Seven rock salts of one edge each: batches of 3 leave one."""
    kept, edges = Kept(), np.linspace(3.8, 5.0, 7)
    atoms = ("Mg", "O"), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    cells = [edge / 2 * (np.ones((3, 3)) - np.eye(3)) for edge in edges]
    joined = CrystalGraphSpec(max_neighbours=6)
    inputs = crystal_graphs(
        [Crystal(f"m{i}", cell, *atoms) for i, cell in enumerate(cells)], joined
    )
    spec = GraphSpec(width=16, depth=1, gaussians=5, optimiser=optimiser(devices, batch_size))
    fitted = fit_graph(spec, joined, inputs, edges[:, None], Start((1, 2), lambda digest: kept))
    return {**kept.found(), "predicted": fitted.predict(inputs)}


class InterruptionError(Exception):
    pass


def resumed(devices: int, stop: int = EPOCHS) -> Found:
    """A training that is interrupted before an epoch and begun again, with a state every epoch."""
    group, kept = distributed.group(devices), Kept()
    (x, y, _), mine = line(10), group.share(10)

    def begin(last: int) -> dict[str, torch.Tensor]:
        def batches(epoch: int) -> list[Batch]:
            if epoch == last:
                raise InterruptionError
            return [Batch(x[mine.rows], y[mine.rows], mine.weight)]

        # Gradients of several buckets, whose order matters from three processes on.
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 700), nn.Linear(700, 700), nn.Linear(700, 1))
        loss, spec = nn.functional.mse_loss, optimiser(devices, 10)
        train(model, batches, loss, spec, checkpoint=kept, group=group)
        return model.state_dict()

    often, loop.SAVE_EVERY_S = loop.SAVE_EVERY_S, -1.0
    try:
        with suppress(InterruptionError):
            begin(stop)
        weights = begin(EPOCHS)
    finally:
        loop.SAVE_EVERY_S = often
    return {**kept.found(), **{name: value.numpy() for name, value in weights.items()}}


def masks(devices: int) -> Found:
    """What dropout lets through in the epochs of a training."""
    group, seen = distributed.group(devices), []

    class Recorder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dropout, self.last = nn.Dropout(0.5), nn.Linear(40, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append(self.dropout(inputs))
            return self.last(seen[-1])

    n, x = group.size, torch.ones(group.size, 40)
    mine = group.share(n)
    step = Batch(x[mine.rows], torch.zeros(1, 1), mine.weight)
    spec = optimiser(devices, n)
    train(Recorder(), lambda epoch: [step], nn.functional.mse_loss, spec, group=group)
    return {"masks": torch.stack(seen).detach().numpy()}


def refusal(begin: Callable[[], Any]) -> Found:
    """The message of the error that is due."""
    try:
        begin()
    except (ConfigError, TrainingError) as error:
        return {"message": np.array(f"{type(error).__name__}: {error}")}
    raise AssertionError("no error")


def diverges(devices: int) -> Found:
    """Only the last sample, which is the last process's, is infinite."""
    group, (x, y, model) = distributed.group(devices), line(4)
    y[-1] = torch.inf
    mine = group.share(4)
    step = Batch(x[mine.rows], y[mine.rows], mine.weight)
    loss, spec = nn.functional.mse_loss, optimiser(devices, 4)
    return refusal(lambda: train(model, lambda epoch: [step], loss, spec, group=group))


def unshared(devices: int) -> Found:
    """Every process works through the whole batch."""
    group, (x, y, model) = distributed.group(devices), line(4)
    loss, spec = nn.functional.mse_loss, optimiser(devices, 4)
    return refusal(lambda: train(model, lambda epoch: [Batch(x, y)], loss, spec, group=group))


def from_first(devices: int) -> Found:
    """A state that the first process alone has, and one that it has not."""
    group = distributed.group(devices)
    state = {"ä.0": torch.arange(6).view(2, 3).T, "none": torch.empty(0), "one": torch.tensor(2.5)}
    mine = state if group.is_first else {"other": torch.ones(9)}
    assert group.from_first(None if group.is_first else state) is None
    return {name: value.numpy() for name, value in (group.from_first(mine) or {}).items()}


# Cases of any number of processes; a process alone works through the same ones.
CASES: dict[str, Callable[[int], Found]] = {
    "gradient, equal": lambda n: gradient(n, 4),
    "gradient, unequal": lambda n: gradient(n, 5),
    "gradient, one sample": lambda n: gradient(n, 1),
    "cnn3d, last batch of 3": lambda n: cnn3d(n, 4),
    "cnn3d, last batch of 1": lambda n: cnn3d(n, 7),
    "cnn3d, one seed": lambda n: cnn3d(n, 6, (5,)),
    "mlp, last batch of 1": lambda n: mlp(n, 4),
    "mlp, one batch": lambda n: mlp(n, 64),
    "mlp, dropout": lambda n: mlp(n, 4, 0.5),
    "mlp, one device": lambda n: mlp(1, 4),
    "qdf, last batch of 1": lambda n: molecular(n, SMALL, 3),
    "qdf, all switches": lambda n: molecular(n, OURS, 4),
    "gcn, last batch of 1": lambda n: molecular(n, GRAPH, 3),
    "graph, last batch of 1": lambda n: graph(n, 3),
    "undisturbed": resumed,
    "resumed": lambda n: resumed(n, 4),
    "masks": masks,
    "diverges": diverges,
    "from first": from_first,
}
# Cases that are errors of a group.
WRONG: dict[str, Callable[[int], Found]] = {
    "unshared": unshared,
    "another number": lambda n: refusal(lambda: distributed.group(n + 1)),
}


def main(folder: Path, names: list[str]) -> None:
    """Work through cases as one process of a group."""
    torch.set_num_threads(1)
    with distributed.joined(folder / "meeting") as group:
        cases = {**CASES, **WRONG}
        found = {
            f"{case}/{name}": array
            for case in names or cases
            for name, array in cases[case](group.size).items()
        }
    np.savez(folder / f"{os.environ['RANK']}.npz", allow_pickle=False, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
