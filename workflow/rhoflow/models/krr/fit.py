"""Fitting and prediction."""

import numpy as np
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import pairwise_distances

from rhoflow.descriptors.base import VectorSet
from rhoflow.models.base import Standardiser
from rhoflow.models.krr.spec import KRRSpec


class FittedKRR:
    """A fitted kernel ridge model."""

    def __init__(self, spec: KRRSpec, inputs: VectorSet, y: NDArray[np.float64]) -> None:
        x = inputs.values
        self.shift = x.mean(axis=0) if spec.standardise_inputs else np.zeros(x.shape[1])
        spread = x.std(axis=0)
        usable = spec.standardise_inputs & (spread > 1e-12)
        self.scale = np.where(usable, spread, 1.0)
        self.targets = Standardiser(y)
        x = (x - self.shift) / self.scale
        if spec.kernel == "gaussian":
            width = spec.width or _median_distance(x)
            self.model = KernelRidge(kernel="rbf", gamma=0.5 / width**2, alpha=spec.ridge)
        else:
            self.model = KernelRidge(kernel="linear", alpha=spec.ridge)
        self.model.fit(x, self.targets.forward(y))

    def predict(self, inputs: VectorSet) -> NDArray[np.float64]:
        """(n,) predictions in the unit of the targets."""
        x = (inputs.values - self.shift) / self.scale
        return self.targets.inverse(self.model.predict(x))


def _median_distance(x: NDArray[np.float64]) -> float:
    distances = pairwise_distances(x)[np.triu_indices(len(x), 1)]
    positive = distances[distances > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def fit(spec: KRRSpec, inputs: VectorSet, y: NDArray[np.float64], *, seed: int) -> FittedKRR:
    """Fit to (n, d) descriptors and (n,) targets; the seed changes nothing here."""
    return FittedKRR(spec, inputs, y)
