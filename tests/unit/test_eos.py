"""Equation of state and bands against cases with known answers."""

import numpy as np
import pytest

from rhoflow.dft.bands import band_terms
from rhoflow.dft.eos import GPA, EquationOfStateSpec, birch_murnaghan, find_equilibrium

V0, E0, B0, B1 = 74.7, -23.5, 152.0, 4.1  # Å³, eV, GPa


def energy(volume):
    """Birch's equation as it is usually written."""
    f = (V0 / np.asarray(volume)) ** (2 / 3)
    return E0 + 9 * V0 * B0 / GPA / 16 * ((f - 1) ** 3 * B1 + (f - 1) ** 2 * (6 - 4 * f))


def test_fit_gives_back_what_birchs_equation_was_made_from():
    volumes = np.linspace(66, 82, 7)
    fit = birch_murnaghan(volumes, energy(volumes))
    assert fit is not None
    assert fit.volume == pytest.approx(V0, rel=1e-9)
    assert fit.energy == pytest.approx(E0, abs=1e-9)
    assert fit.bulk_modulus == pytest.approx(B0, rel=1e-7)
    assert fit.derivative == pytest.approx(B1, rel=1e-5)
    assert fit.rms < 1e-9


def test_residuals_show_noise():
    volumes = np.linspace(66, 82, 9)
    noise = 0.01 * np.array([1, -1, 1, -1, 1, -1, 1, -1, 1])
    fit = birch_murnaghan(volumes, energy(volumes) + noise)
    assert fit is not None
    assert 0.005 < fit.rms < 0.01


@pytest.mark.parametrize("start", [0.72, 0.9, 1.0, 1.04, 1.3])
def test_the_window_moves_to_the_minimum_and_asks_once_a_volume(start):
    asked = []

    def counting(volume: float) -> float:
        asked.append(volume)
        return float(energy(volume))

    fit = find_equilibrium(counting, start * V0, EquationOfStateSpec())
    assert fit.volume == pytest.approx(V0, rel=1e-9)
    assert fit.bulk_modulus == pytest.approx(B0, rel=1e-6)
    assert len(set(asked)) == len(asked) <= 13
    assert fit.volumes.min() < 0.95 * V0 < 1.05 * V0 < fit.volumes.max()
    assert len(fit.volumes) == len(fit.energies) == 5


@pytest.mark.parametrize("slope", [-1.0, 1.0])
def test_no_minimum_is_an_error_that_says_where_it_looked(slope):
    with pytest.raises(ValueError, match=r"no minimum between .* Å³ \(13 volumes\)"):
        find_equilibrium(lambda v: slope * v, 50.0, EquationOfStateSpec())


def test_noise_does_not_keep_the_window_moving():
    rng = np.random.default_rng(0)
    for _ in range(50):
        spec = EquationOfStateSpec(max_points=41)
        fit = find_equilibrium(lambda v: float(energy(v) + rng.normal(0, 0.02)), V0, spec)
        assert fit.volume == pytest.approx(V0, rel=0.1)


@pytest.mark.parametrize(
    "wrong", [{"points": 6}, {"points": 4}, {"points": 9, "max_points": 7}, {"step": 0.0}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"points|step"):
        EquationOfStateSpec(**wrong)


def test_an_insulators_width_ends_at_a_gap_between_occupied_bands():
    levels = np.array([[[-17.0, -4.0, -2.5, 0.0, 3.0], [-16.8, -4.5, -3.2, -1.6, 3.5]]])
    filled = np.array([[[1, 1, 1, 1, 0]] * 2], dtype=float)
    terms = band_terms(levels, filled, 1.7)
    assert terms["valence_band_width_ev"] == pytest.approx(4.5)
    assert terms["band_gap_ev"] == pytest.approx(3.0)
    assert terms["valence_band_maximum_ev"] == 0.0


def test_a_metals_width_ends_at_the_fermi_level():
    levels = np.array([[[-2.0, -1.1, 0.2]], [[-1.9, -0.9, 0.3]]])
    filled = np.array([[[1, 0.9, 0.45]], [[1, 0.8, 0.1]]])
    terms = band_terms(np.concatenate([levels, levels - 0.3], axis=1), np.concatenate(
        [filled, np.ones_like(filled)], axis=1), 0.1)  # fmt: skip
    assert terms["band_gap_ev"] == 0
    assert terms["valence_band_maximum_ev"] is None
    assert terms["valence_band_width_ev"] == pytest.approx(2.3 + 0.1)


def test_an_odd_number_of_paired_electrons_is_a_metal():
    """A half-filled band is above the Fermi level at one k-point and below it at another."""
    levels = np.array([[[-5.0, 0.4, 3.0], [-5.2, -0.6, 2.0], [-5.1, 0.5, 3.0], [-5.0, -0.7, 2.5]]])
    filled = np.array([[[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0]]], dtype=float)
    terms = band_terms(levels, filled, 0.0)
    assert terms["band_gap_ev"] == 0
    assert terms["valence_band_maximum_ev"] is None
    assert terms["valence_band_width_ev"] == pytest.approx(0.7)


def test_nothing_occupied_says_nothing():
    assert band_terms(np.zeros((1, 1, 2)), np.zeros((1, 1, 2))) == {}
