"""Training on replicas in random poses, and prediction."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from rhoflow.descriptors.voxels import random_rotations
from rhoflow.models.base import Standardiser, Start
from rhoflow.models.cnn3d.inputs import (
    Batcher,
    Voxelised,
    batcher,
    original_pose,
    random_poses,
)
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec, VoxelsSpec
from rhoflow.training import distributed
from rhoflow.training.devices import make_deterministic, pick_device
from rhoflow.training.ensemble import Ensemble, seeded
from rhoflow.training.loop import Batch, Checkpoint, Loss, autocast, train
from rhoflow.training.losses import sum_of_mean_squares

PREDICT_BATCH = 64


class VoxelNetworks:
    """Trained networks of one architecture, with what they need to read structures.

    Args:
        spec: network and poses.
        voxels: how structures become voxels.
        model: the networks, on their device.
        scale: (channels,) by which voxels are divided.
    """

    def __init__(
        self, spec: CNN3DSpec, voxels: VoxelsSpec, model: Ensemble, scale: torch.Tensor
    ) -> None:
        self.spec, self.voxels, self.model, self.scale = spec, voxels, model, scale

    def answers(
        self,
        inputs: Voxelised,
        poses: torch.Tensor,
        read: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> NDArray[np.float64]:
        """What the networks say about structures in given poses.

        Args:
            inputs: n structures.
            poses: (poses, 3, …), the same for all structures.
            read: what is asked of a batch of voxels; None: the networks' outputs.

        Returns:
            (networks, n, poses, outputs).
        """
        device = self.scale.device
        made = batcher(inputs, self.voxels, device)
        sample = torch.arange(len(inputs)).repeat_interleave(len(poses))
        pose = poses.repeat(len(inputs), 1, 1)
        self.model.eval()
        read = read or self.model
        parts = []
        with torch.no_grad(), autocast(device, self.spec.optimiser):
            for s, p in zip(sample.split(PREDICT_BATCH), pose.split(PREDICT_BATCH), strict=True):
                parts.append(read(_scaled(made.voxels(s, p), self.scale)).float().cpu())
        values = torch.cat(parts, dim=1)  # (networks, n · poses, outputs)
        shape = (len(values), len(inputs), len(poses), -1)
        return values.reshape(shape).numpy().astype(np.float64)

    def features(self, inputs: Voxelised, poses: torch.Tensor) -> NDArray[np.float64]:
        """(n, poses, d) what the first network's last convolution makes of structures."""
        network = self.model.network(0).eval()
        assert isinstance(network, VoxelCNN)
        return self.answers(inputs, poses, lambda x: network.features(x)[None])[0]


class FittedCNN:
    """Trained networks whose outputs are standardised targets."""

    def __init__(self, networks: VoxelNetworks, targets: Standardiser) -> None:
        self.networks, self.targets = networks, targets

    def predict(self, inputs: Voxelised) -> NDArray[np.float64]:
        """(seeds, n, targets) in the units of the targets, averaged over the test poses."""
        return self.predict_poses(inputs, self.networks.spec.test_poses).mean(axis=2)

    def predict_poses(self, inputs: Voxelised, n_poses: int) -> NDArray[np.float64]:
        """(seeds, n, poses, targets) of the structure as stored (one pose) or of random poses."""
        voxels = self.networks.voxels
        poses = original_pose(voxels)
        if n_poses > 1:
            poses = random_poses(voxels, n_poses, torch.Generator().manual_seed(0))
        return self.targets.inverse(self.networks.answers(inputs, poses))


def fit(
    spec: CNN3DSpec, voxels: VoxelsSpec, inputs: Voxelised, y: NDArray[np.float64], start: Start
) -> FittedCNN:
    """Train on replicas of n structures.

    Args:
        spec: network and training.
        voxels: how structures become voxels.
        inputs: n training structures.
        y: (n, targets) in their own units.
        start: seeds of the networks, and where they keep their state.
    """
    targets = Standardiser(y)
    z = torch.from_numpy(targets.forward(y)).float()
    networks = train_networks(
        spec,
        voxels,
        inputs,
        z,
        sum_of_mean_squares,
        n_outputs=y.shape[1],
        seeds=start.seeds,
        checkpoint=start.checkpoint((spec, voxels), inputs, y),
    )
    return FittedCNN(networks, targets)


