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
    """The training mean."""

    def __init__(self, y: NDArray[np.float64]) -> None:
        self.mean = float(np.mean(y))

    def predict(self, inputs: DescriptorSet) -> NDArray[np.float64]:
        """(n,) the same value for every structure."""
        return np.full(len(inputs), self.mean)


def fit(spec: MeanSpec, inputs: DescriptorSet, y: NDArray[np.float64], *, seed: int) -> FittedMean:
    """Remember the mean of (n,) targets."""
    return FittedMean(y)
