"""Gaussian kernel ridge with one width and one ridge for all targets, both by leaving one out.

``rhoflow.models.krr`` fits and predicts. Its own choice is one for each target, over ranges made
for noisy data. Exact solutions have no noise: here the least ridge is that of rounding.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.spatial.distance import pdist

from rhoflow.descriptors.base import VectorSet
from rhoflow.models.krr.fit import Choice, FittedKRR, kernel
from rhoflow.models.krr.spec import KRRSpec

# In units of the median distance.
WIDTHS = (1.0, 2.0, 4.0, 8.0, 16.0)

# In units of the kernel's largest eigenvalue: 5e-17 of it are too few for a Cholesky factor.
RIDGES = 10.0 ** np.arange(-15, 1)


def fit_together(x: NDArray[np.float64], y: NDArray[np.float64]) -> FittedKRR:
    """Fit (n, targets) of one unit to (n, d) vectors, with one width and ridge."""
    choice = choose(x, y - y.mean(axis=0))
    spec = KRRSpec(kernel="gaussian", ridge=choice.ridge, width=choice.width)
    return FittedKRR(spec, vectors(x), y)


def fit_each(x: NDArray[np.float64], y: NDArray[np.float64]) -> FittedKRR:
    """Fit (n, targets) to (n, d) vectors, each target with a width and a ridge of its own."""
    return FittedKRR(KRRSpec(kernel="gaussian", tuned=True), vectors(x), y)


def choose(x: NDArray[np.float64], z: NDArray[np.float64]) -> Choice:
    """Width and ridge of the smallest leave-one-out error: the mean norm over all targets.

    The error at a structure is that of ``rhoflow.models.krr.fit.tune``, w_i / [(K + λ)⁻¹]_ii.

    Args:
        x: (n, d).
        z: (n, targets) of one unit, with zero mean.
    """
    spec = KRRSpec(kernel="gaussian")
    distances = pdist(x)
    different = distances[distances > 0]
    median = float(np.median(different)) if len(different) else 1.0
    best, chosen = np.inf, Choice(spec.ridge, median)
    for width in np.array(WIDTHS) * median:
        values, states = eigh(kernel(spec, x, x, width))
        projected = states.T @ z
        for ridge in RIDGES * values[-1]:
            inverse = 1 / (np.maximum(values, 0) + ridge)
            left_out = states @ (inverse[:, None] * projected)
            left_out /= (states**2 @ inverse)[:, None]
            error = float(np.linalg.norm(left_out, axis=1).mean())
            if error < best:
                best, chosen = error, Choice(float(ridge), float(width))
    return chosen


def vectors(x: NDArray[np.float64]) -> VectorSet:
    """(n, d) as the descriptors that kernel ridge reads."""
    return VectorSet(tuple(str(i) for i in range(len(x))), x)
