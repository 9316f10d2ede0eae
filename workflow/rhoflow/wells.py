"""Particles in a box with Gaussian wells: potentials, and their exact densities and energies.

The problem of Snyder et al., Phys. Rev. Lett. 108, 253002 (2012), on which Brockherde et al., Nat.
Commun. 8, 872 (2017), learn their map from potentials to densities. Particles of one spin that do
not feel each other fill the lowest states between hard walls at 0 and 1 bohr. Wave functions are
sums of sin(kπx), each of which the walls allow: with 96 of them, and integrals by the trapezoidal
rule on the grid, energies are exact to 1e-7 kcal/mol, where second differences on 500 points are
0.02 kcal/mol off in the mean.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from rhoflow.errors import DataError
from rhoflow.spec import Spec

KCAL_PER_MOL_PER_HARTREE = 627.5094740631

# Sines in a wave function: 48 do for the published potentials, 80 for the narrowest and deepest
# wells that a spec allows.
SINES = 96

# Potentials that are diagonalised at a time: some tens of MB of matrices.
CHUNK = 200

Range = tuple[float, float]


class WellsSpec(Spec):
    """Random potentials -Σ a exp(-(x - b)² / 2c²) in a box of length 1 bohr, solved exactly."""

    kind: Literal["wells"] = "wells"
    algorithm: Literal[1] = 1
    size: int = Field(default=1200, ge=1, le=1_000_000, description="Number of potentials.")
    wells: int = Field(default=3, ge=1, le=100, description="Gaussian wells in a potential.")
    points: int = Field(
        default=500, ge=256, le=10_000, description="Grid points, both walls among them."
    )
    particles: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Fermions of one spin, without interaction (the paper: 1).",
    )
    depth_hartree: Range = Field(
        default=(1.0, 10.0), description="Least and largest depth a of a well, Ha."
    )
    centre_bohr: Range = Field(
        default=(0.4, 0.6), description="Least and largest place b of a well in the box, bohr."
    )
    width_bohr: Range = Field(
        default=(0.03, 0.1), description="Least and largest width c of a well, bohr."
    )
    seed: int = Field(default=2012, ge=0, description="Seed of the random potentials.")

    @field_validator("depth_hartree")
    @classmethod
    def _depths(cls, ends: Range) -> Range:
        return _within(ends, 0.001, 100.0)

    @field_validator("centre_bohr")
    @classmethod
    def _centres(cls, ends: Range) -> Range:
        return _within(ends, 0.0, 1.0)

    @field_validator("width_bohr")
    @classmethod
    def _widths(cls, ends: Range) -> Range:
        return _within(ends, 0.02, 1.0)


def _within(ends: Range, low: float, high: float) -> Range:
    """The two ends of a range, if they ascend within bounds."""
    if not low <= ends[0] <= ends[1] <= high:
        raise ValueError(f"expected two ascending numbers within {low:g} and {high:g}")
    return ends


@dataclass(frozen=True, eq=False)
class WellSet:
    """Potentials in a box, and their ground states, on one grid from wall to wall.

    Attributes:
        ids: (n,) names.
        potentials: (n, points) Ha.
        densities: (n, points) particles/bohr.
        kinetic: (n,) Ha.
        energies: (n,) Ha, kinetic and potential ones together.
    """

    ids: tuple[str, ...]
    potentials: NDArray[np.float64]
    densities: NDArray[np.float64]
    kinetic: NDArray[np.float64]
    energies: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of potentials."""
        return len(self.ids)

    @property
    def spacing(self) -> float:
        """Between grid points, bohr."""
        return 1.0 / (self.potentials.shape[1] - 1)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> "WellSet":
        """The potentials at the given positions, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return WellSet(
            tuple(self.ids[i] for i in chosen),
            self.potentials[chosen],
            self.densities[chosen],
            self.kinetic[chosen],
            self.energies[chosen],
        )

    def fingerprint(self) -> str:
        """A digest of all values."""
        known = hashlib.sha256()
        for array in (self.potentials, self.densities, self.kinetic, self.energies):
            known.update(np.ascontiguousarray(array).tobytes())
        return known.hexdigest()


def grid(points: int) -> NDArray[np.float64]:
    """(points,) from wall to wall, bohr."""
    return np.linspace(0.0, 1.0, points)


def solve(spec: WellsSpec) -> WellSet:
    """Random potentials and their ground states; a larger size goes on after a smaller one."""
    potentials = random_potentials(spec)
    parts = [
        ground_states(potentials[i : i + CHUNK], spec.particles) for i in range(0, spec.size, CHUNK)
    ]
    densities, kinetic, energies = (np.concatenate(a) for a in zip(*parts, strict=True))
    ids = tuple(f"wells-{i:06d}" for i in range(spec.size))
    return WellSet(ids, potentials, densities, kinetic, energies)


def random_potentials(spec: WellsSpec) -> NDArray[np.float64]:
    """(size, points) Ha; depths, centres and widths are uniform in their ranges."""
    uniform = np.random.default_rng(spec.seed).random((spec.size, spec.wells, 3))
    ranges = np.array([spec.depth_hartree, spec.centre_bohr, spec.width_bohr])
    drawn = ranges[:, 0] + uniform * (ranges[:, 1] - ranges[:, 0])
    x = grid(spec.points)
    potentials = np.zeros((spec.size, spec.points))
    for well in range(spec.wells):
        depth, centre, width = (drawn[:, well, i, None] for i in range(3))  # (size, 1)
        potentials -= depth * np.exp(-0.5 * ((x - centre) / width) ** 2)
    return potentials


def ground_states(
    potentials: NDArray[np.float64], particles: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Particles of one spin in the lowest states between hard walls.

    In the basis √2 sin(kπx), a potential has the matrix C_|k-l| - C_(k+l) with
    C_m = ∫ cos(mπx) v(x) dx, and the kinetic energy is k²π²/2 on the diagonal. Since the sines are
    orthonormal on the grid too, densities add up to the number of particles, and energies are
    kinetic + Σ n v · spacing, without an error of quadrature.

    Args:
        potentials: (n, points) Ha on a grid from wall to wall.
        particles: their number.

    Returns:
        (n, points) densities in 1/bohr, (n,) kinetic energies and (n,) energies in Ha.
    """
    points = potentials.shape[1]
    x, k = grid(points), np.arange(1, SINES + 1)
    cosines = np.cos(np.pi * np.outer(x, np.arange(2 * SINES + 1)))  # (points, 2 SINES + 1)
    moments = potentials @ cosines / (points - 1)
    hamiltonian = moments[:, np.abs(k[:, None] - k)] - moments[:, k[:, None] + k]
    free = (np.pi * k) ** 2 / 2
    hamiltonian[:, k - 1, k - 1] += free
    levels, states = np.linalg.eigh(hamiltonian)
    states = np.swapaxes(states[:, :, :particles], 1, 2)  # (n, particles, SINES)
    waves = states @ (np.sqrt(2) * np.sin(np.pi * np.outer(k, x)))  # (n, particles, points)
    densities = (waves**2).sum(axis=1)
    return densities, (states**2 @ free).sum(axis=1), levels[:, :particles].sum(axis=1)


