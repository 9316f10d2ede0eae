"""Images of densities: closed forms, choice of cell, shifts, rotations, and the band limit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import kstest
from tests.conftest import CENTRES, CHARGES, LATTICE, WIDTHS
from tests.physics.test_r3dvs import spectrum_of

from rhoflow import io
from rhoflow.density.cells import in_axes, niggli_axes
from rhoflow.density.spectrum import Spectrum, evaluate, truncate
from rhoflow.descriptors.image import ImageSet, ImageSpec, images
from rhoflow.descriptors.resample import ImageBatcher, random_poses
from rhoflow.descriptors.voxels import random_rotations
from rhoflow.errors import DataError

CELL = ImageSpec(edge=24)
BOX = ImageSpec(frame="box", edge=12, length_angstrom=3.0)
FRAMES = [CELL, BOX]
G_MAX = 14.0
SHEAR = np.array([[1, 2, 0], [0, 1, 0], [1, -1, 1]])
STORED = torch.eye(3, 4)


def pose(origin=(0.0, 0.0, 0.0), rotation: torch.Tensor | None = None) -> torch.Tensor:
    turned = torch.eye(3) if rotation is None else rotation
    return torch.cat([turned, torch.tensor(origin, dtype=torch.float32)[:, None]], dim=1)


def image(spectrum: Spectrum, spec: ImageSpec, shown: torch.Tensor = STORED) -> np.ndarray:
    """(n, n, n) of the density."""
    batcher = ImageBatcher(images({"x": spectrum}, spec), spec, torch.device("cpu"))
    return batcher.voxels(torch.zeros(1, dtype=torch.long), shown[None])[0, 0].numpy()


def crystal(**changes) -> Spectrum:
    return spectrum_of(**{"lattice": LATTICE, "centres": CENTRES, "g_max": G_MAX, **changes})


def density_at(points: np.ndarray) -> np.ndarray:
    """(…,) e/Å³ of the Gaussians and their periodic images at points (…, 3), Å."""
    span = np.arange(-6, 7)
    cells = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    value = np.zeros(points.shape[:-1])
    for centre, charge, width in zip(CENTRES, CHARGES, WIDTHS, strict=True):
        for at in (centre + cells) @ LATTICE:
            d2 = ((points - at) ** 2).sum(axis=-1)
            if d2.min() < (9 * width) ** 2:
                value += charge * np.exp(-0.5 * d2 / width**2) / (2 * np.pi * width**2) ** 1.5
    return value


def mesh(axis: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(a, b, atol=2e-5 * np.abs(a).max())


# Closed forms ------------------------------------------------------------------------------


@pytest.mark.parametrize("lattice", [LATTICE, SHEAR @ LATTICE, LATTICE[[1, 0, 2]]])
def test_a_cell_image_is_the_density_at_fractions_of_the_niggli_cell(lattice):
    centres = CENTRES @ LATTICE @ np.linalg.inv(lattice)
    spectrum = crystal(lattice=lattice, centres=centres)
    (axes,) = images({"x": spectrum}, CELL).lattices
    lengths = np.linalg.norm(axes, axis=1)
    assert (np.diff(lengths) >= 0).all()
    assert np.linalg.det(axes) == pytest.approx(abs(np.linalg.det(LATTICE)))
    exact = density_at(mesh(np.arange(24) / 24) @ axes)
    np.testing.assert_allclose(image(spectrum, CELL), exact, atol=1e-5 * exact.max())


@pytest.mark.parametrize("edge", [12, 13])
def test_a_box_image_is_the_density_in_true_scale(edge):
    """In any pose (R, f) the point x shows the density at Rᵀx + f·A."""
    spec = BOX.model_copy(update={"edge": edge, "length_angstrom": 0.25 * edge})
    rotation = random_rotations(1, torch.Generator().manual_seed(2))[0]
    origin = np.array([0.3, -0.2, 0.45])
    points = mesh((np.arange(edge) - (edge - 1) / 2) * 0.25)
    seen = points @ rotation.double().numpy() + origin @ LATTICE
    for shown, at in ((STORED, points), (pose(origin, rotation), seen)):
        exact = density_at(at)
        np.testing.assert_allclose(image(crystal(), spec, shown), exact, atol=2e-5 * exact.max())


@pytest.mark.parametrize("spec", [ImageSpec(), ImageSpec(frame="box", edge=20, length_angstrom=9)])
def test_a_real_density_against_its_sum_of_waves(spec):
    """GPAW's, of the shipped oxides: nothing is smooth or symmetric by construction."""
    spectra = io.read_spectra("resources/oxides/0001.density.npz")
    name, spectrum = max(spectra.items(), key=lambda item: item[1].volume)
    data, rng = images(spectra, spec), np.random.default_rng(0)
    batcher = ImageBatcher(data, spec, torch.device("cpu"))
    where = data.ids.index(name)
    got = batcher.voxels(torch.tensor([where]), STORED[None])[0, 0].numpy()
    cells = rng.integers(0, spec.edge, size=(200, 3))
    if spec.frame == "cell":
        kept = data.take([where])
        held = Spectrum(kept.lattices[0], 1, kept.hkl, kept.coefficients[0])
        points = cells / spec.edge @ kept.lattices[0]
    else:
        held = truncate(spectrum, spec.g_needed)
        points = (cells - (spec.edge - 1) / 2) * spec.length_angstrom / spec.edge
    exact = evaluate(held, points)
    np.testing.assert_allclose(got[tuple(cells.T)], exact, atol=1e-5 * np.abs(exact).max())


