"""Power spectrum of the reciprocal spots: R3DVS without the need to rotate anything.

The spots (g, |s(g)|) of Kajita et al., Sci. Rep. 7, 16991 (2017) inside g_cut are expanded in
radial shells R_n and real spherical harmonics C_lm, normalised to Σ_m C_lm² = 1:

    c_nlm = Σ_{g≠0} v(g) R_n(|g|) C_lm(g/|g|),    p_nn'l = Σ_m c_nlm c_n'lm.

c_n00 and p_nn'l do not change when the crystal is rotated, moved or described by another cell,
nor when it is mirrored. |s(g)| = |s(-g)|, so odd l vanish and are left out. The shells are
Gaussians in |g| that sum to 1 at every |g| ≤ g_cut, so that each spot is shared out whole: with
v = |s|² V/n_atoms, and no taper at g_cut, a sum over spots such as the Hartree energy,

    E_H / n_atoms = 2π k_e (V/n_atoms) Σ_{g≠0} |s(g)|² / g²,

is a linear function of c_n00, exact as the shells become narrow. Their width is a choice of its
own: a Gaussian of width w smears the density's autocorrelation out beyond distances of 1/w, which
keeps the components smooth although the spots are points.
"""

from collections.abc import Mapping
from math import factorial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rhoflow.density.spectrum import RIM, Spectrum, require_reach
from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import DataError
from rhoflow.spec import Spec

# Spots that are expanded at once: bounds the memory of cells of any size.
_BATCH = 1 << 15


class R3DVSPowerSpec(Spec):
    """Shells, degrees and scaling of the power spectrum."""

    kind: Literal["r3dvs_power"] = "r3dvs_power"
    algorithm: Literal[1] = 1
    resolution_angstrom: float = Field(
        default=0.4, gt=0.05, le=5, description="Real-space resolution δL* in Å; g_cut = π/δL*."
    )
    taper_inverse_angstrom: float = Field(
        default=0.4,
        ge=0,
        le=10,
        description="Over this distance below g_cut, in 1/Å, the weight of a spot falls to 0, so "
        "that the vector stays continuous when strain moves spots across g_cut; 0: a sharp sphere.",
    )
    n_max: int = Field(
        default=20,
        ge=1,
        le=512,
        description="Number of radial shells of l = 0, centred at g_cut·n/n_max.",
    )
    width_inverse_angstrom: float = Field(
        default=0.6,
        ge=0.01,
        le=10,
        description="Width (standard deviation) of a shell in 1/Å; at least half the distance of "
        "two shells is used.",
    )
    l_max: int = Field(
        default=6,
        ge=0,
        le=12,
        description="Highest degree of the spherical harmonics, even; 0 keeps c_n00 alone.",
    )
    n_angular: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Number of radial shells of l ≥ 2, at least as wide as they are apart.",
    )
    pairs: int = Field(
        default=0,
        ge=0,
        le=63,
        description="p_nn'l of l ≥ 2 with n' - n up to this; 0 keeps n = n' alone.",
    )
    value: Literal["amplitude", "squared"] = Field(
        default="squared", description="What a spot stands for: |s| or |s|²."
    )
    per: Literal["volume", "atom", "electron"] = Field(
        default="electron",
        description="v is |s| or |s|² as it stands (per volume), times V/n_atoms, or times V over "
        "the number of electrons.",
    )
    scale: Literal["root", "linear"] = Field(
        default="root",
        description="Components as they are, linear in v, or their square roots, so that weak "
        "shells count beside strong ones.",
    )
    counts: bool = Field(
        default=True,
        description="Append what g = 0 and the volume tell: the logarithms of electrons an atom "
        "and of the mean density s(0) in e/Å³. g = 0 enters nowhere else.",
    )

    @field_validator("l_max")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(
                f"got {value}, expected an even number: |s(g)| = |s(-g)|, so odd degrees vanish"
            )
        return value

    @model_validator(mode="after")
    def _some_untapered(self) -> "R3DVSPowerSpec":
        if self.taper_inverse_angstrom > self.g_cut:
            raise ValueError(
                f"taper_inverse_angstrom is {self.taper_inverse_angstrom:g} 1/Å, but the spots end "
                f"at g_cut = π/resolution_angstrom = {self.g_cut:.3g} 1/Å; choose less"
            )
        return self

    @property
    def g_cut(self) -> float:
        """Radius of the sphere of spots, 1/Å."""
        return float(np.pi / self.resolution_angstrom)

    @property
    def degrees(self) -> range:
        """The degrees l ≥ 2."""
        return range(2, self.l_max + 1, 2)


