"""Spots to voxels on the training device: rotate about g = 0, then one scatter-add.

Keeping spots instead of rotated voxels makes a rotated replica cost no memory, so endless
replicas are as cheap as thirty (Kajita et al., Sci. Rep. 7, 16991 (2017), Fig. 1e-f).
"""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray

from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet


class RaggedRows:
    """Where the rows of structures stand in joined arrays on a device.

    Args:
        offsets: (n + 1,) int64; rows of structure i are offsets[i]:offsets[i + 1].
        device: where the rows are looked up.
    """

    def __init__(self, offsets: NDArray[np.int64], device: torch.device) -> None:
        self.device = device
        # On the processor, so that a batch's size is known without asking the device.
        self.starts = torch.from_numpy(offsets[:-1].copy())
        self.lengths = torch.from_numpy(np.diff(offsets))

    def of(self, structures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of a batch, on the device.

        Args:
            structures: (batch,) int64 positions.

        Returns:
            owner (s,), position in the batch, and index (s,), row of the joined arrays.
        """
        structures = structures.cpu()
        lengths = self.lengths[structures]
        first = self.starts[structures] - (torch.cumsum(lengths, 0) - lengths)
        # Non-blocking: the processor prepares the next batch while the device works.
        total = int(lengths.sum())
        lengths = lengths.to(self.device, non_blocking=True)
        owner = torch.repeat_interleave(lengths, output_size=total)
        first = first.to(self.device, non_blocking=True)
        return owner, torch.arange(total, device=self.device) + first[owner]


class SpotBatcher:
    """Spots on a device, ready to be rotated and deposited batch by batch.

    Args:
        data: the spots of all structures that batches will be drawn from.
        spec: how spots become voxels.
        device: where batches are made.
    """

    def __init__(self, data: SpotSet, spec: R3DVSSpec, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        self.n_structures, self.n_channels = len(data), len(data.amplitude)
        lengths = np.diff(data.offsets)
        value = torch.from_numpy(data.amplitude).to(device)  # (channels, spots)
        if spec.value == "squared":
            value = value**2
        if spec.per == "atom":
            factor = np.repeat(data.volume_per_atom, lengths).astype(np.float32)
            value = value * torch.from_numpy(factor).to(device)
        g = torch.from_numpy(data.g).to(device)
        # Each spot is deposited at g and at -g; g = 0 is its own partner.
        at_origin = value / 2 if spec.origin else torch.zeros_like(value)
        self.value = torch.where((g == 0).all(dim=1), at_origin, value)
        self.g = g.T.contiguous()  # (3, spots): one axis after the other in memory
        self.rows = RaggedRows(data.offsets, device)

    def voxels(self, structures: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Rotated spots of some structures as voxels.

        Args:
            structures: (batch,) int64 positions in the data.
            rotations: (batch, 3, 3) rotation matrices R; a spot goes to R g.

        Returns:
            (batch, channels, *grid_shape) float32 voxel values.
        """
        n = self.spec.n_voxels
        owner, index = self.rows.of(structures)
        rotations = rotations.to(self.device, non_blocking=True)
        matrices = (rotations.reshape(-1, 9) / self.spec.pitch).T.contiguous()
        matrices = matrices.index_select(1, owner).view(3, 3, -1)  # (3, 3, s)
        position = (matrices * self.g.index_select(1, index)).sum(dim=1)  # (3, s) voxel edges
        values = self.value.index_select(1, index)
        grids = torch.zeros(self.n_channels, len(structures) * n**3, device=self.device)
        if self.spec.deposit == "linear":
            _deposit_linear(grids, owner, n / 2 + position, values, n)
            # Shares at -g are the mirror image of those at g.
            grids = grids.view(self.n_channels, -1, n**3)
            grids = grids + grids.flip(2)
        else:  # where a spot on a face goes is no matter of mirrors
            _deposit_nearest(grids, owner, n / 2 + position, values, n)
            _deposit_nearest(grids, owner, n / 2 - position, values, n)
        cube = grids.view(self.n_channels, -1, n, n, n).transpose(0, 1)
        return cube[:, :, n // 2 :] if self.spec.half else cube


def _flat_index(owner: torch.Tensor, cell: torch.Tensor, n: int) -> torch.Tensor:
    """Flat voxel index of (3, s) cells; the sphere's rim touches the faces and stays inside."""
    x, y, z = cell.clamp(0, n - 1)
    return owner * n**3 + (x * n**2 + y * n + z)


def _deposit_nearest(
    grids: torch.Tensor, owner: torch.Tensor, position: torch.Tensor, values: torch.Tensor, n: int
) -> None:
    """Add each spot to the voxel that it falls into.

    Position in voxel edges, (3, s); values (channels, s); grids (channels, voxels of the batch).
    """
    index = _flat_index(owner, position.floor().int(), n)
    for grid, value in zip(grids, values, strict=True):
        grid.index_add_(0, index, value)


def _deposit_linear(
    grids: torch.Tensor, owner: torch.Tensor, position: torch.Tensor, values: torch.Tensor, n: int
) -> None:
    """Share each spot among the eight voxel centres around it (cloud in cell)."""
    corner = (position - 0.5).floor()
    upper = position - 0.5 - corner  # (3, s) share of the upper neighbour along each axis
    shares, corner = torch.stack([1 - upper, upper]), corner.int()
    for dx, dy, dz in itertools.product((0, 1), repeat=3):
        share = shares[dx, 0] * shares[dy, 1] * shares[dz, 2]
        index = _flat_index(owner, torch.stack([corner[0] + dx, corner[1] + dy, corner[2] + dz]), n)
        for grid, value in zip(grids, values, strict=True):
            grid.index_add_(0, index, value * share)


def random_rotations(n: int, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, 3) rotation matrices, uniform over SO(3).

    Normalised Gaussian quaternions (Shoemake, 1992) have the Haar measure.
    """
    q = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(dim=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1).float()
