"""Splits, drawn once from a seed and written down."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rhoflow.errors import DataError
from rhoflow.evaluation.protocol import LearningCurveSpec


def draw(ids: Sequence[str], spec: LearningCurveSpec, *, study: str) -> pd.DataFrame:
    """Draw test and training structures for every redraw.

    The training structures keep their order: the first n of them are the training set of size
    n, so a larger training set contains every smaller one of the same redraw.

    Args:
        ids: usable structures; their order does not matter.
        spec: sizes, number of redraws and seed.
        study: named in errors.

    Returns:
        Columns redraw, part ("train" or "test"), order, material_id.

    Raises:
        DataError: fewer structures than the largest training set and the test set need.
    """
    names = np.asarray(sorted(ids))
    n_train, n_test = max(spec.train_sizes), spec.test_size
    if len(names) < n_train + n_test:
        raise DataError(
            f"study '{study}': {len(names)} structures have all its targets, but test_size "
            f"{n_test} and the largest of train_sizes {n_train} need {n_train + n_test}. Lower "
            "one of them, or raise the data set's selection.size; results/dft says which "
            "calculations were lost and why"
        )
    parts = np.repeat(["test", "train"], [n_test, n_train])
    order = np.concatenate([np.arange(n_test), np.arange(n_train)])
    draws = []
    for redraw in range(spec.redraws):
        chosen = np.random.default_rng([spec.seed, redraw]).permutation(names)[: n_train + n_test]
        draws.append(
            pd.DataFrame({"redraw": redraw, "part": parts, "order": order, "material_id": chosen})
        )
    return pd.concat(draws, ignore_index=True)
