"""Fourier coefficients to images on the training device, each in a pose of its own.

A pose is a matrix (3, 4): a rotation R, and in its last column the origin f in fractions of the
lattice vectors. The image shows the crystal turned by R about that origin,

    value(x) = Σ_g s(g) exp(2πi hkl·f) exp(i (R g)·x),

which is exact for the coefficients at hand. A cell turns with its axes, so there R is not looked
at.
"""

import numpy as np
import torch

from rhoflow.density.spectrum import reciprocal_lattice
from rhoflow.descriptors.image import ImageSet, ImageSpec
from rhoflow.descriptors.voxels import RaggedRows, random_rotations


class ImageBatcher:
    """Coefficients on a device, ready to be summed up batch by batch.

    Args:
        data: the coefficients of all structures that batches will be drawn from.
        spec: which points an image shows.
        device: where batches are made.
    """

    def __init__(self, data: ImageSet, spec: ImageSpec, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        self.n_structures, self.n_channels = len(data), len(data.coefficients)
        self.rows = RaggedRows(data.offsets, device)
        self.hkl = torch.from_numpy(data.hkl.T.astype(np.float32)).to(device)  # (3, m)
        self.values = torch.from_numpy(data.coefficients).to(device)  # (channels, m)
        reciprocal = [reciprocal_lattice(a).T for a in data.lattices]  # g = Bᵀ hkl
        self.reciprocal = torch.tensor(np.asarray(reciprocal).reshape(-1, 3, 3)).float()
        if spec.frame == "box":
            upper = np.arange(spec.edge // 2, spec.edge) - (spec.edge - 1) / 2
            positions = upper * spec.length_angstrom / spec.edge
            self.upper = torch.from_numpy(positions).float().to(device)  # (h,) Å, of one side

    def voxels(self, structures: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
        """Images of some structures.

        Args:
            structures: (batch,) int64 positions in the data.
            poses: (batch, 3, 4) rotations and origins.

        Returns:
            (batch, channels, n, n, n) float32, e/Å³ of the density, eV of the potential.
        """
        owner, index = self.rows.of(structures)
        hkl = self.hkl.index_select(1, index)  # (3, s)
        origins = poses[:, :, 3].to(self.device, non_blocking=True)
        turns = (origins.T.index_select(1, owner) * hkl).sum(dim=0)  # whole ones change nothing
        values = self.values.index_select(1, index) * _wave(2 * torch.pi * turns)  # (channels, s)
        if self.spec.frame == "cell":
            return self._cells(len(structures), owner, hkl, values)
        structures = structures.cpu()
        matrices = poses[:, :, :3].cpu() @ self.reciprocal[structures]  # (batch, 3, 3)
        matrices = matrices.to(self.device, non_blocking=True)
        # One after the other: padded to one length they took 3 times as long on a processor.
        lengths = self.rows.lengths[structures].tolist()
        parts = zip(matrices, hkl.split(lengths, 1), values.split(lengths, 1), strict=True)
        return torch.stack([self._box(matrix @ h, value) for matrix, h, value in parts])

    def _cells(
        self, n_batch: int, owner: torch.Tensor, hkl: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Inverse Fourier transforms of (channels, s) values at the indices (3, s)."""
        n = self.spec.edge
        half = n // 2 + 1
        grids = torch.zeros(
            self.n_channels, n_batch * n * n * half, dtype=values.dtype, device=self.device
        )
        h, k, l = hkl.long()  # noqa: E741
        plane = owner * n * n * half + l
        # The real transform reads both members of a pair g, -g within the plane l = 0; elsewhere
        # their place is never read, so the second one goes where the first one will.
        flat = l == 0
        sign = torch.where(flat, -1, 1)
        partners = torch.where(flat, values.conj(), values)
        for sides, shown in ((sign, partners), (torch.ones_like(sign), values)):
            grids[:, plane + ((sides * h) % n * n + (sides * k) % n) * half] = shown
        grids = grids.view(self.n_channels, n_batch, n, n, half).transpose(0, 1)
        return torch.fft.irfftn(grids, s=(n, n, n), dim=(2, 3, 4), norm="forward")

    def _box(self, g: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Sum of waves at the points of a cube, as products of matrices.

        The points lie symmetrically about 0, so those of one octant are enough: with
        exp(i g_x x) = cos + i sin along each axis the sum falls apart into eight real ones, even or
        odd along each axis, and the other octants differ by the signs of the odd ones.

        Args:
            g: (3, m) wave vectors in 1/Å.
            values: (channels, m) of one Friedel half.

        Returns:
            (channels, n, n, n).
        """
        m, h = g.shape[1], len(self.upper)
        phase = g[:, None] * self.upper[:, None]  # (3, h, m)
        x, y, z = torch.stack([phase.cos(), phase.sin()], dim=1)  # (2, h, m) each: even and odd
        both = torch.where((g == 0).all(dim=0), values, 2 * values)  # g and -g
        # cos cos, cos sin, sin cos, sin sin carry 1, i, i, i² = -1; what is left of each is real.
        quarter = torch.tensor([1, 1j, 1j, -1], dtype=values.dtype, device=self.device)
        turned = quarter[:, None, None] * both  # (4, channels, m)
        along_z = torch.stack([turned.real, -turned.imag], dim=2)[:, :, :, None] * z
        plane = (x[:, None, :, None] * y[None, :, None]).view(4, h * h, m)
        octant = plane @ along_z.flatten(1, 3).mT  # (4, h², channels · 2 · h)
        parts = octant.view(2, 2, h, h, -1, 2, h).permute(4, 0, 2, 1, 3, 5, 6)
        for axis in (1, 2, 3):  # each reflection takes one parity away
            parts = self._both_sides(parts, axis)
        return parts

    def _both_sides(self, parts: torch.Tensor, axis: int) -> torch.Tensor:
        """(…, 2, h, …) even and odd part for x ≥ 0, the parity at this axis, to (…, n, …)."""
        even, odd = parts.unbind(axis)
        lower = (even - odd).flip(axis).narrow(axis, 0, self.spec.edge // 2)
        return torch.cat([lower, even + odd], dim=axis)


def _wave(phase: torch.Tensor) -> torch.Tensor:
    """exp(i phase)."""
    return torch.complex(phase.cos(), phase.sin())


def random_poses(spec: ImageSpec, n: int, generator: torch.Generator) -> torch.Tensor:
    """(n, 3, 4) poses: origins uniform over the cell, and in a box rotations uniform over SO(3)."""
    poses = torch.eye(3, 4).repeat(n, 1, 1)
    if spec.poses == "random":
        poses[:, :, 3] = torch.rand(n, 3, generator=generator)
        if spec.frame == "box":
            poses[:, :, :3] = random_rotations(n, generator)
    return poses
