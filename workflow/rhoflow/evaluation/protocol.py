"""The protocol that draws every learning curve.

Kajita et al., Sci. Rep. 7, 16991 (2017), "Regression": redrawn test sets, several training
sizes, the prediction averaged over networks of different seeds.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, Self, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rhoflow.crystal import known_elements
from rhoflow.spec import Spec

logger = logging.getLogger(__name__)

# Sets that models are tested on: structures like those trained on, structures of more atoms, and
# structures with elements that were never trained on.
Part = Literal["test", "larger", "unseen"]
PARTS: tuple[Part, ...] = get_args(Part)


class LearningCurveSpec(Spec):
    """Sizes, redraws and seeds of a learning curve."""

    kind: Literal["learning_curve"] = "learning_curve"
    algorithm: Literal[2] = 2
    train_sizes: tuple[int, ...] = Field(
        default=(100, 200, 400, 600), min_length=1, description="Numbers of training structures."
    )
    test_size: int = Field(
        default=80, ge=1, description="Structures in a test set (the paper: 80)."
    )
    redraws: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="How often test sets are redrawn (the paper: 20).",
    )
    redraws_per_job: int = Field(
        default=5, ge=1, le=10_000, description="Redraws that one training job works through."
    )
    seeds: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Networks whose answers are averaged (the paper: 5).",
    )
    seed: int = Field(default=2017, ge=0, description="Seed of the splits and of the networks.")
    keep_together: Literal["structure", "formula"] = Field(
        default="structure",
        description="What a split does not divide: with formula, polymorphs of one composition "
        "are all trained on, or all tested on, in a redraw.",
    )
    train_max_atoms: int | None = Field(
        default=None,
        ge=1,
        description="Structures of more atoms are never trained on: they form a second test set, "
        "for errors beyond the sizes that were learned; null: no structure is too large.",
    )
    larger_size: int | None = Field(
        default=None,
        ge=1,
        description="Structures of more than `train_max_atoms` atoms that a redraw tests at most; "
        "null: all.",
    )
    unseen_elements: tuple[str, ...] = Field(
        default=(),
        description="Structures with one of these elements are never trained on: they form a test "
        "set of their own, for errors beyond the elements that were learned.",
    )
    spread_poses: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Random rotations of every test structure over which the spread of its "
        "prediction is noted; 0: none.",
    )

    @field_validator("spread_poses")
    @classmethod
    def _spread(cls, poses: int) -> int:
        if poses == 1:
            raise ValueError("one pose has no spread; give 0, or 2 or more")
        return poses

    @field_validator("train_sizes")
    @classmethod
    def _ascending(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(b <= a for a, b in pairwise(sizes)) or min(sizes) < 2:
            raise ValueError("expected ascending numbers of at least 2")
        return sizes

    @field_validator("unseen_elements")
    @classmethod
    def _elements(cls, elements: tuple[str, ...]) -> tuple[str, ...]:
        return known_elements(elements)

    @model_validator(mode="after")
    def _larger_than_what(self) -> Self:
        if self.larger_size is not None and self.train_max_atoms is None:
            raise ValueError("larger_size: says how many larger ones; give train_max_atoms too")
        return self

    def jobs(self) -> list[str]:
        """The ranges of redraws, one a training job: '0-4', '5-9', …"""
        return ranges(self.redraws, self.redraws_per_job)


def ranges(n: int, step: int) -> list[str]:
    """The numbers below n in ranges of a step: '0-4', '5-9', …"""
    return [f"{a}-{min(a + step, n) - 1}" for a in range(0, n, step)]


def parse_range(redraws: str) -> range:
    """'5-9' to range(5, 10)."""
    first, last = redraws.split("-")
    return range(int(first), int(last) + 1)


# fit(inputs, y, seeds) -> fitted model; y is (n, targets), inputs know take(indices) and ids.
Fit = Callable[[Any, np.ndarray, tuple[int, ...]], Any]


def learning_curve(
    fit: Fit,
    inputs: Any,
    y: pd.DataFrame,
    splits: pd.DataFrame,
    spec: LearningCurveSpec,
    *,
    redraws: Sequence[int],
    keep: Callable[[Any], None] | None = None,
) -> pd.DataFrame:
    """Predict every test structure, the larger ones too, from every training size, redraw and seed.

    Args:
        fit: trains a model on descriptors and targets.
        inputs: descriptors of all structures.
        y: one target a column, by material id.
        splits: table of ``rhoflow.evaluation.splits.draw``.
        spec: the protocol.
        redraws: the redraws of this call.
        keep: gets the model of the first of them that was trained on the most structures.

    Returns:
        Columns target, train_size, part (of ``PARTS``), redraw, seed, material_id, y_true, y_pred,
        pose_std.
    """
    position = {name: i for i, name in enumerate(inputs.ids)}
    tables = []
    for redraw, sets in redraw_sets(splits, redraws):
        tested = {p: inputs.take([position[i] for i in sets[p]]) for p in PARTS if p in sets}
        seeds = tuple(network_seed(spec.seed, redraw, s) for s in range(spec.seeds))
        for size in spec.train_sizes:
            ids = sets["train"][:size]
            train = inputs.take([position[i] for i in ids])
            fitted = fit(train, y.loc[ids].to_numpy(dtype=np.float64), seeds)
            if keep and redraw == redraws[0] and size == spec.train_sizes[-1]:
                keep(fitted)
            for part, test in tested.items():
                pose_std = _pose_std(fitted, test, spec)
                table = _rows(fitted.predict(test), pose_std, y.loc[sets[part]])
                tables.append(table.assign(train_size=size, part=part, redraw=redraw))
            logger.info("redraw %d, %d training structures: done", redraw, size)
    return pd.concat(tables, ignore_index=True)


def _pose_std(fitted: Any, test: Any, spec: LearningCurveSpec) -> NDArray[np.float64] | None:
    """(seeds, n, targets) spread of the predictions over random poses, if it is asked for."""
    if not spec.spread_poses:
        return None
    if not hasattr(fitted, "predict_poses"):  # its descriptor does not know poses
        return np.zeros_like(fitted.predict(test))
    return fitted.predict_poses(test, spec.spread_poses).std(axis=2)


def _rows(
    predicted: NDArray[np.float64], pose_std: NDArray[np.float64] | None, y: pd.DataFrame
) -> pd.DataFrame:
    """(seeds, n, targets) predictions of n structures as a long table."""
    seeds, n, targets = predicted.shape
    seed, structure, target = (i.ravel() for i in np.indices((seeds, n, targets)))
    return pd.DataFrame(
        {
            "target": y.columns.to_numpy()[target],
            "seed": seed,
            "material_id": y.index.to_numpy()[structure],
            "y_true": y.to_numpy(dtype=np.float64)[structure, target],
            "y_pred": predicted.ravel(),
            "pose_std": np.nan if pose_std is None else pose_std.ravel(),
        }
    )


def redraw_sets(
    splits: pd.DataFrame, redraws: Sequence[int]
) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """Each redraw, and the ids of each of its parts in their order."""
    for redraw in redraws:
        rows = splits[splits["redraw"] == redraw].sort_values("order")
        yield redraw, {str(p): ids.tolist() for p, ids in rows.groupby("part")["material_id"]}


def network_seed(seed: int, redraw: int, network: int) -> int:
    """A seed of its own for each network of each redraw."""
    return int(np.random.SeedSequence([seed, redraw, network]).generate_state(1)[0])