# Choice of cell, shifts, rotations ----------------------------------------------------------


@pytest.mark.parametrize("spec", FRAMES)
def test_a_sheared_cell_of_the_same_lattice(spec):
    lattice = SHEAR @ LATTICE
    other = crystal(lattice=lattice, centres=CENTRES @ np.linalg.inv(SHEAR))
    assert same(image(crystal(), spec), image(other, spec))


@pytest.mark.parametrize(
    "shown", [STORED, pose(rotation=random_rotations(1, torch.Generator())[0])]
)
def test_a_supercell_looks_the_same_in_a_box(shown):
    lattice = LATTICE * np.array([[2.0], [1.0], [1.0]])
    centres = np.concatenate([CENTRES * [0.5, 1, 1], CENTRES * [0.5, 1, 1] + [0.5, 0, 0]])
    double = crystal(
        lattice=lattice, centres=centres, charges=np.tile(CHARGES, 2), widths=np.tile(WIDTHS, 2)
    )
    assert same(image(crystal(), BOX, shown), image(double, BOX, shown))


@pytest.mark.parametrize("spec", FRAMES)
def test_a_moved_crystal_is_seen_from_the_opposite_origin(spec):
    """Origins are fractions of the axes that indices refer to: in a cell those of Niggli's."""
    shift = np.array([0.21, -0.37, 0.11])
    moved = crystal(centres=CENTRES + shift)
    (axes,) = images({"x": moved}, spec).lattices
    origin = -shift @ LATTICE @ np.linalg.inv(axes)
    assert same(image(moved, spec), image(crystal(), spec, pose(origin)))
    assert not same(image(moved, spec), image(crystal(), spec))


def test_an_origin_one_voxel_on_rolls_the_image_of_a_cell():
    rolled = np.roll(image(crystal(), CELL), (-1, 2), axis=(0, 2))
    assert same(rolled, image(crystal(), CELL, pose((1 / 24, 0, -2 / 24))))


def test_a_rotated_crystal_is_the_rotated_pose_in_a_box():
    rotation = random_rotations(1, torch.Generator().manual_seed(3))[0]
    turned = crystal(lattice=LATTICE @ rotation.double().numpy().T)
    assert same(image(turned, BOX), image(crystal(), BOX, pose(rotation=rotation)))
    assert not same(image(turned, BOX), image(crystal(), BOX))


def test_a_cell_turns_with_its_axes():
    rotation = random_rotations(1, torch.Generator().manual_seed(3))[0]
    turned = crystal(lattice=LATTICE @ rotation.double().numpy().T)
    assert same(image(turned, CELL), image(crystal(), CELL))
    assert same(image(crystal(), CELL, pose(rotation=rotation)), image(crystal(), CELL))


