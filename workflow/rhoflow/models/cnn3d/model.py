"""The network: convolutions with pooling, then dense layers."""

import torch
from torch import nn

from rhoflow.models.cnn3d.spec import CNN3DSpec


class VoxelCNN(nn.Module):
    """Convolutions with pooling, then dense layers, to one number a crystal."""

    def __init__(self, spec: CNN3DSpec, n_voxels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width, edge = 1, n_voxels
        for filters in spec.channels:
            layers += [
                nn.Conv3d(width, filters, spec.kernel_size, padding=spec.kernel_size // 2),
                nn.LeakyReLU(spec.leak),
            ]
            if edge >= 4:  # pooling below 2 voxels would leave nothing to look at
                layers.append(nn.MaxPool3d(2))
                edge //= 2
            width = filters
        self.features = nn.Sequential(*layers, nn.Flatten())
        width *= edge**3
        head: list[nn.Module] = []
        for units in spec.dense:
            head += [nn.Linear(width, units), nn.LeakyReLU(spec.leak)]
            width = units
        self.head = nn.Sequential(*head, nn.Dropout(spec.dropout), nn.Linear(width, 1))

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        """(batch, channels, n, n, n) voxels to (batch,) predictions."""
        return self.head(self.features(voxels)).squeeze(1)
