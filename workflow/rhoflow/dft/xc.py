"""PBE exchange and correlation of a density on a uniform periodic grid.

Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), with gradients by Fourier
transform as White and Bird, Phys. Rev. B 50, 4954 (1994): on the grid, the potential is then
the exact derivative of the energy. The local formula is GPAW's compiled kernel.
"""

import numpy as np
import scipy.fft
from ase.units import Bohr, Ha
from gpaw.xc.kernel import XCKernel
from numpy.typing import NDArray

from rhoflow.density.spectrum import reciprocal_lattice

# Spin density in 1/Bohr³, times the number of spins, below which GPAW's kernel replaces a
# density by this value (NMIN in its c/xc/xc.c).
KERNEL_FLOOR = 1e-10


def pbe_energies(density: NDArray[np.float64], lattice: NDArray[np.float64]) -> tuple[float, float]:
    """E_xc[ρ] and ∫ v_xc ρ per cell.

    The integral needs no potential: with e(n, σ) the energy density and σ = |∇n|², an
    integration by parts, exact on the grid, turns ∫ v_xc n into ∫ (∂e/∂n n + 2 ∂e/∂σ σ).

    Points where the density is not positive add nothing to either energy. GPAW's compensated
    densities are negative within about 0.4 Å of some nuclei (Ba, La).

    Args:
        density: (n_spins, n1, n2, n3), e/Å³; one spin channel holds the total density.
        lattice: (3, 3) Å.

    Returns:
        E_xc and ∫ v_xc ρ (summed over spins), eV.
    """
    n = np.ascontiguousarray(density, dtype=np.float64) * Bohr**3
    sigma = _gradient_products(n, lattice / Bohr)
    energy = np.empty(n.shape[1:])
    de_dn = np.zeros_like(n)
    de_dsigma = np.empty_like(sigma)
    XCKernel("PBE").calculate(energy, n, de_dn, sigma, de_dsigma)
    de_dn[n * len(n) < KERNEL_FLOOR] = 0.0
    per_point = abs(np.linalg.det(lattice / Bohr)) / energy.size * Ha
    potential = (de_dn * n).sum() + 2 * (de_dsigma * sigma).sum()
    return float(energy.sum() * per_point), float(potential * per_point)


def _gradient_products(n: NDArray[np.float64], lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """σ = |∇n|², or for two spins ∇n↑·∇n↑, ∇n↑·∇n↓, ∇n↓·∇n↓: (2 n_spins - 1, n1, n2, n3)."""
    shape = n.shape[1:]
    reciprocal = reciprocal_lattice(lattice)
    indices = [np.fft.fftfreq(m, 1 / m) for m in shape[:2]] + [np.arange(shape[2] // 2 + 1.0)]
    for index, m in zip(indices, shape, strict=True):
        # The derivative of the Nyquist wave vanishes on the grid.
        index[2 * np.abs(index) == m] = 0.0
    waves = np.asarray(scipy.fft.rfftn(n, axes=(1, 2, 3)))
    pairs = [(0, 0)] if len(n) == 1 else [(0, 0), (0, 1), (1, 1)]
    sigma = np.zeros((len(pairs), *shape))
    h, k, l = np.ix_(*indices)  # noqa: E741
    for b1, b2, b3 in reciprocal.T:  # one Cartesian direction a time: memory
        slopes = 1j * (h * b1 + k * b2 + l * b3) * waves
        gradient = np.asarray(scipy.fft.irfftn(slopes, s=shape, axes=(1, 2, 3)))
        for product, (s, t) in zip(sigma, pairs, strict=True):
            product += gradient[s] * gradient[t]
    return sigma
