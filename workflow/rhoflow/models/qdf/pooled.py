"""What the quantum deep field and the graph convolution share: sums over a molecule's parts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.models.base import Start, nested
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec
from rhoflow.models.qdf.targets import TargetScale, sums
from rhoflow.training.devices import make_deterministic, pick_device
from rhoflow.training.distributed import Group
from rhoflow.training.ensemble import Ensemble, seeded
from rhoflow.training.loop import Batch, train
from rhoflow.training.losses import sum_of_mean_squares


class Parts(Protocol):
    """A batch of molecules as points or atoms."""

    @property
    def weights(self) -> torch.Tensor:
        """(batch, parts) what each counts in a sum; 0 for those that fill up."""
        ...


@dataclass(frozen=True)
class Task:
    """What a training is about.

    Attributes:
        reads_sum: (targets,) which of them read a sum over parts; the others read a mean.
        targets: between targets and what networks learn.
    """

    reads_sum: tuple[bool, ...]
    targets: TargetScale

    @classmethod
    def of(
        cls, spec: QDFSpec | GCNSpec, inputs: MoleculeSet, y: NDArray[np.float64], start: Start
    ) -> "Task":
        """That of n molecules and (n, targets) in their own units."""
        elements = [int(z) for z in np.unique(inputs.numbers)]
        extensive = start.extensive or (False,) * y.shape[1]
        targets = TargetScale(
            y, inputs, elements, extensive=extensive, standardise=spec.standardise
        )
        return cls(sums(spec.pooling, extensive), targets)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of the training set, ascending."""
        return self.targets.elements

    def learned(self, y: NDArray[np.float64], inputs: MoleculeSet) -> torch.Tensor:
        """(n, targets) that networks learn, on the device of the training."""
        return torch.from_numpy(self.targets.forward(y, inputs)).float().to(pick_device())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All numbers, from which ``known`` makes it again."""
        return {"reads_sum": np.array(self.reads_sum, dtype=np.int64), **self.targets.arrays()}

    @classmethod
    def known(cls, arrays: Mapping[str, NDArray[Any]]) -> "Task":
        """The task with these numbers."""
        return cls(tuple(bool(s) for s in arrays["reads_sum"]), TargetScale.known(arrays))


def learn(
    spec: QDFSpec | GCNSpec,
    build: Callable[[], nn.Module],
    batches: Callable[[int], Iterator[Batch]],
    inputs: MoleculeSet,
    y: NDArray[np.float64],
    start: Start,
    group: Group,
) -> Ensemble:
    """Train one network a seed on the same batches.

    Raises:
        TrainingError: the loss is not finite.
    """
    make_deterministic()
    model = seeded(build, start.seeds).to(pick_device())
    train(
        model,
        batches,
        sum_of_mean_squares,
        spec.optimiser,
        seed=start.seeds[0],
        checkpoint=start.checkpoint((spec,), inputs, y),
        group=group,
    )
    return model


class FittedPooled(ABC):
    """Trained networks of one architecture whose last layer reads a sum over parts.

    Args:
        model: the networks, on their device.
        task: what they were trained on.
        dimension: numbers in that sum.
    """

    def __init__(self, model: Ensemble, task: Task, dimension: int) -> None:
        self.model, self.task, self.dimension = model, task, dimension

    @abstractmethod
    def batches(self, inputs: MoleculeSet) -> Iterator[tuple[NDArray[np.int64], Parts]]:
        """Positions of some molecules, and what the networks read of them, until all had a turn.

        Raises:
            DataError: a molecule holds an element that the training set does not.
        """

    @abstractmethod
    def reader(self) -> Callable[[Any], torch.Tensor]:
        """The first network's sum over parts, (batch, dimension) of what ``batches`` makes."""

    def predict(self, inputs: MoleculeSet) -> NDArray[np.float64]:
        """(seeds, n, targets) in the units of the targets.

        Raises:
            DataError: a molecule holds an element that the training set does not.
        """
        self.model.eval()
        answers = np.empty((self.model.n_networks, len(inputs), len(self.task.reads_sum)))
        for chosen, parts in self.batches(inputs):
            with torch.no_grad():
                answers[:, chosen] = self.model(parts).cpu().numpy()
        return self.task.targets.inverse(answers, inputs)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights, elements and scales."""
        return nested(weights=self.model.arrays(), task=self.task.arrays())

    @property
    def vector_length(self) -> int:
        """Numbers of a molecule in ``features``."""
        return self.dimension * len(set(self.task.reads_sum))

    def features(self, inputs: MoleculeSet) -> NDArray[np.float64]:
        """(n, d) what the first network's last layer reads: sums, means, or both side by side.

        Raises:
            DataError: a molecule holds an element that the training set does not.
        """
        q, weights = self._sums(inputs)
        forms = {True: q, False: q / weights}
        return np.hstack([forms[kind] for kind in (True, False) if kind in self.task.reads_sum])

    def descriptor(
        self, inputs: MoleculeSet, *, extensive: bool | None = None
    ) -> NDArray[np.float64]:
        """(n, dimension) the first network's sum before its last layer, q of the paper's eq. 4.

        Args:
            inputs: n molecules.
            extensive: whether it is to describe what grows with the size of a molecule (a sum)
                or not (a mean); None: as the first target.

        Raises:
            DataError: a molecule holds an element that the training set does not.
        """
        q, weights = self._sums(inputs)
        total = self.task.reads_sum[0] if extensive is None else extensive
        return q if total else q / weights

    def _sums(self, inputs: MoleculeSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, dimension) sums over parts by the first network, and (n, 1) the parts' weights."""
        read = self.reader()
        totals, weights = np.empty((len(inputs), self.dimension)), np.empty((len(inputs), 1))
        for chosen, parts in self.batches(inputs):
            with torch.no_grad():
                totals[chosen] = read(parts).cpu().numpy()
            weights[chosen] = parts.weights.sum(dim=1, keepdim=True).cpu().numpy()
        return totals, weights
