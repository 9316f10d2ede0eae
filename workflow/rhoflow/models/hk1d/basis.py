"""What a density in the box is made of: grid points, waves, or principal components."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import ConfigError
from rhoflow.models.hk1d.spec import PUBLISHED, HKMapSpec
from rhoflow.wells import grid

# Principal components of less than this part of the first one's spread are rounding.
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Basis:
    """Functions, orthonormal over the grid, for densities that vanish at both walls.

    Attributes:
        origin: (points,) 1/bohr, the density without any of them.
        functions: (functions, points).
    """

    origin: NDArray[np.float64]
    functions: NDArray[np.float64]

    def coefficients(self, densities: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, functions) of (n, points) densities."""
        return (densities - self.origin) @ self.functions.T

    def densities(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, points) 1/bohr from (n, functions)."""
        return self.origin + coefficients @ self.functions


def make_basis(spec: HKMapSpec, densities: NDArray[np.float64]) -> Basis:
    """The basis of a spec on the grid of (n, points) training densities.

    Raises:
        ConfigError: more waves than the grid tells apart.
    """
    points = densities.shape[1]
    if spec.basis == "grid":
        return Basis(np.zeros(points), np.eye(points))
    functions = spec.functions or PUBLISHED[spec.basis]
    if spec.basis == "principal":
        return principal(densities, functions)
    if functions >= points:
        raise ConfigError(
            f"a basis of {functions} functions on {points} grid points; expected fewer functions "
            "than points; lower models.NAME.functions"
        )
    waves = cosine(functions, points) if spec.basis == "cosine" else fourier(functions, points)
    return Basis(np.zeros(points), waves)


def principal(densities: NDArray[np.float64], functions: int | None = None) -> Basis:
    """Principal components of (n, points) densities: the first ones, or all beyond rounding."""
    mean = densities.mean(axis=0)
    _, spread, components = np.linalg.svd(densities - mean, full_matrices=False)
    sound = int((spread > ROUNDING * spread[0]).sum())
    return Basis(mean, components[: min(sound, functions or sound)])


def fourier(functions: int, points: int) -> NDArray[np.float64]:
    """(functions, points) real plane waves with the period of the box: 1, cos 2πx, sin 2πx, …"""
    number = np.arange(functions)
    angle = 2 * np.pi * np.outer((number + 1) // 2, grid(points))
    waves = np.where((number % 2 == 0)[:, None], np.cos(angle), np.sin(angle))
    return waves * np.where(number == 0, 1.0, np.sqrt(2))[:, None] / np.sqrt(points - 1)


def cosine(functions: int, points: int) -> NDArray[np.float64]:
    """(functions, points) cos(kπx) with k from 0: products of two sines are sums of these."""
    number = np.arange(functions)
    waves = np.cos(np.pi * np.outer(number, grid(points)))
    return waves * np.where(number == 0, 1.0, np.sqrt(2))[:, None] / np.sqrt(points - 1)
