"""Splits, drawn once from a seed and written down."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.errors import DataError
from rhoflow.evaluation.protocol import LearningCurveSpec


def draw(
    ids: Sequence[str],
    spec: LearningCurveSpec,
    *,
    study: str,
    groups: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Draw test and training structures for every redraw.

    The training structures keep their order: the first n of them are the training set of size
    n, so a larger training set contains every smaller one of the same redraw.

    Args:
        ids: usable structures; their order does not matter.
        spec: sizes, number of redraws and seed.
        study: named in errors.
        groups: what each structure is kept together with, its formula say; None: each by itself.

    Returns:
        Columns redraw, part ("train" or "test"), order, material_id.

    Raises:
        DataError: fewer structures than the largest training set and the test set need.
    """
    names = np.asarray(sorted(ids))
    group = np.arange(len(names)) if groups is None else np.array([groups[n] for n in names])
    n_train, n_test = max(spec.train_sizes), spec.test_size
    parts = np.repeat(["test", "train"], [n_test, n_train])
    order = np.concatenate([np.arange(n_test), np.arange(n_train)])
    draws = []
    for redraw in range(spec.redraws):
        rng = np.random.default_rng([spec.seed, redraw])
        chosen = _draw_one(names, group, n_train, n_test, rng)
        if len(chosen) < n_train + n_test:
            raise DataError(_too_few(study, len(names), len(chosen), n_train, n_test))
        draws.append(
            pd.DataFrame({"redraw": redraw, "part": parts, "order": order, "material_id": chosen})
        )
    return pd.concat(draws, ignore_index=True)


def _draw_one(
    names: NDArray[np.str_],
    group: NDArray[np.generic],
    n_train: int,
    n_test: int,
    rng: np.random.Generator,
) -> NDArray[np.str_]:
    """Test structures, then training structures; no group stands on both sides."""
    shuffled = rng.permutation(len(names))
    # Whole groups in the order of their first member fill the test set.
    _, first, member = np.unique(group[shuffled], return_index=True, return_inverse=True)
    by_group = shuffled[np.argsort(first[member], kind="stable")]
    test = by_group[:n_test]
    rest = shuffled[~np.isin(group[shuffled], group[test])]
    return names[np.concatenate([test, rest[:n_train]])]


def _too_few(study: str, n: int, n_split: int, n_train: int, n_test: int) -> str:
    left = "" if n_split == n else f", of which a split without divided groups leaves {n_split}"
    return (
        f"study '{study}': {n} structures have all its targets{left}, but test_size {n_test} and "
        f"the largest of train_sizes {n_train} need {n_train + n_test}. Lower one of them, or "
        "raise the data set's selection.size; results/dft says which calculations were lost and "
        "why"
    )
