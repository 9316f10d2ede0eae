"""Densities as CHGCAR and cube files that other programs open."""

import io
from dataclasses import replace

import numpy as np
import pytest
from ase.io.cube import read_cube
from ase.units import Bohr
from pymatgen.io.vasp import Chgcar

from rhoflow.crystal import Crystal
from rhoflow.density.export import COMMENT, grid_shape, to_chgcar, to_cube
from rhoflow.density.spectrum import evaluate, from_grid, truncate
from rhoflow.errors import DataError
from rhoflow.vasp.volumetric import read_volumetric

# An element twice, so that the order of the atoms counts.
SYMBOLS = ("O", "Ti", "O")


@pytest.fixture
def crystal(gaussians) -> Crystal:
    lattice, centres, _, _ = gaussians
    return Crystal("three", lattice, SYMBOLS, centres)


@pytest.fixture
def spectrum(gaussian_spectrum):
    return truncate(gaussian_spectrum, 6.0)


def points(shape: tuple[int, int, int], lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n, 3) and places (n, 3) in Å of some grid points, among them one on each axis."""
    indices = np.array([[0, 0, 0], [3, 0, 0], [0, 5, 0], [0, 0, 7], [4, 2, 9]])
    return indices, indices / np.array(shape) @ lattice


def test_chgcar_read_by_pymatgen(crystal, spectrum, tmp_path):
    written = to_chgcar(crystal, spectrum)
    (tmp_path / "CHGCAR").write_text(written.text)
    read = Chgcar.from_file(tmp_path / "CHGCAR")
    assert written.text.splitlines()[0] == COMMENT
    assert read.structure.lattice.matrix == pytest.approx(crystal.lattice, abs=1e-12)
    assert [s.specie.symbol for s in read.structure] == list(SYMBOLS)
    assert read.structure.frac_coords == pytest.approx(crystal.frac_coords, abs=1e-12)
    assert read.data["total"].mean() == pytest.approx(spectrum.n_electrons, abs=1e-6)
    indices, places = points(written.shape, crystal.lattice)
    values = read.data["total"][tuple(indices.T)] / crystal.volume
    assert values == pytest.approx(evaluate(spectrum, places), rel=1e-6, abs=1e-9)
    assert len(written.text.splitlines()[-2].split()) == 5


def test_chgcar_read_by_ourselves_is_the_same_spectrum(crystal, spectrum, tmp_path):
    written = to_chgcar(crystal, spectrum)
    (tmp_path / "CHGCAR").write_text(written.text)
    file = read_volumetric(tmp_path / "CHGCAR")
    read = file.header.crystal("three")
    assert read.symbols == SYMBOLS
    assert len(file.blocks) == 1
    density = file.blocks[0] / read.volume
    # The grid of its own choice resolves what the spectrum knows.
    again = from_grid(density, read.lattice, read.n_atoms, spectrum.g_max)
    assert (again.hkl == spectrum.hkl).all()
    assert again.coefficients == pytest.approx(spectrum.coefficients, rel=1e-5, abs=1e-8)


def test_cube_read_by_ase(crystal, spectrum):
    written = to_cube(crystal, spectrum)
    read = read_cube(io.StringIO(written.text))
    atoms = read["atoms"]
    assert tuple(atoms.symbols) == SYMBOLS
    assert atoms.cell.array == pytest.approx(crystal.lattice, abs=1e-4)
    assert atoms.positions == pytest.approx(crystal.frac_coords @ crystal.lattice, abs=1e-5)
    assert read["origin"] == pytest.approx(np.zeros(3), abs=1e-6)
    density = np.asarray(read["data"]) / Bohr**3
    electrons = density.mean() * crystal.volume
    assert electrons == pytest.approx(spectrum.n_electrons, rel=1e-5)
    indices, places = points(written.shape, crystal.lattice)
    expected = evaluate(spectrum, places)
    assert density[tuple(indices.T)] == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert "values at points" in written.text.splitlines()[1]


def test_a_spectrum_without_a_radius_and_a_finer_grid(crystal, spectrum):
    listed = replace(spectrum, g_max=float("inf"))
    assert min(grid_shape(listed)) > 2 * 3
    assert to_chgcar(crystal, listed, (40, 40, 48)).shape == (40, 40, 48)


def test_negative_densities_are_counted(crystal, spectrum):
    moved = np.where(spectrum.hkl.any(axis=1), 0, 20).astype(np.complex64)
    above = replace(spectrum, coefficients=spectrum.coefficients + moved)
    below = replace(spectrum, coefficients=spectrum.coefficients - moved)
    for write in (to_chgcar, to_cube):
        assert write(crystal, above).n_negative == 0
        lowered = write(crystal, below)
        n1, n2, n3 = lowered.shape
        assert lowered.n_negative == n1 * n2 * n3


def test_what_cannot_be_written_is_refused(crystal, spectrum):
    broken = spectrum.coefficients.copy()
    broken[3] = np.nan
    with pytest.raises(DataError, match=r"three: 1 of \d+ coefficients .* not finite"):
        to_chgcar(crystal, replace(spectrum, coefficients=broken))
    with pytest.raises(DataError, match="another lattice"):
        to_cube(crystal, replace(spectrum, lattice=1.1 * spectrum.lattice))
    with pytest.raises(DataError, match="too coarse"):
        to_chgcar(crystal, spectrum, (4, 4, 4))
