"""Equation of state: energies at several volumes, and the Birch-Murnaghan fit.

F. Birch, Phys. Rev. 71, 809 (1947): at third order the energy is a cubic polynomial in
x = V^(-2/3), so the fit is linear and needs no starting values. The cell keeps its shape and the
atoms their fractional coordinates: what is found is the hydrostatic equilibrium at fixed shape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.constants import elementary_charge

from rhoflow.spec import Spec

# A minimum farther from the middle of the window, in steps, moves the window: noise at one end
# would weigh too much.
OFF_CENTRE = 0.6

# 1 eV/Å³ in GPa.
GPA = elementary_charge * 1e21


class EquationOfStateSpec(Spec):
    """Which volumes are computed to find the equilibrium."""

    algorithm: Literal[1] = 1
    points: int = Field(default=5, ge=5, le=11, description="Volumes of the fit; an odd number.")
    step: float = Field(
        default=0.05,
        gt=0.002,
        le=0.1,
        description="Ratio of neighbouring volumes minus one (no unit).",
    )
    cutoff_ev: float | None = Field(
        default=None,
        ge=200,
        le=2000,
        description="Plane-wave cutoff of these runs in eV; null: the engine's. Oxides have a "
        "smooth curve from 600 on; at 500 their bulk moduli scatter by 5 percent.",
    )
    tolerance_factor: float = Field(
        default=10.0,
        ge=1,
        le=100,
        description="How many times looser than the spec's these runs converge; the energy is "
        "second order in the error of the density (no unit).",
    )
    max_points: int = Field(
        default=13,
        ge=5,
        le=41,
        description="Volumes at most while the window moves to the minimum; a structure that "
        "needs more fails.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.points % 2 == 0:
            raise ValueError(f"points is {self.points}; give an odd number of volumes")
        if self.max_points < self.points:
            raise ValueError(f"max_points is {self.max_points}, less than points {self.points}")
        return self


@dataclass(frozen=True, eq=False)
class EquationOfState:
    """A fitted equation of state.

    Attributes:
        volume: equilibrium volume, Å³.
        energy: energy there, eV.
        bulk_modulus: B at the equilibrium, GPa.
        derivative: dB/dP there.
        rms: root mean square of the residuals, eV.
        volumes: (n,) Å³, ascending: those of the fit.
        energies: (n,) eV.
    """

    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    rms: float
    volumes: NDArray[np.float64]
    energies: NDArray[np.float64]


def birch_murnaghan(
    volumes: NDArray[np.float64], energies: NDArray[np.float64]
) -> EquationOfState | None:
    """Least-squares fit of the third-order Birch-Murnaghan equation.

    Args:
        volumes: (n,) Å³, at least four different ones.
        energies: (n,) eV.

    Returns:
        The fit, or None if the polynomial has no minimum within the volumes.
    """
    x = volumes ** (-2 / 3)
    # numpy maps x to [-1, 1] for the fit, which keeps it well conditioned.
    energy = Polynomial.fit(x, energies, 3)
    d1, d2, d3 = (energy.deriv(m) for m in (1, 2, 3))
    roots = d1.roots()
    real = roots[np.isreal(roots)].real
    minima = [z for z in real if x.min() <= z <= x.max() and d2(z) > 0]
    if not minima:
        return None
    x0 = float(minima[0])
    volume = x0**-1.5
    # With dx/dV = -(2/3) x^(5/2): B = V E'' and B' = -1 - V E'''/E'', derivatives by V.
    slope = -2 / 3 * x0**2.5
    curvature = d2(x0) * slope**2
    third = d3(x0) * slope**3 + 3 * d2(x0) * slope * (10 / 9 * x0**4)
    residuals = energies - energy(x)
    return EquationOfState(
        volume=volume,
        energy=float(energy(x0)),
        bulk_modulus=float(volume * curvature * GPA),
        derivative=float(-1 - volume * third / curvature),
        rms=float(np.sqrt(np.mean(residuals**2))),
        volumes=volumes,
        energies=energies,
    )


def find_equilibrium(
    energy_at: Callable[[float], float], volume: float, spec: EquationOfStateSpec
) -> EquationOfState:
    """Energies on a geometric grid of volumes around the minimum, and their fit.

    Starts with a window centred at ``volume`` and moves it by single volumes until the fitted
    minimum is within 0.6 steps of its middle. The fit is that of the last window alone.

    Args:
        energy_at: energy in eV of a volume in Å³; each volume is asked for once.
        volume: where to begin, Å³.
        spec: number and spacing of the volumes.

    Raises:
        ValueError: no minimum within ``max_points`` volumes.
    """
    half = spec.points // 2
    known: dict[int, float] = {}
    visited: set[int] = set()
    centre = 0
    while True:
        visited.add(centre)
        window = range(centre - half, centre + half + 1)
        for k in sorted(set(window) - known.keys(), key=abs):
            if len(known) == spec.max_points:
                raise ValueError(_no_minimum(known, volume, spec))
            known[k] = energy_at(volume * (1 + spec.step) ** k)
        volumes = volume * (1 + spec.step) ** np.array(window, dtype=np.float64)
        energies = np.array([known[k] for k in window])
        fit = birch_murnaghan(volumes, energies)
        following = centre + _towards_minimum(fit, volumes, energies, spec)
        # Noise can make two neighbouring windows point at each other: either will do.
        if following in visited:
            if fit is None:
                raise ValueError(_no_minimum(known, volume, spec))
            return fit
        centre = following


def _towards_minimum(
    fit: EquationOfState | None,
    volumes: NDArray[np.float64],
    energies: NDArray[np.float64],
    spec: EquationOfStateSpec,
) -> int:
    """-1, 0 or 1: where the window must go to have the minimum in its middle."""
    if fit is None:
        return 1 if energies[-1] < energies[0] else -1
    middle = volumes[len(volumes) // 2]
    off = np.log(fit.volume / middle) / np.log1p(spec.step)
    return 0 if abs(off) <= OFF_CENTRE else int(np.sign(off))


def _no_minimum(known: dict[int, float], volume: float, spec: EquationOfStateSpec) -> str:
    smallest, largest = (volume * (1 + spec.step) ** k for k in (min(known), max(known)))
    return (
        f"equation of state: no minimum between {smallest:.1f} and {largest:.1f} Å³ "
        f"({len(known)} volumes)"
    )
