"""The density spectrum against analytic answers."""

import numpy as np
import pytest
from tests.conftest import LATTICE, analytic_coefficients, gaussian_density

from rhoflow.density.spectrum import (
    COULOMB_EV_ANGSTROM,
    evaluate,
    friedel_half,
    from_grid,
    half_sphere,
    hartree_energy,
    reciprocal_lattice,
    resolved_radius,
    to_grid,
    truncate,
)
from rhoflow.errors import DataError


def test_gaussians_give_their_analytic_spectrum(gaussian_spectrum, gaussians):
    expected = analytic_coefficients(gaussian_spectrum.g_vectors(), *gaussians)
    np.testing.assert_allclose(gaussian_spectrum.coefficients, expected, atol=2e-7)


def test_s0_times_volume_is_the_number_of_electrons(gaussian_spectrum, gaussians):
    assert gaussian_spectrum.n_electrons == pytest.approx(gaussians[2].sum(), abs=1e-5)


def test_friedel_half_holds_one_member_of_each_pair():
    span = np.arange(-3, 4)
    hkl = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    mine, partner = friedel_half(hkl), friedel_half(-hkl)
    zero = ~hkl.any(axis=1)
    assert (mine ^ partner)[~zero].all()
    assert mine[zero].all()


def test_every_g_inside_the_sphere_is_stored(gaussian_spectrum):
    span = np.arange(-20, 21)
    hkl = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    g = np.linalg.norm(hkl @ reciprocal_lattice(gaussian_spectrum.lattice), axis=1)
    expected = (g <= 12.0) & friedel_half(hkl)
    assert len(gaussian_spectrum.hkl) == expected.sum()


def test_grid_round_trip(gaussian_spectrum, gaussians):
    shape = (30, 32, 36)
    density = to_grid(gaussian_spectrum, shape)
    np.testing.assert_allclose(density, gaussian_density(shape, *gaussians), atol=2e-5)
    axes = [np.arange(n) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)[::7, ::8, ::9]
    cartesian = points.reshape(-1, 3) @ gaussian_spectrum.lattice
    np.testing.assert_allclose(
        evaluate(gaussian_spectrum, cartesian), density[::7, ::8, ::9].ravel(), atol=2e-6
    )


def _periodic_poisson_energy(density: np.ndarray, lattice: np.ndarray) -> float:
    """½ ∫ρφ with ∇²φ = -4πk(ρ - ρ̄), by finite differences on an orthorhombic grid.

    A direct solve: the seven-point Laplacian is diagonalised axis by axis, which shares no
    plane-wave formula with the spectrum. Richardson extrapolation is left to the caller.
    """
    shape = density.shape
    steps = np.diag(lattice) / shape
    eigenvalues = [
        (2 * np.cos(2 * np.pi * np.arange(n) / n) - 2) / h**2
        for n, h in zip(shape, steps, strict=True)
    ]
    total = eigenvalues[0][:, None, None] + eigenvalues[1][None, :, None] + eigenvalues[2]
    source = np.fft.fftn(-4 * np.pi * COULOMB_EV_ANGSTROM * (density - density.mean()))
    total[0, 0, 0] = 1.0
    transformed = source / total
    transformed[0, 0, 0] = 0.0
    potential = np.fft.ifftn(transformed).real
    return 0.5 * float((potential * density).sum() * np.prod(steps))


def test_hartree_energy_agrees_with_a_direct_poisson_solve(gaussians):
    _, centres, charges, widths = gaussians
    lattice = np.diag([4.2, 4.8, 5.4])
    energies = {}
    for n in (36, 72):
        shape = (n, n, n)
        density = gaussian_density(shape, lattice, centres, charges, widths, images=2)
        energies[n] = _periodic_poisson_energy(density, lattice)
    # The seven-point Laplacian errs as h²: two grids extrapolate to h = 0.
    limit = (4 * energies[72] - energies[36]) / 3
    spectrum = from_grid(density, lattice, n_atoms=3)
    assert hartree_energy(spectrum) == pytest.approx(limit, rel=2e-5)


