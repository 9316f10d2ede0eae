"""What every model offers: ``fit`` makes a ``Fitted`` from descriptors and targets."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rhoflow.descriptors.base import DescriptorSet


class Fitted(Protocol):
    """A trained model."""

    def predict(self, inputs: DescriptorSet) -> NDArray[np.float64]:
        """(n,) predictions for n structures, in the unit of the targets."""
        ...


class Standardiser:
    """Mean and standard deviation of the training targets, to be put back after prediction."""

    def __init__(self, y: NDArray[np.float64]) -> None:
        self.mean = float(np.mean(y))
        spread = float(np.std(y))
        self.scale = spread if spread > 0 else 1.0

    def forward(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Targets with zero mean and unit variance over the training set."""
        return (y - self.mean) / self.scale

    def inverse(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Back to the original unit."""
        return z * self.scale + self.mean