def train_networks(
    spec: CNN3DSpec,
    voxels: VoxelsSpec,
    inputs: Voxelised,
    answers: torch.Tensor,
    loss: Loss,
    *,
    n_outputs: int,
    seeds: tuple[int, ...],
    checkpoint: Checkpoint | None = None,
) -> VoxelNetworks:
    """Train one network a seed, all on the same replicas.

    Several devices share every batch; each makes the voxels of its own share alone.

    Args:
        spec: network and training.
        voxels: how structures become voxels.
        inputs: n training structures.
        answers: (n, …) what the loss compares the networks' outputs with.
        loss: of (networks, batch, n_outputs) and (batch, …), summed over networks.
        n_outputs: numbers that a network answers with.
        seeds: of the first weights; the first one also decides poses and order.
        checkpoint: where the state of the training is kept.
    """
    device = pick_device()
    make_deterministic()
    made = batcher(inputs, voxels, device)
    model = seeded(
        lambda: VoxelCNN(spec, voxels.grid_shape, n_channels=made.n_channels, n_outputs=n_outputs),
        seeds,
    ).to(device)
    scale = _voxel_scale(made, original_pose(voxels))
    answers = answers.to(device)
    sampler = ReplicaSampler(len(inputs), spec, seeds[0], partial(random_poses, voxels))
    group = distributed.group(spec.optimiser.devices)

    def batches(epoch: int) -> Iterator[Batch]:
        for samples, poses in sampler.epoch(epoch):
            mine = group.share(len(samples))
            sample, pose = samples[mine.rows], poses[mine.rows]
            grid = _scaled(made.voxels(sample, pose), scale)
            yield Batch(grid, answers[sample.to(device, non_blocking=True)], mine.weight)

    train(model, batches, loss, spec.optimiser, seed=seeds[0], checkpoint=checkpoint, group=group)
    return VoxelNetworks(spec, voxels, model, scale)


def _scaled(voxels: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Voxels over their scale, laid out with the channels last as convolutions like them."""
    scaled = voxels / scale.view(1, -1, 1, 1, 1)
    return scaled.contiguous(memory_format=torch.channels_last_3d)


def _voxel_scale(made: Batcher, original: torch.Tensor) -> torch.Tensor:
    """(channels,) root mean square of the occupied voxels of the training set, unrotated."""
    total = torch.zeros(made.n_channels, dtype=torch.float64, device=made.device)
    count = total.clone()
    for part in torch.arange(made.n_structures).split(PREDICT_BATCH):
        values = made.voxels(part, original.expand(len(part), -1, -1))
        total += (values.double() ** 2).sum(dim=(0, 2, 3, 4))
        count += (values != 0).sum(dim=(0, 2, 3, 4))
    scale = (total / count).sqrt()
    return torch.where(scale > 0, scale, 1.0).float()


class ReplicaSampler:
    """Which structure is seen in which pose, by seed and number of the epoch alone.

    Args:
        n_structures: of the training set.
        spec: how many replicas, and how often they are shown.
        seed: of poses and order.
        draw: makes so many poses.
    """

    def __init__(
        self,
        n_structures: int,
        spec: CNN3DSpec,
        seed: int,
        draw: Callable[[int, torch.Generator], torch.Tensor] = random_rotations,
    ) -> None:
        self.spec, self.n, self.seed, self.draw = spec, n_structures, seed, draw
        self.poses = self._draw(0)

    def _draw(self, epoch: int) -> torch.Tensor:
        return self.draw(self.n * self.spec.replicas, self._generator(0, epoch))

    def _generator(self, purpose: int, epoch: int) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, purpose, epoch]).generate_state(1)
        return torch.Generator().manual_seed(int(state[0]))

    def epoch(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of (structure positions, poses), in random order."""
        replicas, shown = self.spec.replicas, self.spec.shown or self.spec.replicas
        poses = self._draw(epoch) if self.spec.endless else self.poses
        order = torch.randperm(self.n * shown, generator=self._generator(1, epoch))
        for part in order.split(self.spec.optimiser.batch_size):
            structure = part // shown
            replica = (epoch * shown + part % shown) % replicas  # later epochs go on with the rest
            yield structure, poses[structure * replicas + replica]
