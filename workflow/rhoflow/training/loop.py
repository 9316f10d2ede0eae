"""The loop that trains every torch model."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from rhoflow.training.spec import OptimiserSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """One step's input to the network and what it should answer."""

    inputs: torch.Tensor
    targets: torch.Tensor


def train(
    model: nn.Module,
    epoch_batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    spec: OptimiserSpec,
) -> list[float]:
    """Train a model in place.

    Args:
        model: on its device already.
        epoch_batches: the batches of an epoch, by the epoch's number.
        loss: of prediction and target.
        spec: optimiser settings.

    Returns:
        The mean training loss of every epoch.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, spec.epochs, eta_min=spec.learning_rate * spec.final_rate
    )
    history = []
    model.train()
    for epoch in range(spec.epochs):
        losses = [_step(model, batch, loss, optimiser) for batch in epoch_batches(epoch)]
        schedule.step()
        history.append(float(torch.stack(losses).mean()))
    logger.info("trained %d epochs, loss %.3g to %.3g", spec.epochs, history[0], history[-1])
    return history


def _step(
    model: nn.Module,
    batch: Batch,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    optimiser: torch.optim.Optimizer,
) -> torch.Tensor:
    optimiser.zero_grad(set_to_none=True)
    value = loss(model(batch.inputs), batch.targets)
    value.backward()
    optimiser.step()
    return value.detach()
