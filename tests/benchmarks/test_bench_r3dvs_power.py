"""Densities to power spectra, against SciPy's harmonics and against plain loops over spots.

All get the same densities of the size of real oxides, in one run on one thread. The peer with
SciPy does the same sums with complex harmonics from angles; the loop works on a share of the
densities and is scaled up.
"""

import math

import numpy as np
import pytest
from scipy.special import sph_harm_y
from tests.benchmarks.peers import compare, seconds

from rhoflow.density.spectrum import Spectrum, half_sphere
from rhoflow.descriptors.r3dvs_power import (
    R3DVSPowerSpec,
    harmonics,
    power_vectors,
    shells,
    taper,
)

SHARD = 24
SPEC = R3DVSPowerSpec()


@pytest.fixture(scope="module")
def spectra() -> dict[str, Spectrum]:
    """Cells of 60 to 200 Å³, spectra inside 9 1/Å."""
    rng = np.random.default_rng(0)
    found = {}
    for i in range(SHARD):
        lattice = rng.uniform(60, 200) ** (1 / 3) * (np.eye(3) + 0.1 * rng.normal(size=(3, 3)))
        hkl = half_sphere(lattice, 9.0)
        s = rng.normal(size=(len(hkl), 2)) @ [1, 1j]
        s[~hkl.any(axis=1)] = 1.0
        found[str(i)] = Spectrum(lattice, 10, hkl, s.astype(np.complex64), 9.0)
    return found


def inside(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """g (n, 3) and 2 |s|² (n,), tapered, of the spots that count."""
    g = spectrum.g_vectors()
    keep = (np.linalg.norm(g, axis=1) <= SPEC.g_cut) & spectrum.hkl.any(axis=1)
    weight = 2 * taper(np.linalg.norm(g[keep], axis=1), SPEC)
    return g[keep], weight * np.abs(spectrum.coefficients[keep].astype(complex)) ** 2


def by_scipy(spectra: dict[str, Spectrum]) -> list[list[np.ndarray]]:
    """The same expansion with complex harmonics of angles, one order m at a time."""
    results = []
    for spectrum in spectra.values():
        g, v = inside(spectrum)
        radius = np.linalg.norm(g, axis=1)
        theta, phi = np.arccos(g[:, 2] / radius), np.arctan2(g[:, 1], g[:, 0])
        radial = shells(radius, SPEC.n_angular, SPEC.g_cut / SPEC.n_angular, SPEC.g_cut)
        parts = [v @ shells(radius, SPEC.n_max, SPEC.width_inverse_angstrom, SPEC.g_cut)]
        for degree in SPEC.degrees:
            y = [sph_harm_y(degree, m, theta, phi) for m in range(-degree, degree + 1)]
            c = np.stack(y) @ (radial * v[:, None])  # (2l + 1, shells)
            parts.append(np.sqrt((np.abs(c) ** 2).sum(axis=0) * 4 * np.pi / (2 * degree + 1)))
        results.append(parts)
    return results


def by_loop(spectrum: Spectrum) -> list[np.ndarray]:
    """One spot after the other, with SciPy's harmonics."""
    g, v = inside(spectrum)
    c = [np.zeros((2 * d + 1, SPEC.n_angular), dtype=complex) for d in SPEC.degrees]
    radial = np.zeros(SPEC.n_max)
    centres = [SPEC.g_cut * (n + 1) / SPEC.n_max for n in range(SPEC.n_max)]
    coarse = [SPEC.g_cut * (n + 1) / SPEC.n_angular for n in range(SPEC.n_angular)]
    for (x, y, z), value in zip(g.tolist(), v.tolist(), strict=True):
        r = math.sqrt(x * x + y * y + z * z)
        theta, phi = math.acos(z / r), math.atan2(y, x)
        weight = [math.exp(-0.5 * ((r - k) / SPEC.width_inverse_angstrom) ** 2) for k in centres]
        wide = [math.exp(-0.5 * ((r - k) / coarse[0]) ** 2) for k in coarse]
        for n, w in enumerate(weight):
            radial[n] += value * w / sum(weight)
        for part, degree in zip(c, SPEC.degrees, strict=True):
            for m in range(-degree, degree + 1):
                harmonic = complex(sph_harm_y(degree, m, theta, phi))
                for n, w in enumerate(wide):
                    part[m + degree, n] += value * w / sum(wide) * harmonic
    scale = [4 * np.pi / (2 * d + 1) for d in SPEC.degrees]
    lengths = [np.sqrt((np.abs(p) ** 2).sum(axis=0) * s) for p, s in zip(c, scale, strict=True)]
    return [radial, *lengths]


def test_the_same_numbers(spectra):
    linear = SPEC.model_copy(update={"scale": "linear", "per": "volume", "counts": False})
    first = {"0": spectra["0"]}
    got = power_vectors(first, linear).values[0]
    np.testing.assert_allclose(np.concatenate(by_scipy(first)[0]), got, rtol=1e-9)
    np.testing.assert_allclose(np.concatenate(by_loop(spectra["0"])), got, rtol=1e-9)


def test_power_spectra_of_a_shard(benchmark, spectra):
    benchmark(power_vectors, spectra, SPEC)
    assert compare(benchmark, "SciPy's harmonics", seconds(lambda: by_scipy(spectra), 3)) > 1
    share = seconds(lambda: by_loop(spectra["0"])) * SHARD
    assert compare(benchmark, "loop over spots, scaled up", share) > 50


def test_harmonics(benchmark):
    unit = np.random.default_rng(0).normal(size=(20_000, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)

    def by_angles() -> None:
        theta, phi = np.arccos(unit[:, 2]), np.arctan2(unit[:, 1], unit[:, 0])
        for degree in range(0, SPEC.l_max + 1, 2):
            for m in range(degree + 1):
                sph_harm_y(degree, m, theta, phi)

    benchmark(harmonics, unit, SPEC.l_max)
    assert compare(benchmark, "SciPy, m ≥ 0 alone", seconds(by_angles, 3)) > 1
