"""A second model that learns what a first one gets wrong.

Kajita et al., Sci. Rep. 7, 16991 (2017), "SOAP → R3DVS": the residual of the first model on the
training set is the target of the second, and the two answers add up. Test structures enter
neither fit. The first model has seen the structures on which its residual is taken, so there the
residual is smaller than on new ones; with folds it is taken on structures that were left out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoflow.descriptors.base import DescriptorSet, PairedSet
from rhoflow.models.base import Fitted

Fit = Callable[[Any, NDArray[np.float64]], Fitted[Any]]


class FittedStack:
    """Two fitted models whose answers add up."""

    def __init__(self, first: Fitted[Any], second: Fitted[Any]) -> None:
        self.first, self.second = first, second

    def predict(self, inputs: PairedSet) -> NDArray[np.float64]:
        """(seeds, n, targets); several seeds of the first model answer with their mean."""
        first = self.first.predict(inputs.first).mean(axis=0)
        return first + self.second.predict(inputs.second)

    def predict_poses(self, inputs: PairedSet, n_poses: int) -> NDArray[np.float64]:
        """(seeds, n, poses, targets); one pose where neither model knows of poses."""
        first = _over_poses(self.first, inputs.first, n_poses).mean(axis=0)
        return first + _over_poses(self.second, inputs.second, n_poses)


def _over_poses(fitted: Any, inputs: DescriptorSet, n_poses: int) -> NDArray[np.float64]:
    """(seeds, n, poses or 1, targets)."""
    if hasattr(fitted, "predict_poses"):
        return fitted.predict_poses(inputs, n_poses)
    return fitted.predict(inputs)[:, :, None]


def fit(
    first: Fit, second: Fit, inputs: PairedSet, y: NDArray[np.float64], *, folds: int, seed: int
) -> FittedStack:
    """Fit the first model, then the second to its residual.

    Args:
        first: fits a model to inputs.first.
        second: fits a model to inputs.second.
        inputs: n training structures.
        y: (n, targets).
        folds: 0: the residual of a model that saw the structure (the paper); k: of k models that
            each left out a part of the training set.
        seed: of the folds.
    """
    whole = first(inputs.first, y)
    if folds:
        answers = _left_out(first, inputs.first, y, folds, seed)
    else:
        answers = whole.predict(inputs.first).mean(axis=0)
    return FittedStack(whole, second(inputs.second, y - answers))


def _left_out(
    fit_one: Fit, inputs: DescriptorSet, y: NDArray[np.float64], folds: int, seed: int
) -> NDArray[np.float64]:
    """(n, targets) answers for structures by models that did not see them."""
    order = np.random.default_rng(seed).permutation(len(y))
    answers = np.empty_like(y)
    for part in np.array_split(order, min(folds, len(y))):
        kept = np.setdiff1d(order, part)
        fitted = fit_one(inputs.take(kept), y[kept])
        answers[part] = fitted.predict(inputs.take(part)).mean(axis=0)
    return answers
