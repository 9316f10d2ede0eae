"""Cube files and means over voxels, for densities whose integrals are known."""

import io

import numpy as np
import pytest
from ase.data import atomic_numbers
from ase.io.cube import read_cube
from ase.units import Bohr

from rhoflow.density.cube import (
    Cube,
    Grid,
    density_cube,
    from_text,
    grid_around,
    to_text,
    voxel_means,
)
from rhoflow.errors import DataError
from rhoflow.molecule import Molecule

HCN = Molecule(
    "hcn", ("H", "C", "N"), np.array([[0.3, 0.1, -1.2], [0.3, 0.1, -0.1], [0.3, 0.1, 1]])
)
WIDTH = 0.35


def gaussians(points: np.ndarray) -> np.ndarray:
    """As many electrons as protons in a Gaussian around every nucleus, e/Å³."""
    d2 = ((points[:, None] - HCN.positions) ** 2).sum(axis=2)
    return np.exp(-0.5 * d2 / WIDTH**2) @ HCN.numbers / (2 * np.pi * WIDTH**2) ** 1.5


@pytest.fixture(scope="module")
def cube() -> Cube:
    return density_cube(HCN, gaussians, grid_around(HCN))


def test_the_box_holds_the_molecule_with_its_margin():
    grid = grid_around(HCN, spacing=0.25, margin=2.0)
    low, high = grid.points().min(axis=0) - 0.125, grid.points().max(axis=0) + 0.125
    assert (low <= HCN.positions.min(axis=0) - 2 + 1e-9).all()
    assert (high >= HCN.positions.max(axis=0) + 2 - 1e-9).all()
    np.testing.assert_allclose((low + high) / 2, [0.3, 0.1, -0.1])
    assert grid.shape == (16, 16, 25)
    assert grid.voxel_volume == pytest.approx(0.25**3)
    np.testing.assert_allclose(grid.points()[:2, 2] @ [-1, 1], 0.25)


def test_gaussians_have_their_electrons(cube):
    assert HCN.n_electrons == 14
    assert cube.n_electrons == pytest.approx(14, abs=1e-3)


@pytest.mark.parametrize("edge", [1.0, 0.3])
def test_means_of_a_sharp_density_add_up_to_its_charge(edge):
    """Q a³/8π exp(-a r), which decays within 0.04 Å: points of the grid miss it altogether."""
    a, charge = 25.0, 2.0
    nucleus = np.array([[0.11, -0.07, 0.05]])

    def shell(points):
        r = np.linalg.norm(points - nucleus, axis=1)
        return charge * a**3 / (8 * np.pi) * np.exp(-a * r)

    n = round(3 / edge)
    grid = Grid(np.full(3, -edge * (n - 1) / 2), edge * np.eye(3), (n, n, n))
    means = voxel_means(shell, grid, nucleus)
    assert means.sum() * grid.voxel_volume == pytest.approx(charge, abs=2e-3)
    assert abs(shell(grid.points()).sum() * grid.voxel_volume - charge) > 0.3


def test_means_over_slanted_voxels_are_exact_for_polynomials():
    steps = np.array([[0.5, 0.1, 0.0], [0.0, 0.4, 0.2], [-0.1, 0.0, 0.6]])
    grid = Grid(np.array([1.0, 2.0, 3.0]), steps, (2, 3, 4))
    means = voxel_means(lambda p: p[:, 0] ** 2 + 3 * p[:, 1], grid, np.array([[1.2, 2.1, 3.3]]))
    centre = grid.points().reshape(2, 3, 4, 3)
    # The variance of x over a voxel is the sum of its edges' shares, squared, over 12.
    expected = centre[..., 0] ** 2 + (steps[:, 0] ** 2).sum() / 12 + 3 * centre[..., 1]
    np.testing.assert_allclose(means, expected, rtol=1e-12)


def test_ase_reads_the_atoms_and_the_number_of_electrons(cube):
    text = to_text(cube, "HCN,\nGaussians")
    content = read_cube(io.StringIO(text))
    volume = abs(np.linalg.det(content["spacing"])) / Bohr**3
    assert content["data"].sum() * volume == pytest.approx(14, abs=1e-3)
    assert content["data"].shape == cube.grid.shape
    np.testing.assert_allclose(content["atoms"].positions, HCN.positions, atol=1e-6)
    assert content["atoms"].get_chemical_symbols() == ["H", "C", "N"]
    np.testing.assert_allclose(content["origin"], cube.grid.origin, atol=1e-6)
    first, second, *_ = text.splitlines()
    assert first == "HCN, Gaussians"
    assert f"integral {cube.n_electrons:.6f} e" in second


def test_lines_are_as_gaussian_writes_them(cube):
    lines = to_text(cube, "t").splitlines()
    assert lines[6].split()[:2] == ["1", "1.000000"]
    assert lines[8].split()[:2] == [str(atomic_numbers["N"]), "7.000000"]
    n = cube.grid.shape[2]
    row = lines[9 : 9 + -(-n // 6)]
    assert [len(line) for line in row] == [13 * 6] * (n // 6) + [13 * (n % 6)] * (n % 6 > 0)
    tiny = Cube(HCN, cube.grid, np.full(cube.grid.shape, -1e-150))
    assert (from_text(to_text(tiny, "t"), "t").values == 0).all()


def test_what_is_written_is_read_back(cube):
    found = from_text(to_text(cube, "t"), "hcn")
    np.testing.assert_allclose(found.values, cube.values, rtol=1e-5)
    np.testing.assert_allclose(found.grid.points(), cube.grid.points(), atol=1e-4)
    np.testing.assert_allclose(found.molecule.positions, HCN.positions, atol=1e-6)
    assert found.molecule.symbols == HCN.symbols
    assert found.n_electrons == pytest.approx(14, abs=1e-3)


def changed(text: str, line: int, content: str) -> str:
    lines = text.splitlines()
    lines[line] = content
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("line", "content", "message"),
    [
        (2, "-3 0 0 0", "several fields"),
        (2, "3 0 0 0 2", "several fields"),
        (2, "99999999999 0 0 0", "of 99999999999 atoms"),
        (2, "3 0 0", "expected 4 numbers"),
        (2, "", "expected 4 numbers"),
        (3, "999999999 0.1 0 0", "values of"),
        (3, "-33 0.1 0 0", "another unit"),
        (4, "33 0 inf 0", "expected 4 numbers"),
        (6, "119 0 0 0 0", "atomic number 119"),
        (6, "one 0 0 0 0", "invalid literal"),
        (9, "nan 1 1 1 1 1", "no numbers"),
        (9, "********", "could not convert"),
        (-1, "", "values of"),
    ],
)
def test_files_that_are_no_densities_are_refused(cube, line, content, message):
    with pytest.raises(DataError, match=rf"broken\.cube: is no whole cube file.*{message}"):
        from_text(changed(to_text(cube, "t"), line, content), "broken.cube")


def test_a_file_that_is_cut_off_is_refused(cube):
    text = to_text(cube, "t")
    for length in (0, 10, 200, 330, len(text) // 2):
        with pytest.raises(DataError, match="no whole cube file"):
            from_text(text[:length], "cut.cube")
