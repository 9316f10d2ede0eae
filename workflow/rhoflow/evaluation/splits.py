"""Splits, drawn once from a seed and written down."""

from collections.abc import Collection, Mapping, Sequence

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
    sizes: Mapping[str, int] | None = None,
    elements: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """Draw test and training structures for every redraw.

    The training structures keep their order: the first n of them are the training set of size
    n, so a larger training set contains every smaller one of the same redraw. Where the protocol
    has ``train_max_atoms``, both sets hold no structure of more atoms; those are the part "larger".
    Structures with an element of ``unseen_elements``, whatever their size, are the part "unseen".

    Args:
        ids: usable structures; their order does not matter.
        spec: sizes, number of redraws and seed.
        study: named in errors.
        groups: what each structure is kept together with, its formula say; None: each by itself.
        sizes: number of atoms of each structure; needed with ``train_max_atoms`` alone.
        elements: those of each structure; needed with ``unseen_elements`` alone.

    Returns:
        Columns redraw, part ("test", "train", "larger" or "unseen"), order, material_id.

    Raises:
        DataError: fewer structures than the largest training set and the test set need, or none
            of more than ``train_max_atoms`` atoms, or none with an unseen element.
    """
    names = np.asarray(sorted(ids))
    unseen = _unseen(names, spec, elements, study)
    apart, names = names[unseen], names[~unseen]
    larger = _larger(names, spec, sizes, study)
    n_train, n_test = max(spec.train_sizes), spec.test_size
    draws = []
    for redraw in range(spec.redraws):
        rng = np.random.default_rng([spec.seed, redraw])
        test, train = _draw_one(names[~larger], groups, n_train, n_test, rng)
        if len(test) + len(train) < n_train + n_test:
            raise DataError(_too_few(study, spec, len(names[~larger]), len(test) + len(train)))
        # The larger ones are drawn last: how many they are does not change the other sets.
        parts = {"test": test, "train": train}
        if larger.any():
            parts["larger"] = _draw_larger(names[larger], groups, train, spec.larger_size, rng)
        if len(apart):
            parts["unseen"] = apart
        draws += [_rows(redraw, part, chosen) for part, chosen in parts.items()]
    return pd.concat(draws, ignore_index=True)


def _rows(redraw: int, part: str, chosen: NDArray[np.str_]) -> pd.DataFrame:
    order = np.arange(len(chosen))
    return pd.DataFrame({"redraw": redraw, "part": part, "order": order, "material_id": chosen})


def _larger(
    names: NDArray[np.str_], spec: LearningCurveSpec, sizes: Mapping[str, int] | None, study: str
) -> NDArray[np.bool_]:
    """(n,) whether each structure has more atoms than any that is trained on."""
    limit = spec.train_max_atoms
    if limit is None:
        return np.zeros(len(names), dtype=bool)
    if sizes is None:
        raise DataError(f"study '{study}': train_max_atoms needs the number of atoms of all ids")
    n_atoms = np.array([sizes[n] for n in names], dtype=np.int64)
    if not (n_atoms > limit).any():
        raise DataError(
            f"study '{study}': train_max_atoms is {limit}, but none of the {len(names)} structures "
            f"that have all its targets has more atoms (at most {n_atoms.max(initial=0)}). Lower "
            "it, or raise the data set's selection.max_atoms"
        )
    return n_atoms > limit


def _unseen(
    names: NDArray[np.str_],
    spec: LearningCurveSpec,
    elements: Mapping[str, Collection[str]] | None,
    study: str,
) -> NDArray[np.bool_]:
    """(n,) whether each structure has an element that is not to be trained on."""
    if not spec.unseen_elements:
        return np.zeros(len(names), dtype=bool)
    if elements is None:
        raise DataError(f"study '{study}': unseen_elements needs the elements of all ids")
    without = set(spec.unseen_elements)
    found = np.array([not without.isdisjoint(elements[n]) for n in names], dtype=bool)
    if not found.any():
        raise DataError(
            f"study '{study}': none of the {len(names)} structures that have all its targets holds "
            f"{' or '.join(spec.unseen_elements)}; name other unseen_elements"
        )
    return found


def _draw_one(
    names: NDArray[np.str_],
    groups: Mapping[str, str] | None,
    n_train: int,
    n_test: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Test structures and training structures; no group stands on both sides."""
    group = np.arange(len(names)) if groups is None else np.array([groups[n] for n in names])
    shuffled = rng.permutation(len(names))
    # Whole groups in the order of their first member fill the test set.
    _, first, member = np.unique(group[shuffled], return_index=True, return_inverse=True)
    by_group = shuffled[np.argsort(first[member], kind="stable")]
    test = by_group[:n_test]
    rest = shuffled[~np.isin(group[shuffled], group[test])]
    return names[test], names[rest[:n_train]]


def _draw_larger(
    names: NDArray[np.str_],
    groups: Mapping[str, str] | None,
    train: NDArray[np.str_],
    size: int | None,
    rng: np.random.Generator,
) -> NDArray[np.str_]:
    """At most so many of the larger structures, none from a group that is trained on."""
    if groups is not None:
        trained = {groups[n] for n in train}
        names = np.array([n for n in names if groups[n] not in trained], dtype=names.dtype)
    return rng.permutation(names)[:size]


def _too_few(study: str, spec: LearningCurveSpec, n: int, n_split: int) -> str:
    n_train, n_test, limit = max(spec.train_sizes), spec.test_size, spec.train_max_atoms
    small = "" if limit is None else f" and at most {limit} atoms"
    left = "" if n_split == n else f", of which a split without divided groups leaves {n_split}"
    return (
        f"study '{study}': {n} structures have all its targets{small}{left}, but test_size "
        f"{n_test} and the largest of train_sizes {n_train} need {n_train + n_test}. Lower one of "
        "them, or raise the data set's selection.size; results/dft says which calculations were "
        "lost and why"
    )
