"""Fourier transforms of PySCF's densities: of molecules in a box, and of free atoms.

All electrons are in those of molecules. Free atoms come in two parts: the orbitals of the core,
which are so narrow that no grid in space holds their waves, and the valence electrons.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray
from pyscf import dft
from pyscf.data.elements import charge, chemcore_atm
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


def core_electrons(symbols: Sequence[str]) -> int:
    """Electrons in the cores of some atoms: 2 an atom from boron to neon, none of hydrogen."""
    return 2 * sum(chemcore_atm[charge(symbol)] for symbol in symbols)


def form_factors(
    elements: Sequence[str], spec: PySCFSpec, g: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Transforms of the densities of free atoms, those that energies of atoms belong to.

    Unrestricted, with Hund's number of unpaired electrons; an open shell is averaged over all
    directions by f(g) = ∫ ρ(r) sin(gr)/(gr) dr. The core is that of PySCF's frozen cores.

    Args:
        elements: chemical symbols.
        spec: the settings of the molecules.
        g: (n,) 1/Å.

    Returns:
        (elements, 2, n) electrons: those of the valence, those of the core.

    Raises:
        EngineError: an atom is not self-consistent.
        DataError: an element without functions.
    """
    found = [_form_factors(element, spec, g) for element in elements]
    return np.asarray(found).reshape(len(elements), 2, len(g))


def _form_factors(element: str, spec: PySCFSpec, g: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, n) of one atom."""
    try:
        field = solved_atom(element, spec, None)
    except NotConvergedError as error:
        raise EngineError(
            f"engine pyscf: the free atom {element}: {error}; raise max_cycles"
        ) from error
    grid = dft.Grids(field.mol)
    grid.level, grid.prune = _ATOM_GRID, None
    grid.build()
    functions = field.mol.eval_gto("GTOval_sph", grid.coords)  # (points, n_ao)
    n_core = core_electrons([element]) // 2
    both = np.zeros((2, len(grid.weights)))
    # A set of orbitals for each spin, or one for both.
    for orbitals, occupation in _by_spin(field):
        squares = occupation * (functions @ orbitals) ** 2  # lowest level first
        both += [squares[:, n_core:].sum(axis=1), squares[:, :n_core].sum(axis=1)]
    radius = np.linalg.norm(grid.coords, axis=1)
    return np.stack([(grid.weights * both) @ np.sinc(k * radius / np.pi) for k in g * Bohr], axis=1)


def _by_spin(field: Any) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Coefficients (n_ao, n) and occupations (n,) of each set of orbitals."""
    orbitals, occupations = np.asarray(field.mo_coeff), np.asarray(field.mo_occ)
    if occupations.ndim == 1:
        return [(orbitals, occupations)]
    return list(zip(orbitals, occupations, strict=True))
