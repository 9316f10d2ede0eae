"""PBE in numpy against GPAW's compiled kernel, and the derivative along a stretched density."""

import numpy as np
import pytest

from rhoflow.dft import pbe
from rhoflow.dft.xc import _gradient_products, pbe_energies

kernel = pytest.importorskip("gpaw.xc.kernel")

POINTS = 3000


def sample(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Densities and |∇n|² over all that molecules and solids have, in atomic units."""
    rng = np.random.default_rng(seed)
    n = 10 ** rng.uniform(-7, 2, POINTS)
    s2 = 10 ** rng.uniform(-6, 3, POINTS)
    return n, s2 * (2 * np.cbrt(3 * np.pi**2 * n) * n) ** 2


def compiled(n: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy density and n ∂e/∂n + 2σ ∂e/∂σ by GPAW; n (spins, points)."""
    energy = np.empty(n.shape[1])
    by_n, by_sigma = np.zeros_like(n), np.empty_like(sigma)
    kernel.XCKernel("PBE").calculate(energy, n.copy(), by_n, sigma.copy(), by_sigma)
    return energy, (n * by_n).sum(axis=0) + 2 * (sigma * by_sigma).sum(axis=0)


def test_spin_paired():
    n, sigma = sample()
    energy, stretched = compiled(n[None], sigma[None])
    exchange, correlation = pbe.exchange(n, sigma), pbe.correlation(n, None, sigma)
    np.testing.assert_allclose(exchange[0] + correlation[0], energy, rtol=1e-10)
    np.testing.assert_allclose(exchange[1] + correlation[1], stretched, rtol=1e-10)


def test_spin_polarised():
    n, sigma = sample(1)
    rng = np.random.default_rng(2)
    zeta = rng.uniform(-0.99, 0.99, POINTS)
    spins = np.array([n * (1 + zeta), n * (1 - zeta)]) / 2
    slopes = rng.normal(size=(2, 3, POINTS)) * np.sqrt(sigma / 3)
    products = np.array([(slopes[i] * slopes[j]).sum(axis=0) for i, j in ((0, 0), (0, 1), (1, 1))])
    energy, stretched = compiled(spins, products)
    terms = [pbe.exchange(2 * spins[i], 4 * products[2 * i]) for i in range(2)]
    total = products[0] + 2 * products[1] + products[2]
    correlation = pbe.correlation(n, zeta, total)
    for k, expected in enumerate((energy, stretched)):
        ours = (terms[0][k] + terms[1][k]) / 2 + correlation[k]
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10 * np.abs(energy).min())


def test_no_polarisation_is_spin_paired():
    n, sigma = sample(3)
    paired, polarised = pbe.correlation(n, None, sigma), pbe.correlation(n, np.zeros(POINTS), sigma)
    np.testing.assert_allclose(paired, polarised, rtol=1e-12)


def test_the_stretched_energy_is_a_derivative():
    n, sigma = sample(4)
    zeta = np.random.default_rng(5).uniform(-1, 1, POINTS)
    step = 1e-4
    for formula in (pbe.exchange, lambda a, b: pbe.correlation(a, zeta, b)):
        up, down = (formula(n * x, sigma * x * x)[0] for x in (1 + step, 1 - step))
        energy, stretched = formula(n, sigma)
        error = np.abs(stretched - (up - down) / (2 * step)) / np.abs(energy)
        assert error.max() < 1e-5


def test_whole_cells_agree_with_the_compiled_kernel():
    rng = np.random.default_rng(6)
    lattice = 4 * np.eye(3) + 0.4 * rng.normal(size=(3, 3))
    x = [np.linspace(0, 2 * np.pi, m, endpoint=False) for m in (16, 18, 20)]
    shape = np.cos(x[0])[:, None, None] + 0.4 * np.sin(x[1])[:, None] * np.cos(2 * x[2])
    density = np.stack([0.9 + 0.5 * shape, 0.8 + 0.4 * shape])
    bohr = 0.529177210903
    for spins in (density.sum(axis=0)[None], density):
        n = spins * bohr**3
        sigma = _gradient_products(n, lattice / bohr)
        energy, stretched = compiled(n.reshape(len(n), -1), sigma.reshape(len(sigma), -1))
        scale = abs(np.linalg.det(lattice / bohr)) / energy.size * 27.211386245988
        ours = pbe_energies(spins, lattice)
        assert ours == pytest.approx((energy.sum() * scale, stretched.sum() * scale), rel=1e-8)


def test_empty_space_adds_nothing():
    density = np.zeros((1, 8, 8, 8))
    assert pbe_energies(density, 5 * np.eye(3)) == (0.0, 0.0)
    assert pbe_energies(np.zeros((2, 8, 8, 8)), 5 * np.eye(3)) == (0.0, 0.0)
    one_spin = np.stack([np.full((8, 8, 8), 0.2), np.zeros((8, 8, 8))])
    assert np.isfinite(pbe_energies(one_spin, 5 * np.eye(3))).all()
