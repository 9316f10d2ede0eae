"""Spots to voxels on the training device: rotate about g = 0, then one scatter-add.

Keeping spots instead of rotated voxels makes a rotated replica cost no memory, so endless
replicas are as cheap as thirty (Kajita et al., Sci. Rep. 7, 16991 (2017), Fig. 1e-f).
"""

import itertools

import numpy as np
import torch

from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet


class SpotBatcher:
    """Spots on a device, ready to be rotated and deposited batch by batch.

    Args:
        data: the spots of all structures that batches will be drawn from.
        spec: how spots become voxels.
        device: where batches are made.
    """

    def __init__(self, data: SpotSet, spec: R3DVSSpec, device: torch.device) -> None:
        self.spec = spec
        self.n_structures = len(data)
        lengths = np.diff(data.offsets)
        value = torch.from_numpy(data.amplitude).to(device)
        if spec.value == "squared":
            value = value**2
        if spec.per == "atom":
            factor = np.repeat(data.volume_per_atom, lengths).astype(np.float32)
            value = value * torch.from_numpy(factor).to(device)
        g = torch.from_numpy(data.g).to(device)
        # Each spot is deposited at g and at -g; g = 0 is its own partner.
        self.value = torch.where((g == 0).all(dim=1), value / 2, value)
        self.g = g.T.contiguous()  # (3, spots): one axis after the other in memory
        self.starts = torch.from_numpy(data.offsets[:-1].copy()).to(device)
        self.lengths = torch.from_numpy(lengths).to(device)

    def voxels(self, structures: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Rotated spots of some structures as voxels.

        Args:
            structures: (batch,) int64 positions in the data.
            rotations: (batch, 3, 3) rotation matrices R; a spot goes to R g.

        Returns:
            (batch, 1, n, n, n) float32 voxel values.
        """
        n = self.spec.n_voxels
        lengths = self.lengths[structures]
        owner = torch.repeat_interleave(lengths)  # (s,) position within the batch
        first = self.starts[structures] - (torch.cumsum(lengths, 0) - lengths)
        index = torch.arange(len(owner), device=self.g.device) + first[owner]
        matrices = (rotations.reshape(-1, 9) / self.spec.pitch).T.contiguous()
        matrices = matrices.index_select(1, owner).view(3, 3, -1)  # (3, 3, s)
        position = (matrices * self.g.index_select(1, index)).sum(dim=1)  # (3, s) voxel edges
        value = self.value[index]
        grid = torch.zeros(len(structures) * n**3, device=self.g.device)
        deposit = _deposit_linear if self.spec.deposit == "linear" else _deposit_nearest
        deposit(grid, owner, n / 2 + position, value, n)
        deposit(grid, owner, n / 2 - position, value, n)
        return grid.view(-1, 1, n, n, n)


def _flat_index(owner: torch.Tensor, cell: torch.Tensor, n: int) -> torch.Tensor:
    """Flat voxel index of (3, s) cells; the sphere's rim touches the faces and stays inside."""
    x, y, z = cell.clamp(0, n - 1)
    return owner * n**3 + (x * n**2 + y * n + z)


def _deposit_nearest(
    grid: torch.Tensor, owner: torch.Tensor, position: torch.Tensor, value: torch.Tensor, n: int
) -> None:
    """Add each spot to the voxel that it falls into; position in voxel edges, (3, s)."""
    grid.index_add_(0, _flat_index(owner, position.floor().int(), n), value)


def _deposit_linear(
    grid: torch.Tensor, owner: torch.Tensor, position: torch.Tensor, value: torch.Tensor, n: int
) -> None:
    """Share each spot among the eight voxel centres around it (cloud in cell)."""
    corner = (position - 0.5).floor()
    upper = position - 0.5 - corner  # (3, s) share of the upper neighbour along each axis
    shares, corner = torch.stack([1 - upper, upper]), corner.int()
    for dx, dy, dz in itertools.product((0, 1), repeat=3):
        share = shares[dx, 0] * shares[dy, 1] * shares[dz, 2]
        shift = torch.tensor([[dx], [dy], [dz]], dtype=torch.int32, device=grid.device)
        grid.index_add_(0, _flat_index(owner, corner + shift, n), value * share)


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
