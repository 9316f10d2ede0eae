"""What the network reads: spots or images, made into voxels on its device pose by pose."""

from typing import Protocol

import torch

from rhoflow.descriptors import resample
from rhoflow.descriptors.image import ImageSet, ImageSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.resample import ImageBatcher
from rhoflow.descriptors.voxels import SpotBatcher, random_rotations
from rhoflow.models.cnn3d.spec import VoxelsSpec

Voxelised = SpotSet | ImageSet


class Batcher(Protocol):
    """Structures on a device, ready to become voxels in any pose."""

    device: torch.device
    n_structures: int
    n_channels: int

    def voxels(self, structures: torch.Tensor, poses: torch.Tensor, /) -> torch.Tensor:
        """(batch, channels, *grid_shape) float32 of structures (batch,) in poses (batch, 3, …)."""
        ...


def batcher(inputs: Voxelised, voxels: VoxelsSpec, device: torch.device) -> Batcher:
    """The structures on a device."""
    match inputs, voxels:
        case SpotSet(), R3DVSSpec():
            return SpotBatcher(inputs, voxels, device)
        case ImageSet(), ImageSpec():
            return ImageBatcher(inputs, voxels, device)
    raise TypeError(f"a {type(inputs).__name__} does not become voxels by a {voxels.kind}")


def original_pose(voxels: VoxelsSpec) -> torch.Tensor:
    """(1, 3, …) the pose of the structures as they are stored."""
    return torch.eye(3, 3 if isinstance(voxels, R3DVSSpec) else 4)[None]


def random_poses(voxels: VoxelsSpec, n: int, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, …) rotations of spots (3, 3), poses of images (3, 4)."""
    if isinstance(voxels, R3DVSSpec):
        return random_rotations(n, generator)
    return resample.random_poses(voxels, n, generator)
