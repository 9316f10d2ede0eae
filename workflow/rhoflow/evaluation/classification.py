"""The protocol that asks whether a network has learned that rotations change nothing.

Kajita et al., Sci. Rep. 7, 16991 (2017), "Classification to assess rotation invariance": some
materials are the classes, a network is trained on rotated replicas of each, and is then shown the
unrotated originals, which it has never seen.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator

from rhoflow.errors import DataError
from rhoflow.evaluation.protocol import network_seed, ranges
from rhoflow.spec import Spec

logger = logging.getLogger(__name__)


class ClassificationSpec(Spec):
    """Classes, numbers of replicas and repeats of a classification test."""

    kind: Literal["classification"] = "classification"
    algorithm: Literal[1] = 1
    classes: int = Field(
        default=50, ge=2, le=10_000, description="Materials drawn in a repeat (the paper: 50)."
    )
    replicas: tuple[int, ...] = Field(
        default=(1, 2, 5, 10, 20, 30, 50),
        min_length=1,
        description="Numbers of rotated replicas of each material; they take the place of the "
        "model's own.",
    )
    repeats: int = Field(
        default=20, ge=1, le=10_000, description="How often materials are drawn (the paper: 20)."
    )
    repeats_per_job: int = Field(
        default=5, ge=1, le=10_000, description="Repeats that one training job works through."
    )
    same_steps: bool = Field(
        default=True,
        description="Train as many steps with few replicas as with many, so that what differs is "
        "the data; false: as many epochs.",
    )
    feature_replicas: tuple[int, ...] = Field(
        default=(10, 30),
        description="Numbers of replicas for which the first repeat keeps the features of the "
        "last convolution (Fig. 3b and c).",
    )
    feature_poses: int = Field(
        default=12, ge=2, le=1000, description="New rotations of each material shown for them."
    )
    seed: int = Field(default=2017, ge=0, description="Seed of the draws and of the networks.")

    @field_validator("replicas")
    @classmethod
    def _ascending(cls, replicas: tuple[int, ...]) -> tuple[int, ...]:
        if any(b <= a for a, b in pairwise(replicas)) or not 1 <= min(replicas) <= 10_000:
            raise ValueError("expected ascending numbers from 1 to 10000")
        return replicas

    def jobs(self) -> list[str]:
        """The ranges of repeats, one a training job: '0-4', '5-9', …"""
        return ranges(self.repeats, self.repeats_per_job)

    def shown(self, replicas: int) -> int:
        """How often an epoch shows each material of a training with some replicas."""
        return max(self.replicas) if self.same_steps else replicas


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier says of the originals, and what it makes of new poses.

    Attributes:
        predicted: (n,) class of each original.
        probability: (n,) probability that it gives to the right one.
        features: (n, poses, d) of new rotations, or None where they were not asked for.
    """

    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    features: NDArray[np.float32] | None = None


# classify(inputs, replicas, seed, poses) -> Answers; poses 0 asks for no features.
Classify = Callable[[Any, int, int, int], Answers]


def draw_classes(ids: Sequence[str], spec: ClassificationSpec, repeat: int) -> list[str]:
    """The materials of a repeat, by the seed alone.

    Raises:
        DataError: there are fewer materials than classes.
    """
    names = np.asarray(sorted(ids))
    if len(names) < spec.classes:
        raise DataError(
            f"{len(names)} materials have a density, but a classification asks for "
            f"{spec.classes} classes; lower `classes` or raise the data set's selection.size"
        )
    drawn = np.random.default_rng([spec.seed, repeat]).permutation(names)[: spec.classes]
    return drawn.tolist()


def classification(
    classify: Classify, inputs: Any, spec: ClassificationSpec, *, repeats: Sequence[int]
) -> tuple[pd.DataFrame, dict[str, NDArray[np.float32]]]:
    """Classify the originals in every repeat and for every number of replicas.

    Args:
        classify: trains on replicas and answers.
        inputs: descriptors of all materials; they know take(indices) and ids.
        spec: the protocol.
        repeats: the repeats of this call.

    Returns:
        Columns replicas, repeat, material_id, predicted_id, probability (of the right class); and
        the features of the first repeat by number of replicas, each (classes, poses, d).
    """
    position = {name: i for i, name in enumerate(inputs.ids)}
    tables, features = [], {}
    for repeat in repeats:
        names = draw_classes(inputs.ids, spec, repeat)
        shown = inputs.take([position[name] for name in names])
        for replicas in spec.replicas:
            wanted = repeat == 0 and replicas in spec.feature_replicas
            poses = spec.feature_poses if wanted else 0
            seed = network_seed(spec.seed, repeat, replicas)
            answers = classify(shown, replicas, seed, poses)
            answered = {
                "replicas": replicas,
                "repeat": repeat,
                "material_id": names,
                "predicted_id": np.asarray(names)[answers.predicted],
                "probability": answers.probability,
            }
            tables.append(pd.DataFrame(answered))
            if answers.features is not None:
                features[str(replicas)] = answers.features
            logger.info("repeat %d, %d replicas: done", repeat, replicas)
    return pd.concat(tables, ignore_index=True), features


def accuracies(predictions: pd.DataFrame) -> pd.DataFrame:
    """Share of the originals that each training recognises.

    Returns:
        Columns study, arm, replicas, repeat, accuracy.
    """
    right = predictions["predicted_id"] == predictions["material_id"]
    keys = ["study", "arm", "replicas", "repeat"]
    table = predictions.assign(accuracy=right.astype(float))
    return table.groupby(keys, as_index=False, sort=False)["accuracy"].mean()
