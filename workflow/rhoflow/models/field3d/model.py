"""The operators."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from rhoflow.models.field3d.inputs import Fields
from rhoflow.models.field3d.spec import DensityOperatorSpec

AXES = (-3, -2, -1)
# Under the root of a squared gradient, whose slope at 0 is not finite.
SMOOTHING = 1e-4


class Pointwise(nn.Module):
    """Linear layers over the fields at each point, (batch, fields, …) in and out."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the fields, with SiLU between the layers."""
        x = x.movedim(1, -1)
        for i, layer in enumerate(self.layers):
            x = layer(functional.silu(x) if i else x)
        return x.movedim(-1, 1)


class Filters(nn.Module):
    """Convolutions of each field with functions of the distance alone.

    k(|g|) is a sum of radial functions; one for each field and filter.
    """

    def __init__(self, fields: int, filters: int, functions: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(filters, fields, functions) / functions**0.5)

    def forward(self, transformed: torch.Tensor, radial: torch.Tensor) -> torch.Tensor:
        """(batch, fields, n1, n2, m) to (batch, filters, fields, n1, n2, m)."""
        kernels = torch.einsum("kcf,bfxyz->bkcxyz", self.weights, radial)
        return transformed[:, None] * kernels


class SpectralLayer(nn.Module):
    """u + MLP(u, k*u, |∇ k'*u|), point by point."""

    def __init__(self, spec: DensityOperatorSpec) -> None:
        super().__init__()
        n, functions = spec.fields, spec.radial_functions
        self.filters = Filters(n, spec.filters, functions)
        self.gradient = Filters(n, 1, functions) if spec.gradients else None
        self.mix = Pointwise(n * (1 + spec.filters + spec.gradients), 2 * n, n)

    def forward(self, u: torch.Tensor, inputs: Fields) -> torch.Tensor:
        """(batch, fields, n1, n2, n3) to the same shape."""
        shape = u.shape[-3:]
        transformed = torch.fft.rfftn(u, dim=AXES)
        filtered = self.filters(transformed, inputs.radial).flatten(1, 2)
        seen = [u, torch.fft.irfftn(filtered, s=shape, dim=AXES)]
        if self.gradient is not None:
            slopes = 1j * inputs.g[:, :, None] * self.gradient(transformed, inputs.radial)
            vectors = torch.fft.irfftn(slopes, s=shape, dim=AXES)  # (batch, 3, fields, …)
            seen.append(((vectors**2).sum(dim=1) + SMOOTHING).sqrt())
        return u + self.mix(torch.cat(seen, dim=1))


class SpectralOperator(nn.Module):
    """Fields to the difference of the density, by products with functions of |g|."""

    def __init__(self, spec: DensityOperatorSpec, channels: int) -> None:
        super().__init__()
        self.first = Filters(channels, spec.radial_functions, spec.radial_functions)
        self.enter = Pointwise(channels * (2 + spec.radial_functions), spec.fields)
        self.layers = nn.ModuleList(SpectralLayer(spec) for _ in range(spec.layers))
        self.leave = nn.Conv3d(spec.fields, 1, 1)
        self.linear = nn.Parameter(torch.zeros(channels, spec.radial_functions))
        nn.init.normal_(self.leave.weight, std=0.05)

    def forward(self, inputs: Fields) -> torch.Tensor:
        """(batch, points)."""
        x, shape = inputs.values, inputs.values.shape[-3:]
        transformed = torch.fft.rfftn(x, dim=AXES)
        filtered = self.first(transformed, inputs.radial).flatten(1, 2)
        seen = torch.fft.irfftn(filtered, s=shape, dim=AXES)
        squashed = x.sign() * torch.log1p(x.abs())  # high near nuclei, and of either sign
        u = self.enter(torch.cat([x, squashed, seen], dim=1))
        for layer in self.layers:
            u = layer(u, inputs)
        kernel = torch.einsum("cf,bfxyz->bcxyz", self.linear, inputs.radial)
        answer = torch.fft.rfftn(self.leave(u)[:, 0], dim=AXES) + (kernel * transformed).sum(dim=1)
        return finished(answer, inputs)


class ConvolutionOperator(nn.Module):
    """Fields to the difference of the density, by filters on neighbouring points."""

    def __init__(self, spec: DensityOperatorSpec, channels: int) -> None:
        super().__init__()
        edge = spec.kernel_size
        self.enter = nn.Conv3d(2 * channels, spec.fields, edge)
        self.layers = nn.ModuleList(
            nn.Conv3d(spec.fields, spec.fields, edge) for _ in range(spec.layers)
        )
        self.leave = nn.Conv3d(spec.fields, 1, 1)
        nn.init.normal_(self.leave.weight, std=0.05)
        self.padding = (edge // 2,) * 6

    def forward(self, inputs: Fields) -> torch.Tensor:
        """(batch, points)."""
        x = inputs.values
        u = self.enter(self._padded(torch.cat([x, x.sign() * torch.log1p(x.abs())], dim=1)))
        for layer in self.layers:
            u = u + layer(self._padded(functional.silu(u)))
        return finished(torch.fft.rfftn(self.leave(u)[:, 0], dim=AXES), inputs)

    def _padded(self, u: torch.Tensor) -> torch.Tensor:
        """With what lies at the opposite faces of the cell."""
        return functional.pad(u, self.padding, mode="circular")


def finished(answer: torch.Tensor, inputs: Fields) -> torch.Tensor:
    """(batch, n1, n2, m) to (batch, points): inside g_cut, without electrons, weighted."""
    inside = (inputs.radial.sum(dim=1) > 0) & (inputs.g.abs().sum(dim=1) > 0)
    values = torch.fft.irfftn(answer * inside, s=inputs.values.shape[-3:], dim=AXES)
    return values.flatten(1) * inputs.weight[:, None]


def build(spec: DensityOperatorSpec, channels: int) -> nn.Module:
    """The network of a spec."""
    kinds = {"spectral": SpectralOperator, "convolution": ConvolutionOperator}
    return kinds[spec.operator](spec, channels)
