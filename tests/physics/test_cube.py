"""The cube file of a computed density has all electrons, though its grid is coarse."""

import io

import numpy as np
import pytest
from ase.io.cube import read_cube
from ase.units import Bohr

from rhoflow.density.cube import density_cube, grid_around, to_text
from rhoflow.molecule import Molecule

WATER = Molecule(
    "water",
    ("O", "H", "H"),
    np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]]),
)


@pytest.fixture(scope="module")
def orbitals():
    """(points) -> (points, 5) occupied orbitals of water, Å^-3/2, by Hartree-Fock in 6-31G(d)."""
    from pyscf import gto, scf

    atoms = list(zip(WATER.symbols, WATER.positions, strict=True))
    molecule = gto.M(atom=atoms, basis="6-31g(d)", verbose=0)
    solved = scf.RHF(molecule).run()
    return lambda points: (
        molecule.eval_gto("GTOval", points / Bohr) @ solved.mo_coeff[:, :5] / Bohr**1.5
    )


@pytest.mark.dft
@pytest.mark.parametrize(("first", "electrons"), [(0, 10), (1, 8)], ids=["all", "valence"])
@pytest.mark.parametrize("spacing", [0.2, 0.3])
def test_water_has_its_electrons(orbitals, first, electrons, spacing):
    grid = grid_around(WATER, spacing=spacing)
    cube = density_cube(WATER, lambda p: 2 * (orbitals(p)[:, first:] ** 2).sum(axis=1), grid)
    content = read_cube(io.StringIO(to_text(cube, "water")))
    volume = abs(np.linalg.det(content["spacing"])) / Bohr**3
    assert content["data"].sum() * volume == pytest.approx(electrons, abs=2e-3)
    # The points of the same grid miss the core, so this holds by the means alone.
    points = 2 * (orbitals(grid.points())[:, first:] ** 2).sum() * grid.voxel_volume
    assert abs(points - electrons) > (0.5 if first == 0 else 0.01)
