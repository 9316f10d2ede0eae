"""Settings of the network, its rotated replicas and its optimiser."""

from typing import Annotated, Literal

from pydantic import Field

from rhoflow.spec import Spec
from rhoflow.training.spec import OptimiserSpec

Units = Annotated[int, Field(ge=1, le=4096)]


class CNN3DSpec(Spec):
    """The network, its rotated replicas and its optimiser."""

    kind: Literal["cnn3d"] = "cnn3d"
    algorithm: Literal[2] = 2
    channels: tuple[Units, ...] = Field(
        default=(16, 32, 64), min_length=1, max_length=8, description="Filters of each convolution."
    )
    kernel_size: Literal[3, 5, 7] = Field(default=3, description="Edge of every filter in voxels.")
    dense: tuple[Units, ...] = Field(
        default=(128,), max_length=4, description="Units of dense layers."
    )
    leak: float = Field(default=0.3, ge=0, lt=1, description="Slope of the leaky ReLU below zero.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before the last layer.")
    replicas: int = Field(
        default=30,
        ge=1,
        le=10_000,
        description="Rotated copies of each structure.",
    )
    shown: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="How often an epoch shows each structure, in one of its rotations after the "
        "other; null: once in each. Trainings with few and many replicas that show as many take "
        "as many steps.",
    )
    endless: bool = Field(
        default=False,
        description="New rotations every epoch instead of the first ones.",
    )
    test_poses: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="1: predict the unrotated original (the paper); more: the mean over so many "
        "rotations of it.",
    )
    optimiser: OptimiserSpec = Field(
        default_factory=lambda: OptimiserSpec(), description="Adam and its schedule."
    )
