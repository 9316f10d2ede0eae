"""PBE on a grid against analytic limits and its own derivative. Atomic units in comments."""

import numpy as np
import pytest
from ase.units import Bohr, Ha
from gpaw.xc.kernel import XCKernel

from rhoflow.dft.xc import pbe_energies

CELL = np.array([[3.0, 0.1, 0.0], [0.3, 3.4, -0.2], [0.0, 0.5, 3.8]])
SHAPE = (20, 24, 27)


def wavy(seed: int = 3, least: float = 0.02) -> np.ndarray:
    """A smooth positive density without symmetry, e/Å³."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.arange(n) / n for n in SHAPE], indexing="ij")
    waves = sum(
        rng.normal() * np.cos(2 * np.pi * (np.tensordot(hkl, axes, 1) + rng.random()))
        for hkl in rng.integers(-2, 3, (12, 3))
    )
    return np.exp(0.4 * np.asarray(waves)) + least


# Correlation energy per electron of the unpolarised uniform gas (Perdew and Wang 1992), Hartree.
@pytest.mark.parametrize(("r_s", "correlation"), [(1.0, -0.0598), (2.0, -0.0448), (5.0, -0.0282)])
def test_uniform_gas(r_s, correlation):
    volume = abs(np.linalg.det(CELL))
    n = 3 / (4 * np.pi * (r_s * Bohr) ** 3)
    energy, potential = pbe_energies(np.full((1, *SHAPE), n), CELL)
    exchange = -0.458165293 / r_s
    assert energy / (n * volume * Ha) == pytest.approx(exchange + correlation, abs=6e-5)
    # v = e - (r_s/3) de/dr_s: exchange alone gives 4/3 of its energy, correlation slightly more.
    per_electron = potential / (n * volume * Ha)
    assert 4 / 3 * exchange + 1.3 * correlation < per_electron < 4 / 3 * exchange + correlation


def test_potential_is_the_derivative_of_the_energy():
    n = wavy()[None]
    step = 1e-4
    up, down = (pbe_energies(n * (1 + s), CELL)[0] for s in (step, -step))
    assert pbe_energies(n, CELL)[1] == pytest.approx((up - down) / (2 * step), rel=1e-7)


def test_derivative_holds_with_negative_regions():
    n = wavy()[None]
    n -= np.quantile(n, 0.01)
    assert n.min() < 0
    step = 1e-4
    up, down = (pbe_energies(n * (1 + s), CELL)[0] for s in (step, -step))
    energy, potential = pbe_energies(n, CELL)
    assert np.isfinite(energy)
    assert potential == pytest.approx((up - down) / (2 * step), rel=1e-4)


def test_spin_polarised_derivative_and_paired_limit():
    n = wavy()
    paired = pbe_energies(n[None], CELL)
    assert pbe_energies(np.stack([n / 2, n / 2]), CELL) == pytest.approx(paired, rel=1e-9)
    spins = np.stack([0.7 * n, 0.3 * wavy(8)])
    step = 1e-4
    up, down = (pbe_energies(spins * (1 + s), CELL)[0] for s in (step, -step))
    assert pbe_energies(spins, CELL)[1] == pytest.approx((up - down) / (2 * step), rel=1e-7)


def test_gaussian_against_radial_quadrature():
    """Unit conversion and gradients: 4 electrons in a Gaussian, in a box and on a radial line."""
    width, charge, edge, points = 0.55, 4.0, 6.0, 60
    r = np.linspace(1e-6, 12 * width, 20001) / Bohr
    w = width / Bohr
    n = charge * np.exp(-(r**2) / (2 * w**2)) / (2 * np.pi * w**2) ** 1.5
    sigma = (n * r / w**2) ** 2
    e, v, ds = np.empty((1, 1, len(r))), np.zeros((1, 1, 1, len(r))), np.empty((1, 1, 1, len(r)))
    grid = (1, 1, 1, len(r))
    XCKernel("PBE").calculate(e, n.reshape(grid), v, sigma.reshape(grid).copy(), ds)
    energy = np.trapezoid(4 * np.pi * r**2 * e.ravel(), r) * Ha
    integrand = v.ravel() * n + 2 * ds.ravel() * sigma
    potential = np.trapezoid(4 * np.pi * r**2 * integrand, r) * Ha

    x = np.linspace(0, edge, points, endpoint=False) - edge / 2
    d2 = x[:, None, None] ** 2 + x[:, None] ** 2 + x**2
    box = charge * np.exp(-d2 / (2 * width**2)) / (2 * np.pi * width**2) ** 1.5
    ours = pbe_energies(box[None], np.eye(3) * edge)
    assert ours == pytest.approx((energy, potential), rel=1e-4)


def test_energies_do_not_depend_on_the_description_of_the_cell():
    n = wavy()[None]
    reference = pbe_energies(n, CELL)
    turned = CELL @ np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 1.5 + np.eye(3))[0]
    assert pbe_energies(n, turned) == pytest.approx(reference, rel=1e-10)
    permuted = pbe_energies(n.transpose(0, 3, 1, 2), CELL[[2, 0, 1]])
    assert permuted == pytest.approx(reference, rel=1e-10)
    doubled = pbe_energies(np.concatenate([n, n], axis=3), CELL * np.array([[1], [1], [2]]))
    assert doubled == pytest.approx(tuple(2 * e for e in reference), rel=1e-10)