def von_weizsaecker(densities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) Ha, ½ ∫ |∇√n|² dx: the exact kinetic energy of (n, points) densities of one particle.

    A density below zero counts as zero. The square root is a sum of sines on the grid.
    """
    # Every job of a cluster reads the config, and with it this module; few need transforms.
    from scipy.fft import dst

    points = densities.shape[1]
    roots = np.sqrt(np.clip(densities[:, 1:-1], 0.0, None))
    sines = dst(roots, type=1, axis=1) / (np.sqrt(2) * (points - 1))  # coefficients of √2 sin(kπx)
    return sines**2 @ ((np.pi * np.arange(1, points - 1)) ** 2 / 2)


def density_driven(predicted: NDArray[np.float64], exact: WellSet) -> NDArray[np.float64]:
    """(n,) Ha, the exact energy functional at a predicted density less the ground state's energy.

    Kim, Sim and Burke, Phys. Rev. Lett. 111, 073003 (2013): what of an energy's error is due to the
    density. The functional is known for one particle alone, T by von Weizsäcker.

    Args:
        predicted: (n, points) 1/bohr.
        exact: the same potentials, solved.

    Raises:
        DataError: the potentials do not hold one particle each.
    """
    held = exact.densities.sum(axis=1) * exact.spacing
    if not np.allclose(held, 1.0):
        raise DataError(
            f"the potential of '{exact.ids[int(np.argmax(np.abs(held - 1)))]}' does not hold one "
            "particle; expected particles: 1, for which the exact kinetic energy of any density is "
            "known; solve the wells with this setting"
        )
    potential = (predicted * exact.potentials).sum(axis=1) * exact.spacing
    return von_weizsaecker(predicted) + potential - exact.energies


def check_potentials(inputs: WellSet) -> None:
    """Refuse what no map from potentials can read.

    Raises:
        DataError: a potential is not finite, or the same everywhere in the box.
    """
    finite = np.isfinite(inputs.potentials).all(axis=1)
    if not finite.all():
        bad = inputs.ids[int(np.argmin(finite))]
        raise DataError(
            f"the potential of '{bad}' is not finite ({int((~finite).sum())} of {len(inputs)} "
            "are not); expected numbers in Ha; solve the potentials again"
        )
    flat = np.ptp(inputs.potentials, axis=1) == 0
    if flat.any():
        bad = int(np.argmax(flat))
        raise DataError(
            f"the potential of '{inputs.ids[bad]}' is {inputs.potentials[bad, 0]:g} Ha everywhere "
            f"in the box ({int(flat.sum())} of {len(inputs)} are constant); expected a potential "
            "with wells; leave it out"
        )