def test_poses_are_uniform_or_as_stored():
    box = random_poses(BOX, 4000, torch.Generator().manual_seed(0)).numpy()
    cell = random_poses(CELL, 4000, torch.Generator().manual_seed(0)).numpy()
    for axis in range(3):
        assert kstest(box[:, axis, 3], "uniform").pvalue > 1e-3
        assert kstest(cell[:, axis, 3], "uniform").pvalue > 1e-3
        assert kstest(box[:, axis, 0], "uniform", args=(-1, 2)).pvalue > 1e-3
    assert (cell[:, :, :3] == np.eye(3)).all()
    given = random_poses(BOX.model_copy(update={"poses": "given"}), 5, torch.Generator())
    assert torch.equal(given, STORED.expand(5, 3, 4))


# The band limit ----------------------------------------------------------------------------


def wave(hkl: tuple[int, int, int], value: complex) -> Spectrum:
    """A mean density of 0.5 e/Å³ and one wave in a cube of 4 Å."""
    indices = np.array([(0, 0, 0), hkl], dtype=np.int16)
    return Spectrum(4 * np.eye(3), 1, indices, np.array([0.5, value], np.complex64))


@pytest.mark.parametrize("edge", [8, 9])
def test_a_grid_shows_what_it_holds_and_folds_nothing_back(edge):
    """Index (n - 1)/2 is held; n/2 of even grids has no sign, and beyond it lies aliasing."""
    spec = CELL.model_copy(update={"edge": edge})
    last = (edge - 1) // 2
    x = np.arange(edge) / edge
    held = image(wave((-last, 0, 1), 0.1j), spec)
    exact = 0.5 + 0.2 * np.real(1j * np.exp(2j * np.pi * (x[None] - last * x[:, None])))
    np.testing.assert_allclose(held, np.broadcast_to(exact[:, None], held.shape), atol=1e-6)
    for beyond in ((last + 1, 0, 1), (0, last + 1, 0), (1, 0, 2 * edge - 1), (edge, edge, 0)):
        np.testing.assert_allclose(image(wave(beyond, 0.1), spec), 0.5, atol=1e-6)


def test_the_transform_of_a_coarse_image_is_the_spectrum_below_nyquist():
    spec = CELL.model_copy(update={"edge": 6})
    found = np.fft.fftn(image(crystal(), spec), norm="forward")
    data = images({"x": crystal()}, spec)
    assert np.abs(data.hkl).max() == 2
    assert len(data.hkl) == (5**3 + 1) // 2
    np.testing.assert_allclose(found[tuple(data.hkl.T)], data.coefficients[0], atol=1e-6)


def test_a_short_spectrum_is_shown_exactly_on_a_fine_cell_grid():
    """Zeros beyond its end: the values of the smooth density that the coefficients are."""
    spectrum = crystal(g_max=4.0)
    data = images({"x": spectrum}, CELL)
    assert len(data.hkl) == len(spectrum.hkl)
    exact = evaluate(spectrum, (mesh(np.arange(24) / 24) @ data.lattices[0]).reshape(-1, 3))
    assert same(image(spectrum, CELL).ravel(), exact)


def test_what_a_box_takes_does_not_depend_on_its_pose():
    assert pytest.approx(np.pi / 0.25) == BOX.g_needed
    assert pytest.approx(7.854, abs=1e-3) == ImageSpec(frame="box").g_needed
    assert CELL.g_needed == 0
    data = images({"x": crystal()}, BOX)
    g = np.linalg.norm(data.hkl @ np.linalg.inv(LATTICE).T * 2 * np.pi, axis=1)
    assert BOX.g_needed - 1 < g.max() <= BOX.g_needed


# Sets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", FRAMES)
def test_batches_equal_single_structures(spec):
    first, second = crystal(), crystal(lattice=LATTICE * 1.1)
    poses = random_poses(spec, 3, torch.Generator().manual_seed(0))
    data = images({"a": first, "b": second}, spec)
    batch = ImageBatcher(data, spec, torch.device("cpu")).voxels(torch.tensor([1, 0, 1]), poses)
    assert batch.shape == (3, 1, *spec.grid_shape)
    for got, spectrum, shown in zip(batch, (second, first, second), poses, strict=True):
        np.testing.assert_allclose(got[0], image(spectrum, spec, shown), atol=1e-5)
    taken = data.take([1, 0, 1])
    assert taken.ids == ("b", "a", "b")
    again = ImageBatcher(taken, spec, torch.device("cpu")).voxels(torch.arange(3), poses)
    assert torch.equal(again, batch)
    assert data.take([0, 1]).fingerprint() == data.fingerprint() != taken.fingerprint()


