"""Losses of ensembles: the mean over a batch, summed over the networks.

The sum keeps the networks apart: each one's gradient is that of its own mean loss.
"""

import torch
from torch.nn import functional


def sum_of_mean_squares(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of (networks, batch, outputs) and (batch, outputs)."""
    return ((outputs - targets) ** 2).mean(dim=(1, 2)).sum()


def sum_of_cross_entropies(outputs: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Of (networks, batch, classes) logits and (batch,) int64 classes."""
    each = [functional.cross_entropy(logits, classes) for logits in outputs]
    return torch.stack(each).sum()


def sum_of_absolute_sums(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of (networks, batch, points) and (batch, points), absolute errors added up over points.

    A batch may have another number of points than the next.
    """
    return (outputs - targets).abs().sum(dim=2).mean(dim=1).sum()
