"""Training on rotated replicas, and prediction."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.voxels import SpotBatcher, random_rotations
from rhoflow.models.base import Standardiser
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.training.devices import make_deterministic, pick_device
from rhoflow.training.loop import Batch, train


class FittedCNN:
    """A trained network with what it needs to read spots."""

    def __init__(
        self,
        spec: CNN3DSpec,
        voxels: R3DVSSpec,
        model: VoxelCNN,
        targets: Standardiser,
        voxel_scale: float,
    ) -> None:
        self.spec, self.voxels, self.model = spec, voxels, model
        self.targets, self.voxel_scale = targets, voxel_scale

    def predict(self, inputs: SpotSet) -> NDArray[np.float64]:
        """(n,) predictions in the unit of the targets."""
        device = next(self.model.parameters()).device
        batcher = SpotBatcher(inputs, self.voxels, device)
        poses = torch.eye(3).expand(1, 3, 3)
        if self.spec.test_poses > 1:
            poses = random_rotations(self.spec.test_poses, torch.Generator().manual_seed(0))
        sample = torch.arange(len(inputs)).repeat_interleave(len(poses))
        rotation = poses.repeat(len(inputs), 1, 1)
        self.model.eval()
        with torch.no_grad():
            parts = [
                self.model(batcher.voxels(s.to(device), r.to(device)) / self.voxel_scale)
                for s, r in zip(sample.split(64), rotation.split(64), strict=True)
            ]
        z = torch.cat(parts).view(len(inputs), len(poses)).mean(dim=1)
        return self.targets.inverse(z.cpu().numpy().astype(np.float64))


def fit(
    spec: CNN3DSpec, voxels: R3DVSSpec, inputs: SpotSet, y: NDArray[np.float64], *, seed: int
) -> FittedCNN:
    """Train on rotated replicas of (n,) spot sets with (n,) targets.

    Args:
        spec: network and training.
        voxels: how spots become voxels.
        inputs: n training structures.
        y: (n,) targets in their own unit.
        seed: of the weights, the rotations and the order of samples.
    """
    device = pick_device()
    make_deterministic()
    torch.manual_seed(seed)
    model = VoxelCNN(spec, voxels.n_voxels).to(device)
    targets = Standardiser(y)
    batcher = SpotBatcher(inputs, voxels, device)
    scale = _voxel_scale(batcher, device)
    z = torch.from_numpy(targets.forward(y)).float().to(device)
    sampler = ReplicaSampler(len(inputs), spec, seed)

    def batches(epoch: int) -> Iterator[Batch]:
        for sample, rotation in sampler.epoch(epoch):
            sample = sample.to(device)
            yield Batch(batcher.voxels(sample, rotation.to(device)) / scale, z[sample])

    train(model, batches, nn.functional.mse_loss, spec.optimiser)
    return FittedCNN(spec, voxels, model, targets, scale)


def _voxel_scale(batcher: SpotBatcher, device: torch.device) -> float:
    """Root mean square of the occupied voxels of the training set, unrotated."""
    structures = torch.arange(batcher.n_structures, device=device)
    total = count = 0.0
    for part in structures.split(64):
        values = batcher.voxels(part, torch.eye(3, device=device).expand(len(part), 3, 3))
        total += float((values.double() ** 2).sum())
        count += float((values != 0).sum())
    return float(np.sqrt(total / count)) if count and total else 1.0


class ReplicaSampler:
    """Which structure is seen in which rotation, epoch by epoch, from one seed."""

    def __init__(self, n_structures: int, spec: CNN3DSpec, seed: int) -> None:
        self.spec, self.n = spec, n_structures
        self.generator = torch.Generator().manual_seed(seed)
        self.rotations = random_rotations(n_structures * spec.replicas, self.generator)

    def epoch(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of (structure positions, rotation matrices), in random order."""
        total = self.n * self.spec.replicas
        if self.spec.endless and epoch:
            self.rotations = random_rotations(total, self.generator)
        order = torch.randperm(total, generator=self.generator)
        for part in order.split(self.spec.optimiser.batch_size):
            yield part // self.spec.replicas, self.rotations[part]
