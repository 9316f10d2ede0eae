"""Invariances of R3DVS: translation, permutation, choice of cell; covariance under rotation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import kstest
from tests.conftest import CENTRES, CHARGES, LATTICE, WIDTHS, analytic_coefficients

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, friedel_half, half_sphere, reciprocal_lattice
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet, spots
from rhoflow.descriptors.voxels import SpotBatcher, random_rotations
from rhoflow.errors import DataError

PAPER = R3DVSSpec()
FORMS = [
    PAPER,
    R3DVSSpec(deposit="linear"),
    R3DVSSpec(value="squared", per="atom", deposit="linear"),
]


def spectrum_of(lattice, centres, charges=CHARGES, widths=WIDTHS, g_max=9.0) -> Spectrum:
    """Analytic spectrum of Gaussians in any cell."""
    reach = np.ceil(g_max * np.linalg.norm(lattice, axis=1) / (2 * np.pi)).astype(int)
    axes = [np.arange(-r, r + 1) for r in reach]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    hkl = hkl[friedel_half(hkl)]
    g = hkl @ reciprocal_lattice(lattice)
    hkl = hkl[np.linalg.norm(g, axis=1) <= g_max]
    values = analytic_coefficients(
        hkl @ reciprocal_lattice(lattice), lattice, centres, charges, widths
    )
    return Spectrum(lattice, len(centres), hkl.astype(np.int16), values.astype(np.complex64), g_max)


def voxels(spectrum: Spectrum, spec: R3DVSSpec, rotation: torch.Tensor | None = None):
    rotation = torch.eye(3) if rotation is None else rotation
    batcher = SpotBatcher(spots({"x": spectrum}, spec), spec, torch.device("cpu"))
    return batcher.voxels(torch.zeros(1, dtype=torch.long), rotation[None])[0, 0]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=2e-6 * float(a.max()))


@pytest.mark.parametrize("spec", FORMS)
def test_translation(spec):
    moved = spectrum_of(LATTICE, CENTRES + np.array([0.21, -0.37, 0.11]))
    assert same(voxels(spectrum_of(LATTICE, CENTRES), spec), voxels(moved, spec))


@pytest.mark.parametrize("spec", FORMS)
def test_permutation(spec):
    order = [2, 0, 1]
    other = spectrum_of(LATTICE, CENTRES[order], CHARGES[order], WIDTHS[order])
    assert same(voxels(spectrum_of(LATTICE, CENTRES), spec), voxels(other, spec))


@pytest.mark.parametrize("spec", FORMS)
def test_supercell(spec):
    lattice = LATTICE * np.array([[2.0], [1.0], [1.0]])
    centres = np.concatenate([CENTRES * [0.5, 1, 1], CENTRES * [0.5, 1, 1] + [0.5, 0, 0]])
    double = spectrum_of(lattice, centres, np.tile(CHARGES, 2), np.tile(WIDTHS, 2))
    assert same(voxels(spectrum_of(LATTICE, CENTRES), spec), voxels(double, spec))


@pytest.mark.parametrize("spec", FORMS)
def test_sheared_cell_of_the_same_lattice(spec):
    shear = np.array([[1, 2, 0], [0, 1, 0], [1, -1, 1]])
    lattice = shear @ LATTICE
    other = spectrum_of(lattice, CENTRES @ np.linalg.inv(shear))
    assert same(voxels(spectrum_of(LATTICE, CENTRES), spec), voxels(other, spec))


@pytest.mark.parametrize("spec", FORMS)
def test_a_rotated_crystal_gives_the_rotated_spots(spec):
    rotation = random_rotations(1, torch.Generator().manual_seed(3))[0]
    turned = spectrum_of(LATTICE @ rotation.double().numpy().T, CENTRES)
    reference = spectrum_of(LATTICE, CENTRES)
    a, b = voxels(turned, spec), voxels(reference, spec, rotation)
    if spec.deposit == "nearest":
        # Rounding may move a spot across a voxel face; the total never changes.
        assert float((a - b).abs().sum()) < 5e-3 * float(b.sum())
        assert float(a.sum()) == pytest.approx(float(b.sum()), rel=1e-5)
    else:
        assert torch.allclose(a, b, atol=1e-4 * float(b.max()))


def test_a_quarter_turn_permutes_voxels():
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    spec = R3DVSSpec(deposit="linear")
    spectrum = spectrum_of(LATTICE, CENTRES)
    straight, turned = voxels(spectrum, spec), voxels(spectrum, spec, quarter)
    # R maps (x, y) to (-y, x): the value at (x, y) moves to index (n - 1 - y, x).
    assert torch.allclose(turned, straight.flip(1).transpose(0, 1), atol=1e-6)


@pytest.mark.parametrize("deposit", ["nearest", "linear"])
def test_deposit_keeps_the_sum_of_amplitudes(deposit):
    spec = R3DVSSpec(deposit=deposit)
    data = spots({"x": spectrum_of(LATTICE, CENTRES)}, spec)
    origin = (data.g == 0).all(axis=1)
    total = 2 * data.amplitude[0, ~origin].sum() + data.amplitude[0, origin].sum()
    grid = voxels(spectrum_of(LATTICE, CENTRES), spec)
    assert float(grid.sum()) == pytest.approx(float(total), rel=1e-5)


def test_one_spot_falls_where_it_should():
    # |b*| = 2π/12.8; a spot at (3.2, 0.5, -1.5) voxel edges from the centre.
    spec = R3DVSSpec()
    pitch = spec.pitch
    assert spec.n_voxels == 32
    assert spec.g_cut == pytest.approx(7.854, abs=1e-3)
    assert pitch == pytest.approx(0.4909, abs=1e-4)
    g = np.array([[3.2, 0.5, -1.5]], np.float32) * pitch
    one = SpotSet(("x",), np.array([0, 1]), g, np.array([[0.5]], np.float32), np.array([10.0]))
    batcher = SpotBatcher(one, spec, torch.device("cpu"))
    grid = batcher.voxels(torch.zeros(1, dtype=torch.long), torch.eye(3)[None])[0, 0]
    assert float(grid[16 + 3, 16, 16 - 2]) == pytest.approx(0.5)
    assert float(grid[16 - 4, 16 - 1, 16 + 1]) == pytest.approx(0.5)
    assert int((grid != 0).sum()) == 2


def test_per_atom_and_squared_values():
    spectrum = spectrum_of(LATTICE, CENTRES)
    plain = spots({"x": spectrum}, PAPER)
    spec = R3DVSSpec(value="squared", per="atom")
    batcher = SpotBatcher(plain, spec, torch.device("cpu"))
    at_zero = (plain.g == 0).all(axis=1)
    expected = plain.amplitude[0] ** 2 * spectrum.volume / 3
    np.testing.assert_allclose(batcher.value.numpy()[0, ~at_zero], expected[~at_zero], rtol=1e-5)


@pytest.mark.parametrize("deposit", ["nearest", "linear"])
@pytest.mark.parametrize("half", [False, True])
def test_the_mean_density_is_left_out_where_it_is_not_asked_for(deposit, half):
    """What is missing is s(0), in the one or eight voxels at the origin, and nothing else."""
    spectrum, rotation = spectrum_of(LATTICE, CENTRES), random_rotations(1, torch.Generator())[0]
    with_it = R3DVSSpec(deposit=deposit, half=half, per="atom")
    without = with_it.model_copy(update={"origin": False})
    missing = voxels(spectrum, with_it, rotation) - voxels(spectrum, without, rotation)
    at_origin = ~spectrum.hkl.any(axis=1)
    mean = float(abs(spectrum.coefficients[at_origin][0])) * spectrum.volume / 3
    seen = 0.5 if half and deposit == "linear" else 1.0  # half of the eight voxels
    assert float(missing.sum()) == pytest.approx(seen * mean, rel=1e-4)
    reached = (missing > 1e-3 * mean).nonzero() + torch.tensor([16 if half else 0, 0, 0])
    assert ((reached == 15) | (reached == 16)).all()
    assert len(reached) == (1 if deposit == "nearest" else 8 * seen)
    assert R3DVSSpec().origin


@pytest.mark.parametrize("deposit", ["nearest", "linear"])
def test_half_of_the_cube_holds_everything(deposit):
    """The other half is its image under inversion, but for nearest g = 0, on a voxel's corner."""
    spectrum, rotation = spectrum_of(LATTICE, CENTRES), random_rotations(1, torch.Generator())[0]
    whole = voxels(spectrum, R3DVSSpec(deposit=deposit), rotation)
    half = voxels(spectrum, R3DVSSpec(deposit=deposit, half=True), rotation)
    assert half.shape == R3DVSSpec(half=True).grid_shape == (16, 32, 32)
    assert torch.equal(half, whole[16:])
    unlike = (half.flip((0, 1, 2)) - whole[:16]).abs() > 1e-5 * whole.max()
    assert int(unlike.sum()) == (1 if deposit == "nearest" else 0)
    with pytest.raises(ValidationError, match="an even number of voxels has halves"):
        R3DVSSpec(half=True, length_angstrom=13.2)


