"""The mean of the training targets: the error that any model must beat."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rhoflow.descriptors.base import DescriptorSet
from rhoflow.spec import Spec


class MeanSpec(Spec):
    """Predict the mean of the training targets for every structure."""

    kind: Literal["mean"] = "mean"
    algorithm: Literal[1] = 1


class FittedMean:
    """The training mean of (n, targets)."""

    def __init__(self, y: NDArray[np.float64]) -> None:
        self.mean = np.mean(y, axis=0)

    def predict(self, inputs: DescriptorSet) -> NDArray[np.float64]:
        """(1, n, targets) the same values for every structure."""
        return np.tile(self.mean, (1, len(inputs), 1))
