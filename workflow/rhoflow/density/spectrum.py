"""The density spectrum: Fourier coefficients of a periodic field inside a sphere.

Every stage after DFT works on this one representation. For a field ρ(r) with the lattice A
(rows a_i, Å) the coefficients are (Kajita et al., Sci. Rep. 7, 16991 (2017), eq. 1)

    s(g) = (1/V) ∫_cell ρ(r) exp(-i g·r) dr,        g = hkl · B,   B = 2π A⁻ᵀ,

so that ρ(r) = Σ_g s(g) exp(i g·r) and s(0) is the mean density. ρ is real, so s(-g) = s(g)*
and one Friedel half is stored: l > 0, or l = 0 and k > 0, or k = l = 0 and h ≥ 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.constants import elementary_charge, epsilon_0

from rhoflow.errors import DataError

# e²/(4πε₀): the energy of two elementary charges 1 Å apart, eV·Å.
COULOMB_EV_ANGSTROM = elementary_charge / (4 * np.pi * epsilon_0) * 1e10

# Symmetry-equivalent g on the rim of a sphere must not be told apart by rounding.
RIM = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Fourier coefficients of one crystal's density.

    Attributes:
        lattice: (3, 3) float64, Å; rows are the lattice vectors.
        n_atoms: number of atoms in the cell.
        hkl: (n, 3) int16, Miller indices of one Friedel half, g = 0 included.
        coefficients: (n,) complex64, e/Å³.
        g_max: radius (1/Å) up to which every coefficient is known; infinite if those that are
            not listed are zero.
    """

    lattice: NDArray[np.float64]
    n_atoms: int
    hkl: NDArray[np.int16]
    coefficients: NDArray[np.complex64]
    g_max: float = float("inf")

    @property
    def volume(self) -> float:
        """Cell volume in Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def n_electrons(self) -> float:
        """Number of electrons in the cell, s(0)·V."""
        at_zero = ~self.hkl.any(axis=1)
        return float(self.coefficients[at_zero].real.sum() * self.volume)

    def g_vectors(self) -> NDArray[np.float64]:
        """(n, 3) wave vectors g in 1/Å."""
        return self.hkl @ reciprocal_lattice(self.lattice)


def electron_tolerance(n_atoms: int) -> float:
    """By how many electrons a cell of a right density may be off, at engine and store alike.

    1e-4 an atom, at most 1e-3; those of 24 small oxides were off by 6e-5 a cell at most.
    """
    return min(1e-3, 1e-4 * n_atoms)


def reciprocal_lattice(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) reciprocal lattice vectors b_i as rows, 1/Å, with a_i·b_j = 2π δ_ij."""
    inverse: NDArray[np.float64] = np.linalg.inv(lattice).astype(np.float64)
    return 2 * np.pi * inverse.T


def from_grid(
    density: NDArray[np.float64],
    lattice: NDArray[np.float64],
    n_atoms: int,
    g_max: float | None = None,
) -> Spectrum:
    """Fourier transform a density on a uniform grid.

    Nyquist frequencies of even grids are left out: their sign is undefined.

    Args:
        density: (n1, n2, n3) e/Å³, point (i, j, k) at fractional (i/n1, j/n2, k/n3).
        lattice: (3, 3) Å.
        n_atoms: number of atoms in the cell.
        g_max: keep |g| ≤ g_max (1/Å); None keeps the largest sphere that the grid resolves.

    Raises:
        DataError: the grid is too coarse for g_max, or holds values that are not finite.
    """
    if density.ndim != 3:
        raise DataError(f"density grid: got an array of shape {density.shape}, expected 3 axes")
    if not np.isfinite(density).all():
        raise DataError("density grid: holds values that are not finite; recompute the density")
    resolved = resolved_radius(density.shape, lattice)
    if g_max is None:
        g_max = resolved
    elif g_max > resolved * RIM:
        raise DataError(
            f"density grid {density.shape}: resolves |g| up to {resolved:.2f} 1/Å, "
            f"but {g_max:.2f} 1/Å are asked for; lower g_max or compute on a finer grid"
        )
    import scipy.fft  # not with the config

    values = np.asarray(scipy.fft.rfftn(density, norm="forward"))  # (n1, n2, n3 // 2 + 1)
    indices, coefficients = [], []
    for plane in _half_planes(lattice, g_max):  # one a time: memory
        h, k, l_axis, inside = plane
        indices.append(_plane_indices(*plane))
        coefficients.append(values[h, k, : len(l_axis)][inside].astype(np.complex64))
    del values  # before the lists are joined: memory
    return Spectrum(
        lattice=np.asarray(lattice, dtype=np.float64),
        n_atoms=n_atoms,
        hkl=np.concatenate(indices),
        coefficients=np.concatenate(coefficients),
        g_max=float(g_max),
    )


def resolved_radius(shape: tuple[int, ...], lattice: NDArray[np.float64]) -> float:
    """Radius (1/Å) of a sphere of g that a grid of this shape holds below Nyquist.

    g·a_i = 2π h_i, so |g| < 2π (h_max + 1)/|a_i| implies |h_i| ≤ h_max; half an index is kept
    as a margin.
    """
    h_max = (np.asarray(shape) - 1) // 2
    return float((2 * np.pi * (h_max + 0.5) / np.linalg.norm(lattice, axis=1)).min())


def half_sphere(lattice: NDArray[np.float64], g_max: float) -> NDArray[np.int16]:
    """(m, 3) indices of the Friedel half with |g| ≤ g_max (1/Å)."""
    return np.concatenate([_plane_indices(*plane) for plane in _half_planes(lattice, g_max)])


