"""Settings of the network, its replicas and its optimiser."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from rhoflow.descriptors.image import ImageSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.errors import ConfigError
from rhoflow.spec import Spec
from rhoflow.training.spec import OptimiserSpec

# What the network can read.
VoxelsSpec = R3DVSSpec | ImageSpec

Units = Annotated[int, Field(ge=1, le=4096)]

# Channels over units of the layer between them, in channel attention.
SQUEEZE = 4


class Branch(NamedTuple):
    """One of the convolutions that read the same voxels: filters, edge and dilation."""

    filters: int
    edge: int
    dilation: int

    @property
    def reach(self) -> int:
        """Voxels that a filter sees to each side."""
        return self.dilation * (self.edge // 2)


class CNN3DSpec(Spec):
    """The network, its replicas and its optimiser."""

    kind: Literal["cnn3d"] = "cnn3d"
    algorithm: Literal[2] = 2
    channels: tuple[Units, ...] = Field(
        default=(16, 32, 64), min_length=1, max_length=8, description="Filters of each convolution."
    )
    kernel_size: Literal[3, 5, 7] = Field(default=3, description="Edge of every filter in voxels.")
    block: Literal["plain", "multi_scale"] = Field(
        default="plain",
        description="plain: one convolution a layer; multi_scale: three side by side share its "
        "filters, of edge 1, of `kernel_size`, and of `kernel_size` with a voxel left out between "
        "any two.",
    )
    attention: Literal["none", "channel", "both"] = Field(
        default="none",
        description="channel: each layer weighs its pooled channels by what all of them hold in "
        "the mean (squeeze and excitation); both: and then its voxels, by the mean and the largest "
        "of their channels.",
    )
    padding: Literal["zeros", "circular"] = Field(
        default="zeros",
        description="What filters see beyond the faces: zeros (the paper), or what lies at the "
        "opposite face, as it does in a density_image of a cell.",
    )
    pooling: Literal["flatten", "mean"] = Field(
        default="flatten",
        description="What dense layers read of the last convolution: every voxel (the paper), or "
        "the mean over voxels.",
    )
    dense: tuple[Units, ...] = Field(
        default=(128,), max_length=4, description="Units of dense layers."
    )
    leak: float = Field(default=0.3, ge=0, lt=1, description="Slope of the leaky ReLU below zero.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before the last layer.")
    replicas: int = Field(
        default=30,
        ge=1,
        le=10_000,
        description="Copies of each structure: rotated ones of spots, and of a density_image what "
        "its `poses` says.",
    )
    shown: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="How often an epoch shows each structure, in one of its replicas after the "
        "other; null: once in each. Trainings with few and many replicas that show as many take "
        "as many steps.",
    )
    endless: bool = Field(
        default=False,
        description="New replicas every epoch instead of the first ones.",
    )
    test_poses: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="1: predict the unrotated original (the paper); more: the mean over so many "
        "random poses of it.",
    )
    optimiser: OptimiserSpec = Field(
        default_factory=lambda: OptimiserSpec(), description="Adam and its schedule."
    )

    @model_validator(mode="after")
    def _filters_for_each_branch(self) -> "CNN3DSpec":
        if min(b.filters for f in self.channels for b in self.branches(f)) < 1:
            raise ValueError(
                f"channels: a layer of block multi_scale needs 3 filters, got {min(self.channels)}"
            )
        return self

    def branches(self, filters: int) -> tuple[Branch, ...]:
        """The convolutions of a layer with so many filters."""
        if self.block == "plain":
            return (Branch(filters, self.kernel_size, 1),)
        third = filters // 3
        return (
            Branch(third, 1, 1),
            Branch(filters - 2 * third, self.kernel_size, 1),
            Branch(third, self.kernel_size, 2),
        )

    def edges(self, grid_shape: Sequence[int]) -> list[tuple[int, ...]]:
        """Voxels along each axis that each layer reads, and at last those that remain.

        Raises:
            ConfigError: a filter would reach round the whole cube and see a voxel twice.
        """
        found = [tuple(grid_shape)]
        for filters in self.channels:
            least = max(b.reach for b in self.branches(filters))
            if self.padding == "circular" and min(found[-1]) < least:
                raise ConfigError(
                    f"cnn3d: padding circular: layer {len(found)} has filters that reach {least} "
                    f"voxels to each side, but voxels of shape {found[-1]}; expected an edge of "
                    f"{least} at least: use fewer channels, a smaller kernel_size or larger images"
                )
            # Pooling below 2 voxels would leave nothing to look at.
            found.append(tuple(edge // 2 if edge >= 4 else edge for edge in found[-1]))
        return found