def test_the_potential_of_nuclei_is_a_sum_over_atoms():
    """Against the closed form of two Gaussians: 4π e² Z exp(-g²σ²/2) / (V g²) per nucleus."""
    crystal = Crystal("x", LATTICE, ("Mg", "O", "O"), CENTRES)
    spec = R3DVSSpec(channels=("density", "nuclei"))
    data = spots({"x": spectrum_of(LATTICE, CENTRES)}, spec, crystals=[crystal])
    assert data.amplitude.shape == (2, len(data.g))
    g = data.g.astype(float)
    squared = (g**2).sum(axis=1)
    structure = np.exp(-1j * (g @ (CENTRES @ LATTICE).T)) @ [12, 8, 8]
    away = squared > 0
    expected = 4 * np.pi * 14.399645 / crystal.volume / squared[away]
    expected = np.abs(expected * structure[away]) * np.exp(-squared[away] * 0.3**2 / 2)
    np.testing.assert_allclose(data.amplitude[1, away], expected, rtol=1e-4, atol=1e-5)
    assert data.amplitude[1, ~away] == 0


def test_a_second_field_is_laid_on_the_spots_of_the_first():
    spectrum = spectrum_of(LATTICE, CENTRES)
    order = np.random.default_rng(0).permutation(len(spectrum.hkl))
    other = replace(
        spectrum, hkl=spectrum.hkl[order], coefficients=3 * spectrum.coefficients[order]
    )
    spec = R3DVSSpec(channels=("density", "potential"))
    data = spots({"x": spectrum}, spec, potentials={"x": other})
    np.testing.assert_allclose(data.amplitude[1], 3 * data.amplitude[0], rtol=1e-6)
    batcher = SpotBatcher(data, spec, torch.device("cpu"))
    both = batcher.voxels(torch.zeros(1, dtype=torch.long), torch.eye(3)[None])
    assert both.shape == (1, 2, 32, 32, 32)
    assert torch.allclose(both[:, 1], 3 * both[:, 0], rtol=1e-5)
    short = replace(other, hkl=other.hkl[:50], coefficients=other.coefficients[:50])
    with pytest.raises(DataError, match="its local potential ends before its density"):
        spots({"x": spectrum}, spec, potentials={"x": short})
    with pytest.raises(DataError, match="'x' has a density but no local potential"):
        spots({"x": spectrum}, spec)