Plane = tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


def _half_planes(lattice: NDArray[np.float64], g_max: float) -> Iterator[Plane]:
    """Planes of constant h: h, k (nk,), l (nl,) and which (nk, nl) are in the half sphere.

    |h_i| = |g·a_i|/2π bounds every index, so that the search stays inside a small box.
    """
    reach = np.floor(g_max * RIM * np.linalg.norm(lattice, axis=1) / (2 * np.pi)).astype(int)
    reciprocal = reciprocal_lattice(lattice)
    metric = reciprocal @ reciprocal.T  # 1/Å²
    k, l = np.arange(-reach[1], reach[1] + 1), np.arange(reach[2] + 1)  # noqa: E741
    within = metric[1, 1] * (k**2)[:, None] + metric[2, 2] * l**2
    within += 2 * metric[1, 2] * k[:, None] * l
    slope = 2 * (metric[0, 1] * k[:, None] + metric[0, 2] * l)
    for h in range(-reach[0], reach[0] + 1):
        inside = within + h * slope <= (g_max * RIM) ** 2 - h**2 * metric[0, 0]  # (nk, nl)
        inside[:, 0] &= (k > 0) | ((k == 0) & (h >= 0))
        yield h, k, l, inside


def _plane_indices(
    h: int,
    k: NDArray[np.int64],
    l: NDArray[np.int64],  # noqa: E741
    inside: NDArray[np.bool_],
) -> NDArray[np.int16]:
    """(m, 3) indices of one plane's points that are inside."""
    row, column = np.divmod(np.flatnonzero(inside), len(l))
    hkl = np.empty((len(row), 3), dtype=np.int16)
    hkl[:, 0], hkl[:, 1], hkl[:, 2] = h, k[row], l[column]
    return hkl


def friedel_half(hkl: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(n,) True for the member of each pair g, -g that a Spectrum stores."""
    h, k, l = hkl.T  # noqa: E741
    return (l > 0) | ((l == 0) & (k > 0)) | ((l == 0) & (k == 0) & (h >= 0))


def truncate(spectrum: Spectrum, g_max: float) -> Spectrum:
    """The coefficients with |g| ≤ g_max (1/Å).

    Raises:
        DataError: the spectrum does not reach g_max.
    """
    require_reach(spectrum, g_max)
    keep = np.linalg.norm(spectrum.g_vectors(), axis=1) <= g_max * RIM
    return replace(
        spectrum, hkl=spectrum.hkl[keep], coefficients=spectrum.coefficients[keep], g_max=g_max
    )


def require_reach(spectrum: Spectrum, g_max: float, name: str = "a density") -> None:
    """Check that every coefficient with |g| ≤ g_max (1/Å) is known.

    Args:
        spectrum: the density.
        g_max: radius, 1/Å.
        name: whose density it is, for the error.

    Raises:
        DataError: the spectrum ends before.
    """
    if spectrum.g_max * RIM < g_max:
        raise DataError(
            f"{name}: its spectrum ends at |g| = {spectrum.g_max:.3f} 1/Å, but {g_max:.3f} 1/Å "
            "are asked for: choose a smaller density.g_store, or a coarser δL* (g_cut = π/δL*), "
            "or compute on a finer grid (the engine's cutoff)"
        )


def to_grid(spectrum: Spectrum, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Density on a uniform grid, by inverse Fourier transform.

    Args:
        spectrum: coefficients, e/Å³.
        shape: grid points along each lattice vector; coarser than the spectrum is an error.

    Returns:
        (n1, n2, n3) float64, e/Å³.
    """
    if (2 * np.abs(spectrum.hkl).max(axis=0) >= np.asarray(shape)).any():
        raise DataError(
            f"grid {shape} is too coarse for indices up to {np.abs(spectrum.hkl).max(axis=0)}; "
            "truncate the spectrum or use a finer grid"
        )
    import scipy.fft  # not with the config

    hkl, s = spectrum.hkl.astype(int), spectrum.coefficients.astype(complex)
    values = np.zeros((shape[0], shape[1], shape[2] // 2 + 1), dtype=complex)
    values[tuple(hkl.T)] = s
    # The real transform reads both members of a pair within the plane l = 0.
    plane = hkl[:, 2] == 0
    values[tuple(-hkl[plane].T)] = s[plane].conj()
    return scipy.fft.irfftn(values, s=shape, norm="forward")


def evaluate(spectrum: Spectrum, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density at Cartesian points (n, 3) in Å, in e/Å³, by direct summation."""
    weight = np.where(spectrum.hkl.any(axis=1), 2.0, 1.0)
    phase = np.exp(1j * (points @ spectrum.g_vectors().T))  # (points, n)
    return np.real(phase @ (weight * spectrum.coefficients).astype(np.complex128))


def hartree_energy(spectrum: Spectrum) -> float:
    """Hartree energy per cell in eV, g = 0 left out.

    E_H = ½ V Σ_{g≠0} (e²/ε₀) |s(g)|² / g², the classical interaction of the density with
    itself in a neutralising background.
    """
    moving = spectrum.hkl.any(axis=1)
    g2 = (spectrum.g_vectors()[moving] ** 2).sum(axis=1)
    s2 = np.abs(spectrum.coefficients[moving].astype(complex)) ** 2
    # Factor 2 for the other Friedel half.
    return float(2 * 2 * np.pi * COULOMB_EV_ANGSTROM * spectrum.volume * (s2 / g2).sum())