@pytest.mark.parametrize("spec", FRAMES)
def test_a_second_field_is_another_channel(spec):
    spectrum = crystal()
    order = np.random.default_rng(0).permutation(len(spectrum.hkl))
    other = replace(
        spectrum, hkl=spectrum.hkl[order], coefficients=-3 * spectrum.coefficients[order]
    )
    both = spec.model_copy(update={"channels": ("potential", "density")})
    data = images({"x": spectrum}, both, potentials={"x": other})
    poses = random_poses(both, 1, torch.Generator())
    got = ImageBatcher(data, both, torch.device("cpu")).voxels(torch.tensor([0]), poses)[0]
    np.testing.assert_allclose(got[0], -3 * got[1], atol=1e-4)
    assert same(got[1].numpy(), image(spectrum, spec, poses[0]))
    with pytest.raises(DataError, match="'x' has a density but no local potential"):
        images({"x": spectrum}, both)
    with pytest.raises(ValidationError, match="at most once"):
        ImageSpec(channels=("density", "density"))


@pytest.mark.parametrize("spec", FRAMES)
def test_shards_of_images_come_back_joined(tmp_path, spec):
    parts = [images({}, spec), images({"a": crystal()}, spec), images({"b": crystal()}, spec)]
    paths = [tmp_path / f"{i}.npz" for i in range(3)]
    for path, part in zip(paths, parts, strict=True):
        io.write_images(path, part, spec=spec.model_dump(mode="json"))
    joined = io.read_descriptors(paths)
    assert isinstance(joined, ImageSet)
    assert joined.ids == ("a", "b")
    assert joined.fingerprint() == images({"a": crystal(), "b": crystal()}, spec).fingerprint()
    other = spec.model_copy(update={"edge": 16}).model_dump(mode="json")
    io.write_images(paths[2], parts[2], spec=other)
    with pytest.raises(DataError, match="made with other settings"):
        io.read_images(paths)


# Refusals ----------------------------------------------------------------------------------


def test_a_spectrum_that_ends_before_what_a_box_shows_is_refused():
    with pytest.raises(DataError, match=r"x: its spectrum ends at .* 4\.000 .* but 12\.566 1/Å"):
        images({"x": crystal(g_max=4.0)}, BOX)
    assert len(images({"x": crystal(g_max=BOX.g_needed)}, BOX).hkl)


@pytest.mark.parametrize("spec", FRAMES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(spec, wrong):
    spectrum = crystal()
    values = spectrum.coefficients.copy()
    values[7] = wrong
    broken = replace(spectrum, coefficients=values)
    message = "x: its density holds Fourier coefficients that are not finite, expected finite"
    with pytest.raises(DataError, match=message):
        images({"x": broken}, spec)
    both = spec.model_copy(update={"channels": ("density", "potential")})
    with pytest.raises(DataError, match="x: its potential holds"):
        images({"x": spectrum}, both, potentials={"x": broken})


# Cells -------------------------------------------------------------------------------------


def test_a_niggli_cell_is_right_handed_whatever_the_axes_were():
    reduced = [niggli_axes(lattice) @ lattice for lattice in (LATTICE, -LATTICE, SHEAR @ LATTICE)]
    for lattice in reduced:
        assert np.linalg.det(lattice) > 0
        np.testing.assert_allclose(lattice @ lattice.T, reduced[0] @ reduced[0].T, atol=1e-9)
    with pytest.raises(DataError, match="degenerate"):
        niggli_axes(np.zeros((3, 3)))


def test_a_density_in_other_axes_is_the_same_density():
    spectrum, points = crystal(g_max=6.0), np.random.default_rng(0).uniform(-5, 5, size=(20, 3))
    hkl, values = in_axes(spectrum.hkl, spectrum.coefficients, SHEAR)
    other = Spectrum(SHEAR @ LATTICE, 3, hkl, values)
    np.testing.assert_allclose(evaluate(other, points), evaluate(spectrum, points), rtol=1e-6)
