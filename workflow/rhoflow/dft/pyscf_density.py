"""Fourier transforms of PySCF's densities: of molecules in a box, and of free atoms.

All electrons are in them, those of the cores too.
"""

from collections.abc import Sequence

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray
from pyscf import dft
from pyscf.gto.ft_ao import ft_aopair

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, half_sphere, reciprocal_lattice
from rhoflow.dft.pyscf import PySCFSpec
from rhoflow.dft.pyscf_scf import NotConvergedError, of_orbitals, solved_atom
from rhoflow.errors import EngineError
from rhoflow.molecule import Molecule

# Wave vectors at once: of 200 basis functions 40 MB.
_CHUNK = 128
# PySCF's level of an atom's grid, not thinned out: f(0) of H to Cl is right to 1e-13 electrons.
_ATOM_GRID = 5


def spectrum(
    molecule: Molecule,
    crystal: Crystal,
    spec: PySCFSpec,
    occupied: NDArray[np.floating],
    g_max: float,
) -> Spectrum:
    """The density of a molecule in a periodic box, transformed without a grid.

    s(g) = 1/V Σ_μν D_μν ∫ χ_μ(r) χ_ν(r) exp(-i g·r) dr, with D twice the projector on the occupied
    orbitals and the integral over all space: that of the images' sum over the box.

    Args:
        molecule: as it was computed.
        crystal: the same atoms in the same order and orientation, at some place of a cell.
        spec: the settings that it was computed with.
        occupied: (n_ao, n_occ) coefficients of the doubly occupied orbitals.
        g_max: radius, 1/Å.

    Raises:
        DataError: the orbitals are not of this molecule and basis.
    """
    mole, orbitals = of_orbitals(molecule, spec, occupied)
    hkl = half_sphere(crystal.lattice, g_max)
    g = hkl @ reciprocal_lattice(crystal.lattice)
    row, column = np.tril_indices(mole.nao)
    # A pair of different functions stands twice in the sum.
    pairs = np.where(row == column, 2.0, 4.0) * (orbitals @ orbitals.T)[row, column]
    values = np.empty(len(g), dtype=np.complex128)
    for begin in range(0, len(g), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        values[part] = ft_aopair(mole, g[part] * Bohr, aosym="s2") @ pairs
    moved = crystal.frac_coords[0] @ crystal.lattice - molecule.positions[0]
    values *= np.exp(-1j * (g @ moved)) / crystal.volume
    return Spectrum(crystal.lattice, molecule.n_atoms, hkl, values.astype(np.complex64), g_max)


def form_factors(
    elements: Sequence[str], spec: PySCFSpec, g: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Transforms of the densities of free atoms, those that energies of atoms belong to.

    Unrestricted, with Hund's number of unpaired electrons; an open shell is averaged over all
    directions by f(g) = ∫ ρ(r) sin(gr)/(gr) dr.

    Args:
        elements: chemical symbols.
        spec: the settings of the molecules.
        g: (n,) 1/Å.

    Returns:
        (elements, n) electrons.

    Raises:
        EngineError: an atom is not self-consistent.
        DataError: an element without functions.
    """
    return np.asarray([_form_factor(element, spec, g) for element in elements])


def _form_factor(element: str, spec: PySCFSpec, g: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) of one atom."""
    try:
        field = solved_atom(element, spec, None)
    except NotConvergedError as error:
        raise EngineError(
            f"engine pyscf: the free atom {element}: {error}; raise max_cycles"
        ) from error
    grid = dft.Grids(field.mol)
    grid.level, grid.prune = _ATOM_GRID, None
    grid.build()
    density = np.asarray(field.make_rdm1())
    if density.ndim == 3:  # a matrix for each spin
        density = density.sum(axis=0)
    functions = field.mol.eval_gto("GTOval_sph", grid.coords)  # (points, n_ao)
    weighted = grid.weights * ((functions @ density) * functions).sum(axis=1)
    radius = np.linalg.norm(grid.coords, axis=1)
    return np.asarray([weighted @ np.sinc(k * radius / np.pi) for k in g * Bohr])
