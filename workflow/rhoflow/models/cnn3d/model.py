"""The network: convolutions with pooling, then dense layers."""

from collections.abc import Sequence

import torch
from torch import nn

from rhoflow.models.cnn3d.spec import CNN3DSpec


class VoxelCNN(nn.Module):
    """Convolutions with pooling, then dense layers, to some numbers a crystal.

    Args:
        spec: sizes of the layers.
        grid_shape: voxels along each axis.
        n_channels: fields whose amplitudes the voxels hold.
        n_outputs: targets, or classes.
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
        width, edges = n_channels, list(grid_shape)
        for filters in spec.channels:
            layers += [
                nn.Conv3d(width, filters, spec.kernel_size, padding=spec.kernel_size // 2),
                nn.LeakyReLU(spec.leak),
            ]
            # Pooling below 2 voxels would leave nothing to look at.
            window = tuple(2 if edge >= 4 else 1 for edge in edges)
            if max(window) > 1:
                layers.append(nn.MaxPool3d(window))
                edges = [edge // w for edge, w in zip(edges, window, strict=True)]
            width = filters
        self.features = nn.Sequential(*layers, nn.Flatten())
        width *= edges[0] * edges[1] * edges[2]
        head: list[nn.Module] = []
        for units in spec.dense:
            head += [nn.Linear(width, units), nn.LeakyReLU(spec.leak)]
            width = units
        self.head = nn.Sequential(*head, nn.Dropout(spec.dropout), nn.Linear(width, n_outputs))

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, *grid_shape) voxels to (batch, outputs)."""
        return self.head(self.features(voxels))
