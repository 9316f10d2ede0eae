"""The Hartree energy as a functional of |s(g)|: exact on spots, nearly so on voxels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.conftest import CENTRES, CHARGES, LATTICE, WIDTHS
from tests.physics.test_r3dvs import spectrum_of

from rhoflow import io
from rhoflow.density.spectrum import Spectrum, half_sphere, hartree_energy, truncate
from rhoflow.descriptors import hartree_functional as functional
from rhoflow.descriptors.hartree_functional import (
    READINGS,
    HartreeFunctionalSpec,
    energy_within,
    missing_shares,
    records_with_spectra,
    summary,
    voxel_energies,
)
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.errors import DataError

OXIDES = Path(__file__).parents[2] / "resources" / "oxides"
ODD = R3DVSSpec(length_angstrom=13.2)  # 33³: g = 0 is the centre of a voxel


@pytest.fixture(scope="module")
def shard() -> tuple[dict[str, float], dict[str, Spectrum]]:
    """E_H in eV/atom and densities of the oxides of one shard that ships."""
    table = io.read_archive_table(OXIDES / "0023.parquet")
    energies = table["hartree_energy_ev"] / table["n_atoms"]
    return (
        dict(zip(table["material_id"], energies, strict=True)),
        io.read_spectra(OXIDES / "0023.density.npz"),
    )


def energy_per_atom(spectrum: Spectrum) -> float:
    return hartree_energy(spectrum) / spectrum.n_atoms


def on_centres(spec: R3DVSSpec, strength: float) -> Spectrum:
    """A cubic crystal whose spots all lie on centres of the voxels of an odd grid."""
    lattice = 2 * np.pi / spec.pitch * np.eye(3)
    hkl = half_sphere(lattice, spec.g_cut)
    g2 = (hkl**2).sum(axis=1)
    values = strength * np.exp(-0.02 * g2) * np.exp(1j * hkl.sum(axis=1))
    return Spectrum(lattice, 30, hkl, values.astype(np.complex64), spec.g_cut)


def test_the_sum_within_a_radius_is_that_of_the_truncated_spectrum():
    spectrum = spectrum_of(LATTICE, CENTRES)
    radii = np.array([0.5, 2.0, 4.5, 7.854, 9.0])
    expected = [energy_per_atom(truncate(spectrum, r)) for r in radii]
    np.testing.assert_allclose(energy_within(spectrum, radii), expected, rtol=1e-9)
    assert energy_within(spectrum, radii)[0] == 0


def test_gaussians_have_the_energy_of_point_charges_with_a_form_factor():
    """One Gaussian of width w in a large cubic cell: E_H = k_e q²/(2√π w), up to the background."""
    edge, charge, width = 24.0, 2.0, 0.4
    spectrum = spectrum_of(
        edge * np.eye(3), np.zeros((1, 3)), np.array([charge]), np.array([width]), 12.0
    )
    alone = functional.COULOMB_EV_ANGSTROM * charge**2 / (2 * np.sqrt(np.pi) * width)
    madelung = 2.837297 * functional.COULOMB_EV_ANGSTROM * charge**2 / (2 * edge)
    finite = np.pi * functional.COULOMB_EV_ANGSTROM * charge**2 * 2 * width**2 / edge**3
    (energy,) = energy_within(spectrum, np.array([12.0]))
    assert energy == pytest.approx(alone - madelung + finite, rel=1e-4)


def test_shares_fall_from_one_to_the_share_beyond_the_spectrum():
    spectrum = spectrum_of(LATTICE, CENTRES)
    record = 1.25 * energy_per_atom(spectrum)
    shares = missing_shares({"x": record}, {"x": spectrum}, 7.854)
    assert list(shares.columns) == ["material_id", "g_inverse_angstrom", "missing_share"]
    assert (np.diff(shares["missing_share"]) <= 0).all()
    assert shares["missing_share"].iloc[-1] == pytest.approx(0.2, abs=1e-9)
    assert shares["g_inverse_angstrom"].iloc[[0, -1]].tolist() == [2.0, 9.0]
    at_cut = shares.set_index("g_inverse_angstrom")["missing_share"][7.854]
    expected = 1 - energy_per_atom(truncate(spectrum, 7.854)) / record
    assert at_cut == pytest.approx(expected, abs=1e-9)


def test_shares_end_where_the_shortest_spectrum_does():
    long, short = spectrum_of(LATTICE, CENTRES), spectrum_of(LATTICE, CENTRES, g_max=6.0)
    shares = missing_shares({"a": 1.0, "b": 1.0}, {"a": long, "b": short}, 7.854)
    assert shares["g_inverse_angstrom"].max() == 6.0
    endless = Spectrum(short.lattice, 3, short.hkl, short.coefficients)
    reach = missing_shares({"c": 1.0}, {"c": endless}, 7.854)["g_inverse_angstrom"].max()
    assert 5.5 < reach <= 6.0


def test_spots_on_voxel_centres_lose_nothing():
    spectra = {"a": on_centres(ODD, 0.5), "b": on_centres(ODD, 0.9)}
    records = {name: energy_per_atom(s) for name, s in spectra.items()}
    energies = voxel_energies(records, spectra, HartreeFunctionalSpec(voxels=ODD, poses=1))
    unrotated = energies[energies["pose"] == 0]
    assert set(unrotated["reading"]) == {"spots", *(r.name for r in READINGS)}
    np.testing.assert_allclose(unrotated["from_descriptor"], unrotated["record"], rtol=2e-5)


@pytest.mark.parametrize(
    ("length", "deposit", "reached"),
    [(12.8, "nearest", 1), (12.8, "linear", 8), (13.2, "nearest", 1), (13.2, "linear", 1)],
)
def test_voxels_that_the_origin_reaches_do_not_count(length, deposit, reached):
    form = R3DVSSpec(length_angstrom=length, deposit=deposit)
    weights = functional._weights(form, origin=True)
    assert int((weights == 0).sum()) == reached
    everywhere = functional._weights(form, origin=False)
    assert int((everywhere == 0).sum()) == form.n_voxels % 2
    corner = 3 * ((form.n_voxels - 1) / 2 * form.pitch) ** 2
    assert weights[0, 0, 0] == pytest.approx(1 / corner)


def test_the_mean_density_leaves_every_reading_alone():
    spectrum = spectrum_of(LATTICE, CENTRES)
    values = spectrum.coefficients.copy()
    values[~spectrum.hkl.any(axis=1)] *= 7
    denser = Spectrum(LATTICE, 3, spectrum.hkl, values, spectrum.g_max)
    spec = HartreeFunctionalSpec(poses=2)
    readings = [voxel_energies({"x": 1.0}, {"x": s}, spec) for s in (spectrum, denser)]
    np.testing.assert_allclose(*(r["from_descriptor"] for r in readings), rtol=1e-6)


def test_other_channels_and_halves_of_the_descriptor_play_no_part():
    spectrum = spectrum_of(LATTICE, CENTRES)
    plain = HartreeFunctionalSpec(poses=1)
    other = HartreeFunctionalSpec(
        voxels=R3DVSSpec(half=True, channels=("density", "nuclei"), deposit="linear"), poses=1
    )
    one, two = (voxel_energies({"x": 1.0}, {"x": spectrum}, s) for s in (plain, other))
    pd.testing.assert_frame_equal(one, two)


def test_equal_seeds_give_equal_poses():
    spectra = {"x": spectrum_of(LATTICE, CENTRES)}
    runs = [
        voxel_energies({"x": 1.0}, spectra, HartreeFunctionalSpec(poses=2, seed=s))
        for s in (1, 1, 2)
    ]
    pd.testing.assert_frame_equal(runs[0], runs[1])
    assert not np.allclose(runs[0]["from_descriptor"], runs[2]["from_descriptor"], rtol=1e-4)


def test_a_supercell_reads_the_same():
    lattice = LATTICE * np.array([[2.0], [1.0], [1.0]])
    centres = np.concatenate([CENTRES * [0.5, 1, 1], CENTRES * [0.5, 1, 1] + [0.5, 0, 0]])
    double = spectrum_of(lattice, centres, np.tile(CHARGES, 2), np.tile(WIDTHS, 2))
    spec = HartreeFunctionalSpec(poses=1)
    one, two = (
        voxel_energies({"x": 1.0}, {"x": s}, spec)["from_descriptor"]
        for s in (spectrum_of(LATTICE, CENTRES), double)
    )
    np.testing.assert_allclose(one, two, rtol=2e-5)


def test_records_without_density_or_energy_are_left_out(gaussian_spectrum):
    targets = pd.DataFrame(
        {"material_id": list("abcd"), "hartree_energy_ev_per_atom": [5.0, np.nan, 7.0, 0.0]}
    )
    assert records_with_spectra(targets, dict.fromkeys("abd", gaussian_spectrum)) == {"a": 5.0}
    with pytest.raises(DataError, match="no material has a Hartree energy"):
        records_with_spectra(targets, {})


def test_a_spectrum_that_ends_before_g_cut_is_refused():
    short = spectrum_of(LATTICE, CENTRES, g_max=5.0)
    with pytest.raises(DataError, match=r"ends at \|g\| = 5"):
        voxel_energies({"x": 1.0}, {"x": short}, HartreeFunctionalSpec())


def energies_of(record: list[float], readings: list[list[float]]) -> pd.DataFrame:
    rows = [
        ("r", "linear", pose, f"m{i}", truth, x)
        for pose, values in enumerate(readings)
        for i, (truth, x) in enumerate(zip(record, values, strict=True))
    ]
    columns = ["reading", "deposit", "pose", "material_id", "record", "from_descriptor"]
    return pd.DataFrame(rows, columns=columns)


def test_a_straight_line_takes_away_offset_and_scale_alone():
    truth = [1.0, 2.0, 4.0, 8.0]
    reading = [(t - 3) / 2 for t in truth]
    row = summary(energies_of(truth, [reading])).iloc[0]
    assert row["pose"] == "unrotated"
    assert row["mae_as_it_is_ev_per_atom"] == pytest.approx(
        np.abs(np.subtract(truth, reading)).mean()
    )
    assert (row["intercept_ev_per_atom"], row["slope"]) == pytest.approx((3, 2))
    assert row["mae_fitted_ev_per_atom"] == pytest.approx(0, abs=1e-12)
    assert row["mean_absolute_deviation_ev_per_atom"] == pytest.approx(2.25)
    assert np.isnan(row["pose_spread_ev_per_atom"])


def test_the_error_of_what_is_left_out_is_that_of_fits_without_it():
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 5, 9)
    truth = 2 + 3 * x + rng.normal(0, 0.3, 9)
    errors = []
    for i in range(9):
        others = np.arange(9) != i
        slope, intercept = np.polyfit(x[others], truth[others], 1)
        errors.append(abs(truth[i] - intercept - slope * x[i]))
    row = summary(energies_of(list(truth), [list(x)])).iloc[0]
    assert row["mae_left_out_ev_per_atom"] == pytest.approx(np.mean(errors), rel=1e-9)


def test_poses_are_averaged_before_or_after():
    truth = [10.0, 20.0, 30.0]
    table = summary(energies_of(truth, [truth, [9.0, 19, 29], [11.0, 21, 31], [10.0, 23, 30]]))
    rows = table.set_index("pose")
    assert rows.loc["unrotated", "mae_as_it_is_ev_per_atom"] == 0
    assert rows.loc["random", "mae_as_it_is_ev_per_atom"] == pytest.approx(1.0)
    assert rows.loc["mean_of_random", "mae_as_it_is_ev_per_atom"] == pytest.approx(1 / 3)
    spread = np.mean([1, 2, 1])
    assert rows.loc["random", "pose_spread_ev_per_atom"] == pytest.approx(spread)


@pytest.mark.parametrize("truth", [[1.0], [1.0, 2.0], [1.0, 2.0, 3.0]])
def test_too_few_or_equal_readings_have_no_line(truth):
    row = summary(energies_of(truth, [[5.0] * len(truth)])).iloc[0]
    assert np.isnan(
        row[["slope", "mae_fitted_ev_per_atom", "mae_left_out_ev_per_atom"]].tolist()
    ).all()
    assert np.isfinite(row["mae_as_it_is_ev_per_atom"])


def test_of_real_oxides_less_than_one_percent_lies_beyond_the_papers_cut(shard):
    records, spectra = shard
    cut = R3DVSSpec().g_cut
    shares = missing_shares(records, spectra, cut)
    at_cut = shares[np.isclose(shares["g_inverse_angstrom"], cut)]["missing_share"]
    assert len(at_cut) == len(records) == 12
    assert at_cut.between(0, 0.01).all()


def test_of_real_oxides_squares_per_atom_shared_linearly_lose_least(shard):
    records, spectra = shard
    scores = summary(voxel_energies(records, spectra, HartreeFunctionalSpec(poses=2)))
    error = scores[scores["pose"] == "unrotated"].set_index(["reading", "deposit"])
    error = error["mae_fitted_ev_per_atom"]
    deviation = scores["mean_absolute_deviation_ev_per_atom"].iloc[0]
    assert error["spots", ""] < 0.01 * deviation
    assert error["squared_per_atom_no_origin", "linear"] < 0.02 * deviation
    assert error["squared_per_atom", "nearest"] > 5 * error["squared_per_atom", "linear"]
    # Without V/n even every amplitude in its place leaves a quarter of the deviation.
    assert error["amplitude_per_volume", "nearest"] > 0.2 * deviation
