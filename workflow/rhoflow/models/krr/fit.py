"""Fitting and prediction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.spatial.distance import cdist

from rhoflow.descriptors.base import VectorSet
from rhoflow.models.base import Standardiser
from rhoflow.models.krr.spec import KRRSpec

# What ``tuned`` tries: ridges, and widths in units of the spec's.
RIDGES = 10.0 ** np.arange(-10, 3)
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Choice:
    """Ridge and kernel width."""

    ridge: float
    width: float


class FittedKRR:
    """A fitted kernel ridge model.

    Args:
        spec: kernel and ridge.
        inputs: (n, d) descriptors.
        y: (n, targets).
    """

    def __init__(self, spec: KRRSpec, inputs: VectorSet, y: NDArray[np.float64]) -> None:
        x = inputs.values
        self.spec = spec
        # A linear kernel of centred vectors is ridge regression with a free intercept.
        centred = spec.standardise_inputs or spec.kernel == "linear"
        self.shift = x.mean(axis=0) if centred else np.zeros(x.shape[1])
        spread = x.std(axis=0)
        usable = spec.standardise_inputs & (spread > 1e-12)
        self.scale = np.where(usable, spread, 1.0)
        self.x = (x - self.shift) / self.scale
        self.targets = Standardiser(y)
        z = self.targets.forward(y)
        distance = None if spec.kernel == "linear" else distances(spec, self.x, self.x)
        width = 1.0 if distance is None else spec.width or _median(distance)
        if spec.tuned:
            self.choices = tune(spec, self.x, z, width)
        else:
            self.choices = [Choice(spec.ridge, width)] * z.shape[1]
        self.weights = np.empty_like(z)  # (n, targets)
        for choice, columns in self._columns().items():
            matrix = kernel(spec, self.x, self.x, choice.width)
            matrix[np.diag_indices_from(matrix)] += choice.ridge
            self.weights[:, columns] = cho_solve(cho_factor(matrix), z[:, columns])

    def _columns(self) -> dict[Choice, list[int]]:
        """Targets that share ridge and width."""
        return {
            choice: [i for i, other in enumerate(self.choices) if other == choice]
            for choice in dict.fromkeys(self.choices)
        }

    def predict(self, inputs: VectorSet) -> NDArray[np.float64]:
        """(1, n, targets) predictions in the units of the targets."""
        x = (inputs.values - self.shift) / self.scale
        z = np.empty((len(x), self.weights.shape[1]))
        for choice, columns in self._columns().items():
            z[:, columns] = kernel(self.spec, x, self.x, choice.width) @ self.weights[:, columns]
        return self.targets.inverse(z)[None]


def distances(spec: KRRSpec, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m) distances of (n, d) and (m, d) vectors in the metric of the kernel."""
    metric = "cityblock" if spec.kernel == "laplacian" else "euclidean"
    return np.asarray(cdist(a, b, metric), dtype=np.float64)


def kernel(
    spec: KRRSpec, a: NDArray[np.float64], b: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """(n, m) kernel of (n, d) and (m, d) vectors."""
    if spec.kernel == "linear":
        return a @ b.T
    scaled = distances(spec, a, b) / width
    match spec.kernel:
        case "gaussian":
            return np.exp(-(scaled**2) / 2)
        case "matern":
            return (1 + np.sqrt(3) * scaled) * np.exp(-np.sqrt(3) * scaled)
        case "laplacian":
            return np.exp(-scaled)


def tune(
    spec: KRRSpec, x: NDArray[np.float64], z: NDArray[np.float64], width: float
) -> list[Choice]:
    """Ridge and width of the smallest mean absolute leave-one-out error, for each target.

    With the eigenvectors of the kernel all ridges cost little: the error at a structure that was
    left out is its weight over the diagonal of the inverse, w_i / [(K + λ)⁻¹]_ii. A linear kernel
    is one of centred vectors, and its targets are centred too: there each structure is what the
    others lack to zero, and would be known without any model. The intercept must be left out with
    it, and that is the inverse on all that is orthogonal to equal weights.

    Args:
        spec: the kernel.
        x: (n, d) scaled descriptors; of a linear kernel centred.
        z: (n, targets) standardised.
        width: that of the spec, in units of which widths are tried.
    """
    best = [(np.inf, Choice(spec.ridge, width))] * z.shape[1]
    for factor in (1.0,) if spec.kernel == "linear" else WIDTHS:
        matrix = kernel(spec, x, x, factor * width)
        values, vectors = _without_mean(matrix) if spec.kernel == "linear" else eigh(matrix)
        level = max(float(values.max(initial=0.0)), np.finfo(float).tiny)
        projected = vectors.T @ z
        for ridge in RIDGES * (level / len(x)):
            inverse = 1 / (np.maximum(values, 0) + ridge)
            weights = vectors @ (inverse[:, None] * projected)
            diagonal = (vectors**2) @ inverse
            errors = np.abs(weights / diagonal[:, None]).mean(axis=0)
            for i, error in enumerate(errors):
                if error < best[i][0]:
                    best[i] = (float(error), Choice(float(ridge), factor * width))
    return [choice for _, choice in best]


def _without_mean(
    matrix: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues and eigenvectors of a centred kernel, but the one of equal components."""
    # Its eigenvalue is zero, like others may be; raised above all of them it is the last.
    raised = 2 * np.trace(matrix) or 1.0
    values, vectors = eigh(matrix + raised / len(matrix))
    return values[:-1], vectors[:, :-1]


def _median(distance: NDArray[np.float64]) -> float:
    """The median distance between different structures; 1 if all are equal."""
    values = distance[np.triu_indices(len(distance), 1)]
    positive = values[values > 0]
    return float(np.median(positive)) if len(positive) else 1.0
