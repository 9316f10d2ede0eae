"""The power spectrum of the spots: invariances, known answers, the Hartree energy."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import eval_legendre, sph_harm_y
from tests.conftest import CENTRES, CHARGES, LATTICE, WIDTHS, analytic_coefficients

from rhoflow.density.spectrum import (
    COULOMB_EV_ANGSTROM,
    Spectrum,
    half_sphere,
    hartree_energy,
    reciprocal_lattice,
)
from rhoflow.descriptors.r3dvs_power import (
    R3DVSPowerSpec,
    component_names,
    harmonics,
    power_vectors,
    shell_centres,
    shells,
)

FORMS = {
    "default": R3DVSPowerSpec(),
    "all_pairs": R3DVSPowerSpec(l_max=8, pairs=7),
    "linear_atom": R3DVSPowerSpec(scale="linear", per="atom", pairs=2),
    "paper": R3DVSPowerSpec(
        value="amplitude", per="volume", scale="linear", counts=False, taper_inverse_angstrom=0
    ),
    "amplitude_root": R3DVSPowerSpec(value="amplitude", per="electron", pairs=1),
    "narrow": R3DVSPowerSpec(n_max=60, width_inverse_angstrom=0.1, n_angular=24),
}
# Every spot inside g_cut with its full weight, c_n00 as sums.
WHOLE = R3DVSPowerSpec(taper_inverse_angstrom=0, scale="linear", per="volume", counts=False)


def spectrum_of(lattice, centres, charges=CHARGES, widths=WIDTHS, g_max=8.5) -> Spectrum:
    """Analytic spectrum of Gaussians in any cell."""
    hkl = half_sphere(lattice, g_max)
    g = hkl @ reciprocal_lattice(lattice)
    values = analytic_coefficients(g, lattice, centres, charges, widths)
    return Spectrum(lattice, len(centres), hkl, values.astype(np.complex64), g_max)


def vector(spectrum: Spectrum, spec: R3DVSPowerSpec) -> np.ndarray:
    return power_vectors({"x": spectrum}, spec).values[0]


def reference() -> Spectrum:
    return spectrum_of(LATTICE, CENTRES)


def translated() -> Spectrum:
    return spectrum_of(LATTICE, CENTRES + np.array([0.21, -0.37, 0.11]))


def permuted() -> Spectrum:
    order = [2, 0, 1]
    return spectrum_of(LATTICE, CENTRES[order], CHARGES[order], WIDTHS[order])


def mirrored() -> Spectrum:
    return spectrum_of(LATTICE * [1, -1, 1], CENTRES)


def sheared() -> Spectrum:
    shear = np.array([[1, 2, 0], [0, 1, 0], [1, -1, 1]])
    return spectrum_of(shear @ LATTICE, CENTRES @ np.linalg.inv(shear))


def supercell() -> Spectrum:
    """Six cells: 2 x 1 x 3."""
    times = np.array([2, 1, 3])
    cells = np.stack(np.meshgrid(*map(np.arange, times), indexing="ij"), axis=-1).reshape(-1, 3)
    centres = (CENTRES[None] + cells[:, None]).reshape(-1, 3) / times
    return spectrum_of(LATTICE * times[:, None], centres, np.tile(CHARGES, 6), np.tile(WIDTHS, 6))


def turned(seed: int) -> Callable[[], Spectrum]:
    rotation = Rotation.random(random_state=seed).as_matrix()
    change = lambda: spectrum_of(LATTICE @ rotation.T, CENTRES)  # noqa: E731
    change.__name__ = f"rotated_{seed}"
    return change


CHANGES = [translated, permuted, mirrored, sheared, supercell, *map(turned, range(4))]


@pytest.mark.parametrize("spec", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_descriptor_does_not_change(spec, change):
    before, after = vector(reference(), spec), vector(change(), spec)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6 * np.abs(before).max())


@pytest.mark.parametrize("seed", range(3))
def test_a_cubic_crystal_is_the_same_in_any_pose(seed):
    """l = 2 vanishes by symmetry: rounding must not show there either."""
    rotation = Rotation.random(random_state=seed).as_matrix()
    a = 4.21 / 2 * (np.ones((3, 3)) - np.eye(3))
    centres, charges, widths = np.array([[0.0] * 3, [0.5] * 3]), np.array([2.0, 6]), WIDTHS[:2]
    spec = FORMS["all_pairs"]
    before = vector(spectrum_of(a, centres, charges, widths), spec)
    after = vector(spectrum_of(a @ rotation.T, centres, charges, widths), spec)
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    second = [i for i, name in enumerate(component_names(spec)) if name.endswith(",2")]
    fourth = [i for i, name in enumerate(component_names(spec)) if name.endswith(",4")]
    assert np.abs(before[second]).max() < 1e-5 * before[fourth].max()


@pytest.mark.parametrize("spec", FORMS.values(), ids=FORMS)
def test_strain_changes_it_a_little(spec):
    before, after = vector(reference(), spec), vector(spectrum_of(LATTICE * 1.01, CENTRES), spec)
    change = np.abs(after - before).max() / np.abs(before).max()
    assert 1e-4 < change < 0.2


def test_l_above_0_tells_shapes_apart_that_distances_in_g_do_not():
    """A tetragonal and an orthorhombic cell: equal c_n00 by construction, unequal directions."""
    spec = R3DVSPowerSpec(per="volume", counts=False, scale="linear")
    hkl = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.int16)
    values = np.array([0.3, 0.2, 0.2, 0.1], dtype=np.complex64)
    right = Spectrum(4 * np.eye(3), 1, hkl, values)
    # The same lengths |g|, two of the spots at 60° instead of 90°.
    b = reciprocal_lattice(right.lattice)
    b[1] = np.linalg.norm(b[1]) * np.array([0.5, np.sqrt(0.75), 0])
    slanted = Spectrum(reciprocal_lattice(b), 1, hkl, values)
    first, second = vector(right, spec), vector(slanted, spec)
    np.testing.assert_allclose(first[: spec.n_max], second[: spec.n_max], rtol=1e-5)
    assert np.abs(first - second)[spec.n_max :].max() > 0.1 * first.max()


@pytest.mark.parametrize("per", ["volume", "atom", "electron"])
def test_one_gaussian_on_a_cubic_lattice(per):
    """s(g) = q exp(-w²g²/2)/a³, summed shell by shell of the lattice h² + k² + l² = N."""
    a, q, w = 3.0, 5.0, 0.4
    spec = WHOLE.model_copy(update={"per": per, "l_max": 0, "n_max": 9, "counts": True})
    spectrum = spectrum_of(a * np.eye(3), np.zeros((1, 3)), np.array([q]), np.array([w]))
    reach = np.arange(-4, 5)
    squares = (np.stack(np.meshgrid(reach, reach, reach), axis=-1) ** 2).sum(axis=-1).ravel()
    count = np.bincount(squares)
    shell = np.flatnonzero(count)[1:]
    g = 2 * np.pi / a * np.sqrt(shell)
    inside = g <= spec.g_cut
    value = count[shell][inside] * (q / a**3) ** 2 * np.exp(-((w * g[inside]) ** 2))
    value *= {"volume": 1, "atom": a**3, "electron": a**3 / q}[per]
    expected = value @ shells(g[inside], 9, 0.6, spec.g_cut)
    got = vector(spectrum, spec)
    np.testing.assert_allclose(got[:9], expected, rtol=1e-5)
    np.testing.assert_allclose(got[9:], np.log([q, q / a**3]), rtol=1e-6)


def test_hartree_energy_is_linear_in_narrow_shells():
    narrow = {"n_max": 512, "width_inverse_angstrom": 0.01, "l_max": 0, "per": "atom"}
    spec = WHOLE.model_copy(update=narrow)
    for factor in (0.9, 1.0, 1.3):
        lattice = LATTICE * factor
        spectrum = spectrum_of(lattice, CENTRES, g_max=spec.g_cut)
        radial = vector(spectrum, spec)
        weights = 2 * np.pi * COULOMB_EV_ANGSTROM / shell_centres(512, spec.g_cut) ** 2
        assert radial @ weights == pytest.approx(hartree_energy(spectrum) / 3, rel=2e-4)


@pytest.mark.parametrize("value", ["amplitude", "squared"])
def test_components_add_up_to_all_spots(value):
    spec = WHOLE.model_copy(update={"value": value, "l_max": 0})
    spectrum = reference()
    inside = np.linalg.norm(spectrum.g_vectors(), axis=1) <= spec.g_cut
    s = np.abs(spectrum.coefficients[inside & spectrum.hkl.any(axis=1)].astype(complex))
    total = 2 * (s ** (2 if value == "squared" else 1)).sum()
    assert vector(spectrum, spec).sum() == pytest.approx(total, rel=1e-10)


def test_the_power_spectrum_by_the_addition_theorem():
    """Σ_m c_nlm c_n'lm = Σ_gg' v v' R_n(g) R_n'(g') P_l(cos(g, g')), without any harmonics."""
    spec = WHOLE.model_copy(update={"pairs": 7})
    spectrum = reference()
    g = spectrum.g_vectors()
    radius = np.linalg.norm(g, axis=1)
    inside = (radius <= spec.g_cut) & (radius > 0)
    g, radius = g[inside], radius[inside]
    v = 2 * np.abs(spectrum.coefficients[inside].astype(complex)) ** 2
    weighted = shells(radius, 8, spec.g_cut / 8, spec.g_cut) * v[:, None]
    cosine = np.clip((g / radius[:, None]) @ (g / radius[:, None]).T, -1, 1)
    first, second = np.triu_indices(8)
    got = vector(spectrum, spec)[spec.n_max :].reshape(3, -1)
    for row, degree in zip(got, (2, 4, 6), strict=True):
        p = weighted.T @ eval_legendre(degree, cosine) @ weighted
        own = np.diag(p)[first] + np.diag(p)[second]
        sums = np.sqrt(np.maximum(own + 2 * p[first, second], 0))
        differences = np.sqrt(np.maximum(own - 2 * p[first, second], 0))
        np.testing.assert_allclose(row, (sums - differences) / 2, atol=1e-7 * sums.max())
        assert row[first == second] == pytest.approx(np.sqrt(np.diag(p)), rel=1e-6)


def test_harmonics_against_scipy():
    unit = np.random.default_rng(0).normal(size=(50, 3))
    unit = np.concatenate([unit, np.eye(3), -np.eye(3)])  # the poles too
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    theta, phi = np.arccos(unit[:, 2]), np.arctan2(unit[:, 1], unit[:, 0])
    for degree, got in harmonics(unit, 12).items():
        m = np.arange(1, degree + 1)
        y = sph_harm_y(degree, m, theta[:, None], phi[:, None]) * (-1.0) ** m * np.sqrt(2)
        zero = sph_harm_y(degree, 0, theta, phi).real
        waves = np.stack([y.real, y.imag], axis=-1).reshape(len(unit), -1)
        expected = np.column_stack([zero, waves]) * np.sqrt(4 * np.pi / (2 * degree + 1))
        np.testing.assert_allclose(got, expected, atol=1e-12)
        np.testing.assert_allclose((got**2).sum(axis=1), 1, rtol=1e-12)


def test_an_even_shell_of_spots_has_no_direction():
    """Spots of one |g| evenly over the sphere: l ≥ 2 fades as they become more."""
    spec = R3DVSPowerSpec(scale="linear", per="volume", counts=False)
    parts = []
    for edge in (8.0, 16.0, 32.0):
        hkl = half_sphere(edge * np.eye(3), 5.0)
        radius = np.linalg.norm(hkl @ reciprocal_lattice(edge * np.eye(3)), axis=1)
        values = np.exp(-(((radius - 4) / 0.3) ** 2)).astype(np.complex64)
        got = vector(Spectrum(edge * np.eye(3), 1, hkl, values), spec)
        parts.append(np.abs(got[spec.n_max :]).max() / got[: spec.n_max].max())
    assert parts[0] > parts[1] > parts[2]
    assert parts[2] < 0.01


def test_shells_share_each_spot_out_whole():
    radius = np.linspace(0, 7.85, 200)
    for n_max, width in ((1, 0.6), (20, 0.6), (512, 0.01), (20, 0.2)):
        parts = shells(radius, n_max, width, 7.85)
        assert parts.min() >= 0
        np.testing.assert_allclose(parts.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("scale", ["root", "linear"])
def test_spots_that_strain_moves_across_the_rim_make_no_step(scale):
    """(500) of a simple cubic cell lies on g_cut; the taper lets it in gradually."""
    steps = {}
    for reach in (0.0, 0.4):
        spec = R3DVSPowerSpec(scale=scale, taper_inverse_angstrom=reach)
        hkl = half_sphere(2 * np.pi * 5 / spec.g_cut * np.eye(3), 1.2 * spec.g_cut)
        values = np.ones(len(hkl), np.complex64)
        edges = [2 * np.pi * 5 / spec.g_cut * (1 + strain) for strain in (-1e-7, 1e-7)]
        inner, outer = (vector(Spectrum(a * np.eye(3), 1, hkl, values), spec) for a in edges)
        steps[reach] = np.abs(outer - inner).max() / np.abs(inner).max()
    assert steps[0.4] < 1e-5 < 1e-3 < steps[0.0]
