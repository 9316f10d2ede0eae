"""PBE exchange and correlation of a density on a uniform periodic grid.

Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), with gradients by Fourier
transform as White and Bird, Phys. Rev. B 50, 4954 (1994): on the grid, the potential is then
the exact derivative of the energy. The same code serves every engine.
"""

import numpy as np
from ase.units import Bohr, Ha
from numpy.typing import NDArray

from rhoflow.density.spectrum import reciprocal_lattice
from rhoflow.dft import pbe

# Density in 1/Bohr³ below which a point adds nothing.
FLOOR = 1e-10
# Points that are worked on at once: the temporaries of this many stay in a core's cache.
BATCH = 1 << 13


def pbe_energies(density: NDArray[np.float64], lattice: NDArray[np.float64]) -> tuple[float, float]:
    """E_xc[ρ] and ∫ v_xc ρ per cell.

    The integral needs no potential: with e(n, σ) the energy density and σ = |∇n|², an
    integration by parts, exact on the grid, turns ∫ v_xc n into ∫ (∂e/∂n n + 2 ∂e/∂σ σ).

    Points where the density is not positive add nothing to either energy. GPAW's compensated
    densities are negative within about 0.4 Å of some nuclei (Ba, La), VASP's too (Si).

    Args:
        density: (n_spins, n1, n2, n3), e/Å³; one spin channel holds the total density.
        lattice: (3, 3) Å.

    Returns:
        E_xc and ∫ v_xc ρ (summed over spins), eV.
    """
    n = np.ascontiguousarray(density, dtype=np.float64) * Bohr**3
    sigma = _gradient_products(n, lattice / Bohr)
    flat_n, flat_sigma = n.reshape(len(n), -1), sigma.reshape(len(sigma), -1)
    points = flat_n.shape[1]
    local = _paired if len(n) == 1 else _polarised
    sums = np.zeros(2)
    for start in range(0, points, BATCH):
        batch = slice(start, start + BATCH)
        sums += local(flat_n[:, batch], flat_sigma[:, batch])
    energy, potential = sums * abs(np.linalg.det(lattice / Bohr)) / points * Ha
    return float(energy), float(potential)


def _paired(n: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over points of e and its derivative along λ; n (1, points), sigma (1, points)."""
    there = n[0] >= FLOOR
    total, square = n[0][there], sigma[0][there]
    exchange, correlation = pbe.exchange(total, square), pbe.correlation(total, None, square)
    return np.array([(x + c).sum() for x, c in zip(exchange, correlation, strict=True)])


def _polarised(n: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same for two spins, n (2, points) and sigma (3, points)."""
    sums = np.zeros(2)
    for spin, square in zip(n, sigma[::2], strict=True):  # exchange, one spin after the other
        there = 2 * spin >= FLOOR
        terms = pbe.exchange(2 * spin[there], 4 * square[there])
        sums += [term.sum() / 2 for term in terms]
    up, down = np.maximum(n, FLOOR / 2)
    total = up + down
    there = total > FLOOR
    zeta = ((up - down) / total)[there]
    square = (sigma[0] + 2 * sigma[1] + sigma[2])[there]
    return sums + [term.sum() for term in pbe.correlation(total[there], zeta, square)]


def _gradient_products(n: NDArray[np.float64], lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """σ = |∇n|², or for two spins ∇n↑·∇n↑, ∇n↑·∇n↓, ∇n↓·∇n↓: (2 n_spins - 1, n1, n2, n3)."""
    import scipy.fft  # not with the config

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