def test_hartree_energy_of_far_gaussian_charges_is_their_self_energy():
    # One Gaussian in a neutralising background in a big cubic box of edge L: self energy
    # q²k/(2 sqrt(pi) w) + Madelung term -q²k·2.837297/(2L) + 2π q²k w²·... of its finite width.
    edge, width, charge = 14.0, 0.8, 1.0
    lattice = np.eye(3) * edge
    args = (lattice, np.array([[0.5, 0.5, 0.5]]), np.array([charge]), np.array([width]))
    spectrum = from_grid(gaussian_density((64, 64, 64), *args, images=1), lattice, 1)
    k = COULOMB_EV_ANGSTROM
    self_energy = k / (2 * np.sqrt(np.pi) * width)
    madelung = -2.837297479 * k / (2 * edge)
    finite_width = 2 * np.pi * k * width**2 / edge**3
    expected = self_energy + madelung + finite_width
    assert hartree_energy(spectrum) == pytest.approx(expected, rel=1e-5)


def test_truncate_keeps_the_inner_sphere(gaussian_spectrum):
    inner = truncate(gaussian_spectrum, 5.0)
    assert np.linalg.norm(inner.g_vectors(), axis=1).max() <= 5.0
    assert inner.n_electrons == gaussian_spectrum.n_electrons
    assert len(inner.hkl) < len(gaussian_spectrum.hkl)


def test_too_coarse_a_grid_is_refused(gaussians):
    density = gaussian_density((8, 8, 8), *gaussians, images=1)
    with pytest.raises(DataError, match=r"resolves \|g\| up to .* asked for"):
        from_grid(density, gaussians[0], 3, g_max=12.0)


def test_a_grid_with_nan_is_refused(gaussians):
    density = np.full((8, 8, 8), np.nan)
    with pytest.raises(DataError, match="not finite"):
        from_grid(density, gaussians[0], 3)


def test_a_grid_too_coarse_for_the_spectrum_is_refused(gaussian_spectrum):
    with pytest.raises(DataError, match="too coarse"):
        to_grid(gaussian_spectrum, (8, 8, 8))


@pytest.mark.parametrize("shape", [(7, 8, 9), (6, 6, 6), (12, 5, 10)])
def test_the_resolved_sphere_stays_below_nyquist_and_gives_every_wave_back(shape):
    """White noise fills every wave of the grid, so an index beyond Nyquist would alias."""
    lattice = LATTICE
    spectrum = from_grid(np.random.default_rng(0).random(shape), lattice, 1)
    assert (2 * np.abs(spectrum.hkl).max(axis=0) < shape).all()
    radius = resolved_radius(shape, lattice)
    grid = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), -1).reshape(-1, 3)
    g = np.linalg.norm(grid @ reciprocal_lattice(lattice), axis=1)
    assert len(spectrum.hkl) == ((g <= radius) & friedel_half(grid)).sum()
    density = np.random.default_rng(0).random(shape)
    axes = [np.arange(n) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    waves = np.exp(-2j * np.pi * spectrum.hkl @ points.T)
    np.testing.assert_allclose(
        spectrum.coefficients, waves @ density.ravel() / density.size, atol=1e-6
    )


def test_the_rim_keeps_whole_stars():
    """Six equivalent g on the rim are kept or left out together, whatever their rounding."""
    edge = 3.9
    for hkl in ([2, 1, 0], [3, 2, 1], [4, 4, 1]):
        g_max = 2 * np.pi / edge * np.sqrt(np.dot(hkl, hkl))
        turn = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 1.5 + np.eye(3))[0]
        for lattice in (edge * np.eye(3), edge * turn):
            inside = half_sphere(lattice, g_max)
            span = np.arange(-6, 7)
            every = np.stack(np.meshgrid(span, span, span, indexing="ij"), -1).reshape(-1, 3)
            expected = ((every**2).sum(axis=1) <= np.dot(hkl, hkl)) & friedel_half(every)
            assert len(inside) == expected.sum()