def power_vectors(spectra: Mapping[str, Spectrum], spec: R3DVSPowerSpec) -> VectorSet:
    """The power spectrum of each density.

    Args:
        spectra: densities by material id.
        spec: shells, degrees and scaling.

    Returns:
        (n, len(component_names(spec))). Those of l = 0 and of l ≥ 2 have one dimension, that of
        v or (``scale`` root) its square root: e/Å³ for |s|² per electron, e²/Å³ per atom.
        A component of l ≥ 2 is (|a + b| - |a - b|)/2 of the vectors a = c_nl and b = c_n'l, which
        is the length |c_nl| for n = n' and has the sign of p_nn'l; for ``scale`` root it is
        divided by (c_n00 c_n'00)^¼.

    Raises:
        DataError: a spectrum does not reach g_cut, holds a number that is not finite, or has no
            electrons although they are to be counted.
    """
    values = np.empty((len(spectra), len(component_names(spec))))
    for row, (name, spectrum) in zip(values, spectra.items(), strict=True):
        row[:] = _vector(name, spectrum, spec)
    return VectorSet(tuple(spectra), values)


def component_names(spec: R3DVSPowerSpec) -> list[str]:
    """What each component of the vector is, in order."""
    names = [f"c_{n}00" for n in range(1, spec.n_max + 1)]
    first, second = _pairs(spec)
    for degree in spec.degrees:
        names += [f"p_{n + 1},{m + 1},{degree}" for n, m in zip(first, second, strict=True)]
    return names + (["ln electrons per atom", "ln mean density"] if spec.counts else [])


def shell_centres(n_max: int, g_cut: float) -> NDArray[np.float64]:
    """(n_max,) |g| of the centres of the shells, 1/Å."""
    return g_cut * np.arange(1, n_max + 1) / n_max


def shells(
    radius: NDArray[np.float64], n_max: int, width: float, g_cut: float
) -> NDArray[np.float64]:
    """R_n(|g|): Gaussians that are divided by their sum.

    Args:
        radius: (spots,) |g|, 1/Å, from 0 to g_cut.
        n_max: number of shells.
        width: standard deviation of a Gaussian, 1/Å.
        g_cut: centre of the last shell, 1/Å.

    Returns:
        (spots, n_max), between 0 and 1; each row sums to 1.
    """
    exponent = -0.5 * ((radius[:, None] - shell_centres(n_max, g_cut)) / width) ** 2
    # Far below the first centre every Gaussian may underflow: the nearest is taken as 1.
    gaussians = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return gaussians / gaussians.sum(axis=1, keepdims=True)


def taper(radius: NDArray[np.float64], spec: R3DVSPowerSpec) -> NDArray[np.float64]:
    """Weight of spots at |g| (1/Å): 1, and falling as cos² to 0 at g_cut over the taper."""
    reach = spec.taper_inverse_angstrom
    if reach == 0:
        return np.ones_like(radius)
    return np.cos(np.pi / 2 * np.clip((radius - spec.g_cut + reach) / reach, 0, 1)) ** 2


def harmonics(unit: NDArray[np.float64], l_max: int) -> dict[int, NDArray[np.float64]]:
    """Real spherical harmonics of even degree, normalised to Σ_m C_lm² = 1.

    √((2l + 1)/4π) C_lm are the orthonormal ones. Polynomials in x, y and z: no angle is taken,
    so the poles are points like others.

    Args:
        unit: (n, 3) unit vectors.
        l_max: highest degree.

    Returns:
        (n, 2l + 1) for l = 0, 2, … l_max; columns m = 0, then cosine and sine of m = 1 … l.
    """
    x, y, z = unit.T
    turned = np.cumprod(np.repeat((x + 1j * y)[None], max(l_max, 1), axis=0), axis=0)
    parts: dict[int, list[NDArray[np.float64]]] = {d: [] for d in range(0, l_max + 1, 2)}
    for m in range(l_max + 1):
        # Associated Legendre functions without (sin θ)^m, upwards in l from l = m.
        below = np.zeros_like(z)
        legendre = np.full_like(z, float(np.prod(np.arange(2 * m - 1, 0, -2))))
        for degree in range(m, l_max + 1):
            if degree % 2 == 0:
                norm = (factorial(degree - m) / factorial(degree + m) * (2 if m else 1)) ** 0.5
                waves = [turned[m - 1].real, turned[m - 1].imag] if m else [np.ones_like(z)]
                parts[degree] += [norm * legendre * wave for wave in waves]
            above = ((2 * degree + 1) * z * legendre - (degree + m) * below) / (degree + 1 - m)
            below, legendre = legendre, above
    return {degree: np.stack(columns, axis=1) for degree, columns in parts.items()}


