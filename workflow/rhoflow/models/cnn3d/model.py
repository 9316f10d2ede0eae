"""The network: convolutions with pooling, then dense layers."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from rhoflow.models.cnn3d.spec import SQUEEZE, Branch, CNN3DSpec


class VoxelCNN(nn.Module):
    """Convolutions with pooling, then dense layers, to some numbers a crystal.

    Args:
        spec: sizes of the layers.
        grid_shape: voxels along each axis.
        n_channels: fields that the voxels hold.
        n_outputs: targets, or classes.

    Raises:
        ConfigError: the grid is too small for circular padding.
    """

    def __init__(
        self,
        spec: CNN3DSpec,
        grid_shape: Sequence[int],
        *,
        n_channels: int = 1,
        n_outputs: int = 1,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width, edges = n_channels, spec.edges(grid_shape)
        for filters, (before, after) in zip(spec.channels, pairwise(edges), strict=True):
            layers += [_convolution(spec, width, filters), nn.LeakyReLU(spec.leak)]
            if after != before:
                window = tuple(2 if b > a else 1 for b, a in zip(before, after, strict=True))
                layers.append(nn.MaxPool3d(window))
            layers += _attention(spec, filters)  # after pooling: an eighth of the voxels
            width = filters
        if spec.pooling == "mean":
            layers.append(nn.AdaptiveAvgPool3d(1))
        else:
            width *= edges[-1][0] * edges[-1][1] * edges[-1][2]
        self.features = nn.Sequential(*layers, nn.Flatten())
        head: list[nn.Module] = []
        for units in spec.dense:
            head += [nn.Linear(width, units), nn.LeakyReLU(spec.leak)]
            width = units
        self.head = nn.Sequential(*head, nn.Dropout(spec.dropout), nn.Linear(width, n_outputs))

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, *grid_shape) voxels to (batch, outputs)."""
        return self.head(self.features(voxels))


class SideBySide(nn.Module):
    """Convolutions of several scales that read the same voxels, their filters joined."""

    def __init__(self, convolutions: Sequence[nn.Conv3d]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, x, y, z) to (batch, filters, x, y, z)."""
        return torch.cat([convolution(voxels) for convolution in self.convolutions], dim=1)


class ChannelAttention(nn.Module):
    """Squeeze and excitation (Hu et al., arXiv 1709.01507): channels weighed by their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        units = max(1, channels // SQUEEZE)
        self.squeeze, self.excite = nn.Linear(channels, units), nn.Linear(units, channels)

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, x, y, z), each channel times a number between 0 and 1."""
        means = voxels.mean(dim=(2, 3, 4))  # (batch, channels)
        weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))
        return voxels * weights[:, :, None, None, None]


class SpatialAttention(nn.Module):
    """Voxels weighed by mean and maximum of their channels (Woo et al., arXiv 1807.06521)."""

    def __init__(self, spec: CNN3DSpec) -> None:
        super().__init__()
        self.look = _convolve(spec, 2, Branch(1, spec.kernel_size, 1))

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, x, y, z), each voxel times a number between 0 and 1."""
        seen = torch.cat([voxels.mean(dim=1, keepdim=True), voxels.amax(dim=1, keepdim=True)], 1)
        return voxels * torch.sigmoid(self.look(seen))


def _convolution(spec: CNN3DSpec, width: int, filters: int) -> nn.Module:
    """What a layer reads voxels with."""
    made = [_convolve(spec, width, branch) for branch in spec.branches(filters)]
    return made[0] if len(made) == 1 else SideBySide(made)


def _convolve(spec: CNN3DSpec, width: int, branch: Branch) -> nn.Conv3d:
    """A convolution whose output has as many voxels as its input."""
    return nn.Conv3d(
        width,
        branch.filters,
        branch.edge,
        padding=branch.reach,
        dilation=branch.dilation,
        padding_mode=spec.padding,
    )


def _attention(spec: CNN3DSpec, channels: int) -> list[nn.Module]:
    """What weighs the channels and the voxels of a layer."""
    if spec.attention == "none":
        return []
    both = spec.attention == "both"
    return [ChannelAttention(channels), *([SpatialAttention(spec)] if both else [])]
