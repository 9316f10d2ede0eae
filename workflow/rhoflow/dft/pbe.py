"""The local formula of PBE, and how it answers to a stretching of the density.

Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), on the uniform gas of Perdew and
Wang, Phys. Rev. B 45, 13244 (1992). The derivative of e(λn, λ²σ) with respect to λ at λ = 1 is
n ∂e/∂n + 2σ ∂e/∂σ: integrated, the energy ∫ v_xc ρ. Along λ the spin polarisation stays, the
Wigner-Seitz radius r_s goes as λ^(-1/3), the reduced gradients s² as λ^(-2/3) and t² as λ^(-1/3),
so no potential is needed. Atomic units throughout.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KAPPA = 0.804
MU = 0.2195164512208958
BETA = 0.066725
GAMMA = 0.031091
FERMI = (9 * np.pi / 4) ** (1 / 3)  # k_F r_s
EXCHANGE = 0.75 * FERMI / np.pi  # -ε_x r_s of the uniform gas

# A, α1, β1 to β4 of Perdew and Wang: unpolarised, fully polarised, and minus the spin stiffness.
UNPOLARISED = (0.031091, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294)
POLARISED = (0.015545, 0.20548, 14.1189, 6.1977, 3.3662, 0.62517)
STIFFNESS = (0.016887, 0.11125, 10.357, 3.6231, 0.88026, 0.49671)
CURVATURE = 8 / (9 * (2 ** (4 / 3) - 2))  # f''(0)


def exchange(n: Array, sigma: Array) -> tuple[Array, Array]:
    """Exchange of a spin-paired density.

    Args:
        n: (points,) positive density, 1/Bohr³.
        sigma: (points,) |∇n|², 1/Bohr⁸.

    Returns:
        Energy density and its derivative along λ, (points,) each, Hartree/Bohr³.
    """
    radius = np.cbrt(3 / (4 * np.pi * n))
    uniform = -EXCHANGE * n / radius
    s2 = sigma * (radius / (2 * FERMI * n)) ** 2
    damping = 1 / (1 + MU / KAPPA * s2)
    enhancement = 1 + KAPPA - KAPPA * damping
    stretched = 4 / 3 * enhancement - 2 / 3 * MU * s2 * damping**2
    return uniform * enhancement, uniform * stretched


def correlation(n: Array, zeta: Array | None, sigma: Array) -> tuple[Array, Array]:
    """Correlation.

    Args:
        n: (points,) positive total density, 1/Bohr³.
        zeta: (points,) spin polarisation (n↑ - n↓)/n; None where there is none.
        sigma: (points,) |∇n|² of the total density, 1/Bohr⁸.

    Returns:
        Energy density and its derivative along λ, (points,) each, Hartree/Bohr³.
    """
    radius = np.cbrt(3 / (4 * np.pi * n))
    uniform, slope = _uniform_correlation(radius, zeta)
    slope *= -radius / 3  # along λ
    phi: Array | float = 1.0
    if zeta is not None:
        phi = (np.cbrt(1 + zeta) ** 2 + np.cbrt(1 - zeta) ** 2) / 2
    scale = GAMMA * phi**3
    t2 = sigma * radius * (np.pi / (16 * FERMI)) / (phi * n) ** 2
    growth = np.expm1(-uniform / scale)
    a = BETA / GAMMA / growth
    x = a * t2
    d = 1 / (1 + x + x * x)
    q = BETA / GAMMA * t2 * (1 + x) * d
    gradient = scale * np.log1p(q)
    q_stretched = -BETA / GAMMA * t2 * d * d * (
        (1 + 2 * x) / 3 + x * x * (2 + x) * (1 + 1 / growth) * slope / scale
    )  # fmt: skip
    stretched = slope + scale * q_stretched / (1 + q)
    total = uniform + gradient
    return n * total, n * (total + stretched)


def _uniform_correlation(radius: Array, zeta: Array | None) -> tuple[Array, Array]:
    """Correlation energy an electron of the uniform gas and its derivative by r_s."""
    energy, slope = _fit(radius, UNPOLARISED)
    if zeta is None:
        return energy, slope
    full, full_slope = _fit(radius, POLARISED)
    stiff, stiff_slope = _fit(radius, STIFFNESS)
    f = (np.cbrt(1 + zeta) ** 4 + np.cbrt(1 - zeta) ** 4 - 2) / (2 ** (4 / 3) - 2)
    weight = f * zeta**4
    curved = (f - weight) / CURVATURE
    return (
        energy - stiff * curved + (full - energy) * weight,
        slope - stiff_slope * curved + (full_slope - slope) * weight,
    )


def _fit(radius: Array, parameters: tuple[float, ...]) -> tuple[Array, Array]:
    """The interpolation G(r_s) of Perdew and Wang, eq. (10), and its derivative."""
    a, a1, b1, b2, b3, b4 = parameters
    root = np.sqrt(radius)
    bottom = 2 * a * root * (b1 + root * (b2 + root * (b3 + root * b4)))
    bottom_slope = a * (b1 / root + 2 * b2 + root * (3 * b3 + 4 * root * b4))
    logarithm = np.log1p(1 / bottom)
    front = -2 * a * (1 + a1 * radius)
    slope = -2 * a * a1 * logarithm - front * bottom_slope / (bottom * (bottom + 1))
    return front * logarithm, slope
