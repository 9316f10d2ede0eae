"""The loop that trains every torch model."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from rhoflow.errors import TrainingError
from rhoflow.training.distributed import ALONE, Group, check_weights
from rhoflow.training.spec import OptimiserSpec

logger = logging.getLogger(__name__)

SAVE_EVERY_S = 60.0

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """One step's input to the network and what it should answer.

    Attributes:
        inputs: of the samples that this process works through: a tensor, or several in a tuple.
        targets: of the same.
        weight: these samples over those of the global batch, which a group shares.
    """

    inputs: Any
    targets: torch.Tensor
    weight: float = 1.0


class Checkpoint(Protocol):
    """Where the state of one training is kept while it runs, and found again after a stop."""

    def load(self) -> dict[str, torch.Tensor] | None:
        """The last state saved, or None."""
        ...

    def save(self, state: dict[str, torch.Tensor]) -> None:
        """Replace the state."""
        ...


def train(
    model: nn.Module,
    epoch_batches: Callable[[int], Iterable[Batch]],
    loss: Loss,
    spec: OptimiserSpec,
    *,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    group: Group = ALONE,
) -> list[float]:
    """Train a model in place.

    An interrupted training that finds its checkpoint ends with the same weights, since an epoch's
    batches and random numbers follow from its number.

    A group trains as one device would at equal global batch, up to rounding; with dropout in
    distribution only, since every process draws masks of its own.

    Args:
        model: on its device already, with the same weights on every process of the group.
        epoch_batches: the batches of an epoch, by the epoch's number alone; of a group, this
            process's share of each.
        loss: mean over a batch, of prediction and target.
        spec: optimiser settings.
        seed: of dropout.
        checkpoint: where the state is kept; None keeps none. A group's first process alone
            reads and writes it.
        group: the processes that share the batches.

    Returns:
        The mean training loss of every epoch, the same on every process.

    Raises:
        TrainingError: the loss is not finite.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
    )
    history = _resume(model, optimiser, checkpoint, group)
    forward = group.wrap(model)
    if spec.compiled:
        forward = torch.compile(forward)
    model.train()
    saved = time.monotonic()
    for epoch in range(len(history), spec.epochs):
        torch.manual_seed(_epoch_seed(seed, epoch, group))
        for parameters in optimiser.param_groups:
            parameters["lr"] = learning_rate(spec, epoch)
        steps = [
            (_step(forward, batch, loss, optimiser, spec, group.size), batch.weight)
            for batch in epoch_batches(epoch)
        ]
        history.append(_mean_loss(steps, group))
        _check(history, spec)
        due = epoch + 1 == spec.epochs or time.monotonic() - saved > SAVE_EVERY_S
        if checkpoint and group.is_first and due:
            checkpoint.save(_state(model, optimiser, history))
            saved = time.monotonic()
    logger.info("trained %d epochs, loss %.3g to %.3g", spec.epochs, history[0], history[-1])
    return history


def _check(history: list[float], spec: OptimiserSpec) -> None:
    """Refuse to go on after an epoch whose loss is not finite."""
    if not math.isfinite(history[-1]):
        raise TrainingError(
            f"a training diverged in epoch {len(history)} of {spec.epochs}: its loss is "
            f"{history[-1]}; lower optimiser.learning_rate ({spec.learning_rate:g})"
        )


def _epoch_seed(seed: int, epoch: int, group: Group) -> int:
    """Of dropout: each process that shares batches draws masks of its own."""
    rank = group.rank if group.size > 1 else 0
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def learning_rate(spec: OptimiserSpec, epoch: int) -> float:
    """The rate of an epoch: on a half cosine from the first to the last, or halved so far."""
    if spec.halve_every is not None:
        return spec.learning_rate * 0.5 ** (epoch // spec.halve_every)
    last = spec.learning_rate * spec.final_rate
    share = (1 + math.cos(math.pi * epoch / spec.epochs)) / 2
    return last + (spec.learning_rate - last) * share


def _step(
    model: Callable[[Any], torch.Tensor],
    batch: Batch,
    loss: Loss,
    optimiser: torch.optim.Optimizer,
    spec: OptimiserSpec,
    group_size: int,
) -> torch.Tensor:
    """One step of the optimiser; the mean loss of this process's samples."""
    optimiser.zero_grad(set_to_none=True)
    with autocast(batch.targets.device, spec):
        prediction = model(batch.inputs)
    value = loss(prediction.float(), batch.targets)
    # A group averages gradients over its processes, whatever number of samples each has.
    counted = value if group_size == 1 else value * (group_size * batch.weight)
    counted.backward()
    optimiser.step()
    return value.detach()


def _mean_loss(steps: list[tuple[torch.Tensor, float]], group: Group) -> float:
    """The mean over the steps of an epoch of the global batch's loss."""
    losses = torch.stack([value for value, _ in steps])
    if group.size > 1:
        weights = torch.tensor([weight for _, weight in steps], dtype=torch.float64)
        weighted = weights * losses.double().cpu()
        losses, weights = group.sum(torch.stack([weighted, weights]))
        check_weights(weights)
    return float(losses.mean())


def autocast(device: torch.device, spec: OptimiserSpec) -> torch.autocast:
    """The arithmetic that the spec asks for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=spec.precision == "bfloat16")


def _state(
    model: nn.Module, optimiser: torch.optim.Optimizer, history: list[float]
) -> dict[str, torch.Tensor]:
    """Weights, the optimiser's moments and the losses, by flat names."""
    moments = {
        f"optimiser.{i}.{name}": torch.as_tensor(value)
        for i, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    return {**weights, **moments, "history": torch.tensor(history, dtype=torch.float64)}


def _fits(state: dict[str, torch.Tensor], model: nn.Module) -> bool:
    """Whether a state is one of this model; one of another version of the code is left aside."""
    known = {n.removeprefix("model."): v for n, v in state.items() if n.startswith("model.")}
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    return "history" in state and {n: v.shape for n, v in known.items()} == shapes


def _resume(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    checkpoint: Checkpoint | None,
    group: Group,
) -> list[float]:
    """Put back the last state saved; the losses of the epochs that it has behind it."""
    state = group.from_first(checkpoint.load() if checkpoint and group.is_first else None)
    if state is None or not _fits(state, model):
        return []
    model.load_state_dict(
        {n.removeprefix("model."): v for n, v in state.items() if n.startswith("model.")}
    )
    moments: dict[int, dict[str, Any]] = {}
    for name, value in state.items():
        if name.startswith("optimiser."):
            _, index, moment = name.split(".", 2)
            moments.setdefault(int(index), {})[moment] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    history = [float(value) for value in state["history"]]
    logger.info("training goes on after epoch %d", len(history))
    return history
