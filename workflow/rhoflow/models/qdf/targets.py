"""What networks that add up points or atoms are trained on, and in which order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.models.base import Standardiser
from rhoflow.models.qdf.spec import Pooling


class TargetScale:
    """Targets as they are, or with unit spread; put back after prediction.

    From a target that grows with the size of a molecule, the sum over its atoms of one constant an
    element is taken first, by least squares over the training set: a mean would be wrong for
    molecules larger than these.

    Args:
        y: (n, targets) of the training set.
        molecules: the training set.
        elements: atomic numbers in it.
        extensive: (targets,).
        standardise: false leaves targets as they are.
    """

    def __init__(
        self,
        y: NDArray[np.float64],
        molecules: MoleculeSet,
        elements: Sequence[int],
        *,
        extensive: Sequence[bool],
        standardise: bool,
    ) -> None:
        self.elements = tuple(elements)
        self.constants = np.zeros((len(self.elements), y.shape[1]))
        as_they_are = {"mean": np.zeros(y.shape[1]), "scale": np.ones(y.shape[1])}
        self.scale = Standardiser.known(as_they_are)
        if standardise:
            grows = np.asarray(extensive, dtype=bool)
            counts = self._counts(molecules)
            self.constants[:, grows] = np.linalg.lstsq(counts, y[:, grows], rcond=None)[0]
            self.scale = Standardiser(y - counts @ self.constants)
            self.scale.mean = np.where(grows, 0.0, self.scale.mean)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All numbers, from which ``known`` makes it again."""
        elements = np.array(self.elements, dtype=np.int64)
        return {"elements": elements, "constants": self.constants, **self.scale.arrays()}

    @classmethod
    def known(cls, arrays: Mapping[str, NDArray[Any]]) -> "TargetScale":
        """The scale with these numbers."""
        scale = cls.__new__(cls)
        scale.elements = tuple(int(z) for z in arrays["elements"])
        scale.constants = arrays["constants"]
        scale.scale = Standardiser.known(arrays)
        return scale

    def _counts(self, molecules: MoleculeSet) -> NDArray[np.float64]:
        """(n, elements) atoms of each element."""
        is_element = molecules.numbers[:, None] == np.array(self.elements)
        before = np.concatenate([np.zeros((1, len(self.elements))), np.cumsum(is_element, axis=0)])
        return np.diff(before[molecules.offsets], axis=0)

    def forward(self, y: NDArray[np.float64], molecules: MoleculeSet) -> NDArray[np.float64]:
        """(n, targets) that a network learns."""
        return self.scale.forward(y - self._counts(molecules) @ self.constants)

    def inverse(self, z: NDArray[np.float64], molecules: MoleculeSet) -> NDArray[np.float64]:
        """(…, n, targets) answers of networks in the units of the targets."""
        return self.scale.inverse(z) + self._counts(molecules) @ self.constants


def sums(pooling: Pooling, extensive: Sequence[bool]) -> tuple[bool, ...]:
    """(targets,) which targets read a sum over a molecule; the others read a mean."""
    return tuple(e if pooling == "by_target" else pooling == "sum" for e in extensive)


def epoch_order(n: int, batch_size: int, seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """The batches of an epoch, as positions, by seed and number of the epoch alone."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    for start in range(0, n, batch_size):
        yield order[start : start + batch_size]


def by_size(points: NDArray[np.int64], limit: int) -> Iterator[NDArray[np.int64]]:
    """Positions of molecules of like size, as many together as a limit of points allows.

    Args:
        points: (n,) of each molecule.
        limit: points of a batch, all filled up to the largest; a larger molecule comes alone.
    """
    order = np.argsort(points, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        last = end == len(order)
        if last or (end + 1 - start) * points[order[end]] > limit:
            yield order[start:end]
            start = end
