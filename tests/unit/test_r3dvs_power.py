"""Settings, shapes, order and errors of the power spectrum; hostile spectra."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from rhoflow.config import load
from rhoflow.density.spectrum import Spectrum, half_sphere
from rhoflow.descriptors import r3dvs_power
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec, component_names, power_vectors
from rhoflow.errors import ConfigError, DataError


def spectrum(seed: int = 0, edge: float = 4.0) -> Spectrum:
    rng = np.random.default_rng(seed)
    lattice = edge * np.eye(3) + rng.normal(size=(3, 3)) * 0.2
    hkl = half_sphere(lattice, 8.0)
    s = rng.normal(size=(len(hkl), 2)) @ [1, 1j]
    s[~hkl.any(axis=1)] = 1.5
    return Spectrum(lattice, 3, hkl, s.astype(np.complex64), 8.0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"l_max": 0},
        {"counts": False, "pairs": 63},
        {"n_max": 1, "n_angular": 1, "l_max": 12},
        {"pairs": 2, "scale": "linear", "per": "atom"},
    ],
)
def test_each_component_has_a_name(settings):
    spec = R3DVSPowerSpec(**settings)
    vectors = power_vectors({"a": spectrum(), "b": spectrum(1)}, spec)
    names = component_names(spec)
    assert vectors.values.shape == (2, len(names))
    assert len(set(names)) == len(names)
    assert np.isfinite(vectors.values).all()


def test_order_and_company_change_nothing():
    both = {"b": spectrum(1), "a": spectrum(2)}
    vectors = power_vectors(both, R3DVSPowerSpec())
    assert vectors.ids == ("b", "a")
    alone = power_vectors({"a": both["a"]}, R3DVSPowerSpec())
    np.testing.assert_array_equal(alone.values[0], vectors.values[1])


def test_of_nothing_is_empty():
    spec = R3DVSPowerSpec()
    assert power_vectors({}, spec).values.shape == (0, len(component_names(spec)))


def test_batches_of_spots_add_up(monkeypatch):
    spec = R3DVSPowerSpec(pairs=1)
    whole = power_vectors({"x": spectrum()}, spec).values
    monkeypatch.setattr(r3dvs_power, "_BATCH", 7)
    np.testing.assert_allclose(power_vectors({"x": spectrum()}, spec).values, whole, rtol=1e-12)


def test_spots_outside_g_cut_and_g_0_count_nowhere():
    spec = R3DVSPowerSpec(resolution_angstrom=0.8, counts=False, per="volume")
    whole = spectrum()
    radius = np.linalg.norm(whole.g_vectors(), axis=1)
    changed = np.where((radius > spec.g_cut) | (radius == 0), 77, whole.coefficients)
    other = replace(whole, coefficients=changed.astype(np.complex64))
    a, b = power_vectors({"a": whole, "b": other}, spec).values
    np.testing.assert_array_equal(a, b)


def test_an_empty_sphere_gives_zeros():
    """A density that is constant inside g_cut, and a cell so small that no spot is inside."""
    spec = R3DVSPowerSpec(resolution_angstrom=3.0)
    tiny = replace(spectrum(edge=2.0), n_atoms=1)
    flat = spectrum()
    flat = replace(flat, coefficients=np.where(flat.hkl.any(axis=1), 0, 1.5).astype(np.complex64))
    for got in power_vectors({"tiny": tiny, "flat": flat}, spec).values:
        assert (got[:-2] == 0).all()
        assert np.isfinite(got).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    s = spectrum()
    s.coefficients[5] = bad
    with pytest.raises(DataError, match=r"TiO2: .*not finite; delete the file"):
        power_vectors({"TiO2": s}, R3DVSPowerSpec())


@pytest.mark.parametrize("mean", [0.0, -1.0])
def test_a_density_without_electrons_is_refused_where_they_count(mean):
    s = spectrum()
    s.coefficients[~s.hkl.any(axis=1)] = mean
    with pytest.raises(DataError, match=r"x: its density has .* electrons, expected more than 0"):
        power_vectors({"x": s}, R3DVSPowerSpec())
    spec = R3DVSPowerSpec(per="atom", counts=False)
    assert np.isfinite(power_vectors({"x": s}, spec).values).all()


def test_a_spectrum_that_ends_before_g_cut_is_refused():
    with pytest.raises(DataError, match=r"x: its spectrum ends at .* 10\.472 1/Å are asked"):
        power_vectors({"x": spectrum()}, R3DVSPowerSpec(resolution_angstrom=0.3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l_max": 3}, r"expected an even number"),
        ({"l_max": 14}, r"less than or equal to 12"),
        ({"resolution_angstrom": 4.0, "taper_inverse_angstrom": 1.0}, r"g_cut = .* 0\.785 1/Å"),
        ({"n_max": 0}, r"greater than or equal to 1"),
        ({"value": "log"}, r"'amplitude' or 'squared'"),
        ({"lmax": 2}, r"Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        R3DVSPowerSpec(**settings)


def test_a_study_whose_densities_end_before_g_cut_stops_at_once():
    path = Path(__file__).parents[2] / "config" / "test" / "mini.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["descriptors"]["power"] = {"kind": "r3dvs_power", "resolution_angstrom": 0.2}
    raw["studies"]["tiny"]["arms"]["power"] = {"descriptor": "power", "model": "gauss"}
    with pytest.raises(ConfigError, match=r"g_store is .* 'power' needs g_cut = .* 15\.708 1/Å"):
        load(raw)
    raw["descriptors"]["power"]["resolution_angstrom"] = 0.8
    assert load(raw).descriptors_of_kind("r3dvs_power") == ["power"]