def test_batches_equal_single_structures():
    first, second = spectrum_of(LATTICE, CENTRES), spectrum_of(LATTICE * 1.1, CENTRES)
    spec = R3DVSSpec(deposit="linear")
    rotations = random_rotations(3, torch.Generator().manual_seed(0))
    data = spots({"a": first, "b": second}, spec)
    batch = SpotBatcher(data, spec, torch.device("cpu")).voxels(torch.tensor([1, 0, 1]), rotations)
    for got, spectrum, rotation in zip(batch, (second, first, second), rotations, strict=True):
        assert torch.allclose(got[0], voxels(spectrum, spec, rotation), atol=1e-7)
    taken = data.take([1, 0, 1])
    assert taken.ids == ("b", "a", "b")
    again = SpotBatcher(taken, spec, torch.device("cpu")).voxels(torch.arange(3), rotations)
    assert torch.equal(again, batch)


@pytest.mark.parametrize("g_max", [4.0, 7.85])
def test_a_spectrum_that_ends_before_g_cut_is_refused(g_max):
    short = spectrum_of(LATTICE, CENTRES, g_max=g_max)
    with pytest.raises(DataError, match=r"x: its spectrum ends at .* but 7\.854 1/Å are asked"):
        spots({"x": short}, PAPER)
    assert len(spots({"x": spectrum_of(LATTICE, CENTRES, g_max=PAPER.g_cut)}, PAPER).g)


@pytest.mark.parametrize("deposit", ["nearest", "linear"])
def test_spots_on_the_rim_stay_on_their_side(deposit):
    spec = R3DVSSpec(deposit=deposit)
    g = np.array([[spec.g_cut, 0.3, 0.3]], np.float32)
    one = SpotSet(("x",), np.array([0, 1]), g, np.array([[1.0]], np.float32), np.array([10.0]))
    batcher = SpotBatcher(one, spec, torch.device("cpu"))
    grid = batcher.voxels(torch.zeros(1, dtype=torch.long), torch.eye(3)[None])[0, 0]
    along = grid.sum(dim=(1, 2))
    assert float(along[-1]) == pytest.approx(1)
    assert float(along[0]) == pytest.approx(1)
    # The spot lies at positive y and z where x is positive, its partner opposite.
    upper, lower = grid[-1, 16:, 16:].sum(), grid[0, :16, :16].sum()
    assert float(upper) == pytest.approx(float(lower), abs=1e-6)
    assert float(upper) > 0.5


def test_spots_on_the_rim_are_kept():
    spec = R3DVSSpec()
    lattice = 2 * np.pi * 5 / spec.g_cut * np.eye(3)  # (500) and its star lie on the sphere
    hkl = half_sphere(lattice, 1.3 * spec.g_cut)
    spectrum = Spectrum(lattice, 1, hkl.astype(np.int16), np.ones(len(hkl), np.complex64))
    kept = spots({"x": spectrum}, spec)
    assert len(kept.g) == ((hkl**2).sum(axis=1) <= 25).sum()


def test_rotations_are_uniform_over_so3():
    r = random_rotations(20_000, torch.Generator().manual_seed(1)).double().numpy()
    np.testing.assert_allclose(
        r @ r.transpose(0, 2, 1), np.eye(3)[None].repeat(len(r), 0), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(r), 1, atol=1e-5)
    # Haar measure: the image of any axis is uniform on the sphere (its components uniform in
    # [-1, 1]), and the rotation angle has the density (1 - cos θ)/π.
    for i in range(3):
        for j in range(3):
            assert kstest(r[:, i, j], "uniform", args=(-1, 2)).pvalue > 1e-3
    angle = np.arccos(np.clip((np.trace(r, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert kstest(angle, lambda t: (t - np.sin(t)) / np.pi).pvalue > 1e-3
