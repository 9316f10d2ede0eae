"""Superposed densities of free atoms, from their form factors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoflow.density.spectrum import reciprocal_lattice
from rhoflow.errors import DataError


@dataclass(frozen=True, eq=False)
class FormFactors:
    """Fourier transforms of spherical densities, f(g) = ∫ ρ(r) exp(-i g·r) dr.

    Attributes:
        step: distance of the values on the axis of g, 1/Å.
        values: by element, (n,) electrons at g = 0, step, 2 step, …; all of one length.
    """

    step: float
    values: Mapping[str, NDArray[np.float64]]

    @property
    def g_max(self) -> float:
        """The largest g at which they are known, 1/Å."""
        return self.step * (len(next(iter(self.values.values()))) - 1)

    def at(self, element: str, g: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) electrons at |g| in 1/Å, by a cubic spline that is flat at g = 0.

        Raises:
            DataError: the element is not among them, or they end before the largest g.
        """
        if element not in self.values:
            known = ", ".join(sorted(self.values))
            raise DataError(f"no free atom is known of {element}; there are {known}")
        if g.max(initial=0.0) > self.g_max * (1 + 1e-9):
            raise DataError(
                f"densities of free atoms end at |g| = {self.g_max:g} 1/Å, but {g.max():.3f} 1/Å "
                "are asked for"
            )
        from scipy.interpolate import CubicSpline  # not with the config

        values = self.values[element]
        knots = self.step * np.arange(len(values))
        spline = CubicSpline(knots, values, bc_type=((1, 0.0), "not-a-knot"))
        return np.asarray(spline(g), dtype=np.float64)


def superposed(
    lattice: NDArray[np.float64],
    hkl: NDArray[np.integer],
    symbols: Sequence[str],
    frac_coords: NDArray[np.float64],
    factors: FormFactors,
) -> NDArray[np.complex128]:
    """(m,) Fourier coefficients of free atoms put side by side, e/Å³.

    s(g) = Σ_a f_a(|g|) exp(-i g·R_a) / V.

    Args:
        lattice: (3, 3) Å, rows.
        hkl: (m, 3) Miller indices.
        symbols: (n,) elements.
        frac_coords: (n, 3).
        factors: of all these elements.
    """
    g = np.linalg.norm(hkl @ reciprocal_lattice(lattice), axis=1)
    total = np.zeros(len(hkl), dtype=np.complex128)
    for element, phases in structure_factors(hkl, symbols, frac_coords).items():
        total += factors.at(element, g) * phases
    return total / abs(np.linalg.det(lattice))


def structure_factors(
    hkl: NDArray[np.integer], symbols: Sequence[str], frac_coords: NDArray[np.float64]
) -> dict[str, NDArray[np.complex128]]:
    """(m,) Σ exp(-i g·R) over the atoms of each element."""
    names = np.asarray(symbols)
    return {
        str(element): np.exp(-2j * np.pi * (hkl @ frac_coords[names == element].T)).sum(axis=1)
        for element in np.unique(names)
    }
