"""Slices of densities: which plane, the numbers on it, and what the picture says."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import PowerNorm

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, evaluate, half_sphere
from rhoflow.errors import DataError
from rhoflow.figures.densities import (
    DensityPair,
    atoms_on,
    chosen_plane,
    slice_points,
    slices,
)
from rhoflow.figures.style import render

EDGE = 4.2
FCC = EDGE / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
ROCKSALT = Crystal("MgO", FCC, ("Mg", "O"), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))
PEROVSKITE = Crystal(
    "SrTiO3",
    np.diag([3.9] * 3),
    ("Sr", "Ti", "O", "O", "O"),
    np.array([[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]),
)


def any_spectrum(crystal: Crystal, seed: int) -> Spectrum:
    """Random waves of a smooth real field."""
    hkl = half_sphere(crystal.lattice, 6.0)
    rng = np.random.default_rng(seed)
    spectrum = Spectrum(crystal.lattice, crystal.n_atoms, hkl, np.zeros(len(hkl), np.complex64))
    size = np.exp(-0.1 * (spectrum.g_vectors() ** 2).sum(axis=1))
    waves = size * (rng.standard_normal(len(hkl)) + 1j * rng.standard_normal(len(hkl)))
    waves[~hkl.any(axis=1)] = 9.0
    return replace(spectrum, coefficients=waves.astype(np.complex64))


def a_pair(crystal: Crystal = ROCKSALT, **changes) -> DensityPair:
    pair = DensityPair(
        crystal.material_id,
        "MgO",
        crystal,
        any_spectrum(crystal, 1),
        any_spectrum(crystal, 2),
        nmae_percent=1.234,
    )
    return replace(pair, **changes)


def test_the_plane_of_rocksalt_is_its_cube_face():
    plane = chosen_plane(ROCKSALT)
    # {100} of the cube: two atoms an EDGE²/2, both elements; {110} holds fewer an area.
    assert sorted(np.abs(plane.axes[2]).round(6)) == [0, 0, 1]
    assert plane.height == 0
    near = {(s, *np.abs(p).round(3)) for s, p in atoms_on(ROCKSALT, plane) if abs(p).max() < 1.6}
    bond = round(EDGE / 2 / np.sqrt(2), 3)
    assert near == {("Mg", 0.0, 0.0), ("O", bond, bond)}


def test_the_plane_of_a_perovskite_holds_all_elements():
    plane = chosen_plane(PEROVSKITE)
    assert sorted(np.abs(plane.hkl)) == [0, 1, 1]
    assert {symbol for symbol, _ in atoms_on(PEROVSKITE, plane)} == {"Sr", "Ti", "O"}


def test_the_plane_moves_with_the_crystal():
    at_rest = chosen_plane(PEROVSKITE)
    shift = np.array([0.31, 0.17, -0.23])
    moved = chosen_plane(replace(PEROVSKITE, frac_coords=PEROVSKITE.frac_coords + shift))
    assert moved.hkl == at_rest.hkl
    spacing = 3.9 / np.linalg.norm(moved.hkl)
    fraction = (at_rest.height / spacing + np.dot(shift, moved.hkl)) % 1
    assert moved.height == pytest.approx(fraction * spacing)
    # The height is the distance of the plane to the origin of the cell along its normal.
    apart = moved.centre @ moved.axes[2] - moved.height
    assert apart / spacing == pytest.approx(round(apart / spacing), abs=1e-9)


@pytest.mark.parametrize("crystal", [ROCKSALT, PEROVSKITE], ids=lambda c: c.material_id)
def test_all_atoms_of_the_picture_are_named(crystal):
    plane = chosen_plane(crystal)
    cells = np.array(np.meshgrid(*[np.arange(-9, 10)] * 3)).reshape(3, -1).T
    expected = set()
    for symbol, position in zip(crystal.symbols, crystal.frac_coords, strict=True):
        local = ((cells + position) @ crystal.lattice - plane.centre) @ plane.axes.T
        inside = (np.abs(local[:, :2]) < 0.47 * plane.side).all(axis=1)
        on = inside & (np.abs(local[:, 2]) < 0.05)
        expected |= {(symbol, *(p.round(3) + 0.0)) for p in local[on, :2]}
    assert {(s, *(p.round(3) + 0.0)) for s, p in atoms_on(crystal, plane)} == expected
    assert len(expected) >= 5


def test_slices_are_the_fourier_sums_themselves():
    lattice = np.array([[3.1, 0.2, 0.1], [-1.2, 4.0, 0.3], [0.4, 0.9, 5.2]])
    crystal = Crystal("x", lattice, ("O", "Mg"), np.array([[0.1, 0.2, 0.3], [0.6, 0.6, 0.7]]))
    pair = a_pair(crystal)
    plane, table = chosen_plane(crystal), slice_points([pair])
    assert set(table["hkl"]) == {" ".join(map(str, plane.hkl))}
    rows = table.sample(200, random_state=0)
    points = plane.centre + rows[["x_angstrom", "y_angstrom"]].to_numpy() @ plane.axes[:2]
    for name in ("true", "predicted"):
        found = rows[f"{name}_e_per_angstrom3"]
        np.testing.assert_allclose(found, evaluate(getattr(pair, name), points), atol=1e-5)


def test_the_figure_shows_three_pictures_on_two_scales():
    pair = a_pair()
    table = slice_points([pair])
    figure = slices([pair], table, ("PBE", "network"))
    axes = [ax for sub in figure.subfigs for ax in sub.axes]
    shown = [ax for ax in axes if ax.images and ax.get_title()]
    assert [ax.get_title() for ax in shown] == ["PBE", "network", "network − PBE"]
    true, predicted, change = (ax.images[0] for ax in shown)
    pictures = [np.asarray(image.get_array()) for image in (true, predicted, change)]
    values = table["true_e_per_angstrom3"].to_numpy()
    n = round(len(values) ** 0.5)
    np.testing.assert_allclose(pictures[0], values.reshape(n, n))
    np.testing.assert_allclose(pictures[2], pictures[1] - pictures[0])
    assert true.norm is predicted.norm
    assert isinstance(true.norm, PowerNorm)
    low, high = change.get_clim()
    assert low == -high
    # In true scale: a point of the picture lies where its coordinates say.
    side = chosen_plane(ROCKSALT).side
    step = side / (n - 1)
    assert true.get_extent() == pytest.approx([-(side + step) / 2, (side + step) / 2] * 2)
    assert all(ax.get_aspect() == 1 for ax in shown)
    assert [ax.get_ylabel() for ax in axes if "e/Å" in ax.get_ylabel()] == [
        r"$\rho$ (e/Å$^3$)",
        r"$\Delta\rho$ (e/Å$^3$)",
    ]
    (title,) = [sub.get_suptitle() for sub in figure.subfigs]
    assert "NMAE 1.23 %" in title
    assert "0.00 Å from the origin" in title


def test_names_of_files_are_shown_as_they_are():
    odd = a_pair(material_id="$\\frac$ " + "very long " * 20, formula="$x_")
    svg = render(slices([odd, a_pair()], labels=("$a", "b$")))
    assert svg.startswith(b"<?xml")
    assert len(odd.title) < 90


@pytest.mark.parametrize(
    ("predicted", "reason"),
    [
        (any_spectrum(replace(ROCKSALT, lattice=1.01 * FCC), 2), "expected that of the crystal"),
        (
            replace(
                any_spectrum(ROCKSALT, 2),
                coefficients=any_spectrum(ROCKSALT, 2).coefficients * np.complex64("nan"),
            ),
            "predicted density holds values that are not finite",
        ),
    ],
)
def test_densities_that_cannot_be_compared_are_refused(predicted, reason):
    with pytest.raises(DataError, match=reason):
        a_pair(predicted=predicted)
