"""The protocol that draws every learning curve.

Kajita et al., Sci. Rep. 7, 16991 (2017), "Regression": redrawn test sets, several training
sizes, the prediction averaged over networks of different seeds.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from rhoflow.spec import Spec

logger = logging.getLogger(__name__)


class LearningCurveSpec(Spec):
    """Sizes, redraws and seeds of a learning curve."""

    kind: Literal["learning_curve"] = "learning_curve"
    algorithm: Literal[1] = 1
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

    @field_validator("train_sizes")
    @classmethod
    def _ascending(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(b <= a for a, b in pairwise(sizes)) or min(sizes) < 2:
            raise ValueError("expected ascending numbers of at least 2")
        return sizes

    def jobs(self) -> list[str]:
        """The ranges of redraws, one a training job: '0-4', '5-9', …"""
        step = self.redraws_per_job
        starts = range(0, self.redraws, step)
        return [f"{a}-{min(a + step, self.redraws) - 1}" for a in starts]


def parse_range(redraws: str) -> range:
    """'5-9' to range(5, 10)."""
    first, last = redraws.split("-")
    return range(int(first), int(last) + 1)


# fit(inputs, y, seed) -> fitted model; inputs know take(indices) and ids.
Fit = Callable[[Any, np.ndarray, int], Any]


def learning_curve(
    fit: Fit,
    inputs: Any,
    y: "pd.Series[float]",
    splits: pd.DataFrame,
    spec: LearningCurveSpec,
    *,
    redraws: Sequence[int],
    n_seeds: int,
) -> pd.DataFrame:
    """Predict every test structure from every training size, redraw and seed.

    Args:
        fit: trains a model on descriptors and targets.
        inputs: descriptors of all structures.
        y: targets by material id.
        splits: table of ``rhoflow.evaluation.splits.draw``.
        spec: the protocol.
        redraws: the redraws of this call.
        n_seeds: how many networks; 1 for models without randomness.

    Returns:
        Columns train_size, redraw, seed, material_id, y_true, y_pred.
    """
    position = {name: i for i, name in enumerate(inputs.ids)}
    rows = []
    for redraw, train_ids, test_ids in _redraw_sets(splits, redraws):
        test = inputs.take([position[i] for i in test_ids])
        for size in spec.train_sizes:
            ids = train_ids[:size]
            train = inputs.take([position[i] for i in ids])
            for seed in range(n_seeds):
                fitted = fit(train, y.loc[ids].to_numpy(), network_seed(spec.seed, redraw, seed))
                answers = {"material_id": test_ids, "y_pred": fitted.predict(test)}
                keys = {"train_size": size, "redraw": redraw, "seed": seed}
                rows.append(pd.DataFrame(answers).assign(y_true=y.loc[test_ids].to_numpy(), **keys))
            logger.info("redraw %d, %d training structures: done", redraw, size)
    return pd.concat(rows, ignore_index=True)


def _redraw_sets(
    splits: pd.DataFrame, redraws: Sequence[int]
) -> Iterator[tuple[int, list[str], list[str]]]:
    for redraw in redraws:
        rows = splits[splits["redraw"] == redraw].sort_values("order")
        sets = {part: group["material_id"].tolist() for part, group in rows.groupby("part")}
        yield redraw, sets["train"], sets["test"]


def network_seed(seed: int, redraw: int, network: int) -> int:
    """A seed of its own for each network of each redraw."""
    return int(np.random.SeedSequence([seed, redraw, network]).generate_state(1)[0])
