"""Crystals and densities with known answers, shared by all tests."""

import numpy as np
import pytest

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, from_grid


def analytic_coefficients(
    g: np.ndarray, lattice: np.ndarray, centres: np.ndarray, charges: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """s(g) = Σ_j q_j exp(-w_j² g²/2) exp(-i g·r_j) / V of Gaussians of charge q and width w."""
    g2 = (g**2).sum(axis=1)
    damp = np.exp(-0.5 * np.outer(g2, widths**2))
    phase = np.exp(-1j * g @ (centres @ lattice).T)
    return (damp * phase) @ charges / abs(np.linalg.det(lattice))


def gaussian_density(
    shape: tuple[int, int, int],
    lattice: np.ndarray,
    centres: np.ndarray,
    charges: np.ndarray,
    widths: np.ndarray,
    images: int = 3,
) -> np.ndarray:
    """The same Gaussians summed in real space on a grid, e/Å³."""
    axes = [np.arange(n) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ lattice
    span = np.arange(-images, images + 1)
    cells = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    density = np.zeros(shape)
    for centre, charge, width in zip(centres, charges, widths, strict=True):
        for cell in cells:
            d2 = ((points - (centre + cell) @ lattice) ** 2).sum(axis=-1)
            density += charge * np.exp(-0.5 * d2 / width**2) / (2 * np.pi * width**2) ** 1.5
    return density


LATTICE = np.array([[4.0, 0.0, 0.0], [0.7, 4.4, 0.0], [-0.4, 0.9, 5.1]])
CENTRES = np.array([[0.1, 0.2, 0.3], [0.6, 0.55, 0.8], [0.35, 0.9, 0.15]])
CHARGES = np.array([6.0, 2.0, 8.0])
WIDTHS = np.array([0.45, 0.6, 0.5])


@pytest.fixture(scope="session")
def gaussians() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return LATTICE, CENTRES, CHARGES, WIDTHS


@pytest.fixture(scope="session")
def gaussian_spectrum() -> Spectrum:
    """Spectrum of three Gaussians in a triclinic cell, from a grid."""
    density = gaussian_density((36, 36, 40), LATTICE, CENTRES, CHARGES, WIDTHS)
    return from_grid(density, LATTICE, n_atoms=3, g_max=12.0)


def make_crystal(
    lattice: np.ndarray, symbols: tuple[str, ...], frac: list[list[float]], name: str = "x"
) -> Crystal:
    return Crystal(name, np.asarray(lattice, float), symbols, np.asarray(frac, float))


@pytest.fixture
def mgo() -> Crystal:
    a = 4.21 / 2
    return make_crystal(
        np.array([[0, a, a], [a, 0, a], [a, a, 0]]), ("Mg", "O"), [[0, 0, 0], [0.5] * 3], "MgO"
    )