def _vector(name: str, spectrum: Spectrum, spec: R3DVSPowerSpec) -> NDArray[np.float64]:
    """All components of one density, (d,)."""
    require_reach(spectrum, spec.g_cut, name)
    if not np.isfinite(spectrum.coefficients).all():
        raise DataError(
            f"{name}: its density spectrum holds numbers that are not finite; delete the file with "
            "its density and run snakemake again"
        )
    electrons = spectrum.n_electrons
    if (spec.counts or spec.per == "electron") and electrons <= 0:
        raise DataError(
            f"{name}: its density has {electrons:.3g} electrons, expected more than 0; drop the "
            "structure, or choose per: atom or volume and counts: false"
        )
    factor = {
        "volume": 1.0,
        "atom": spectrum.volume / spectrum.n_atoms,
        "electron": spectrum.volume / electrons if electrons else 0.0,
    }[spec.per]
    radial, angular, weights = _expansion(spectrum, spec)
    parts = [factor * radial]
    if spec.l_max:
        parts += [_invariants(factor * c, spec) for c in angular]
    if spec.scale == "root":
        parts = _roots(parts, factor * weights, spec)
    if spec.counts:
        density = electrons / spectrum.volume
        parts.append(np.log([electrons / spectrum.n_atoms, density]))
    return np.concatenate(parts)


def _expansion(
    spectrum: Spectrum, spec: R3DVSPowerSpec
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]], NDArray[np.float64]]:
    """c_n00 (n_max,), c_nlm (n_angular, 2l + 1) of each l ≥ 2, and c_n00 of the angular shells.

    v is |s| or |s|² as it stands, e/Å³ or e²/Å⁶; g and -g are both counted.
    """
    vectors = spectrum.g_vectors()
    radius = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    chosen = np.flatnonzero((radius <= spec.g_cut * RIM) & spectrum.hkl.any(axis=1))
    power = 2 if spec.value == "squared" else 1
    spacing = spec.g_cut / spec.n_max
    width = max(spec.width_inverse_angstrom, spacing / 2)
    wide = max(spec.width_inverse_angstrom, spec.g_cut / spec.n_angular)
    radial, weights = np.zeros(spec.n_max), np.zeros(spec.n_angular)
    angular = [np.zeros((spec.n_angular, 2 * degree + 1)) for degree in spec.degrees]
    for start in range(0, len(chosen), _BATCH):
        batch = chosen[start : start + _BATCH]
        g = radius[batch]
        value = 2 * np.abs(spectrum.coefficients[batch].astype(np.complex128)) ** power
        value *= taper(g, spec)
        radial += value @ shells(g, spec.n_max, width, spec.g_cut)
        if not spec.l_max:
            continue
        shared = shells(g, spec.n_angular, wide, spec.g_cut) * value[:, None]  # (spots, shells)
        weights += shared.sum(axis=0)
        basis = harmonics(vectors[batch] / g[:, None], spec.l_max)
        for c, degree in zip(angular, spec.degrees, strict=True):
            c += shared.T @ basis[degree]
    return radial, angular, weights


def _pairs(spec: R3DVSPowerSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """N and n' of the pairs of shells, from 0."""
    first, second = np.triu_indices(spec.n_angular)
    near = second - first <= spec.pairs
    return first[near], second[near]


def _invariants(c: NDArray[np.float64], spec: R3DVSPowerSpec) -> NDArray[np.float64]:
    """p_nn'l of one degree in the dimension of c (n_angular, 2l + 1), (pairs,).

    By |a ± b|² = p_nn + p_n'n' ± 2 p_nn'. The signed root of p_nn' would have no bounded slope
    where a shell has no part of degree l, as in every cubic crystal for l = 2: rounding would
    show.
    """
    first, second = _pairs(spec)
    lengths = [np.linalg.norm(c[first] + sign * c[second], axis=1) for sign in (1, -1)]
    return (lengths[0] - lengths[1]) / 2


def _roots(
    parts: list[NDArray[np.float64]], weights: NDArray[np.float64], spec: R3DVSPowerSpec
) -> list[NDArray[np.float64]]:
    """√c_n00, and the invariants of l ≥ 2 over (c_n00 c_n'00)^¼; |c_nlm| never exceeds c_n00."""
    first, second = _pairs(spec)
    divisor = (weights[first] * weights[second]) ** 0.25
    safe = np.where(divisor > 0, divisor, 1.0)
    return [np.sqrt(parts[0]), *(part / safe for part in parts[1:])]
