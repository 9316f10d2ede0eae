"""What touches PySCF: the calculation of a molecule, of an atom, and densities on points."""

from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase.data import chemical_symbols, ground_state_magnetic_moments
from ase.units import Bohr, Ha
from numpy.typing import NDArray
from pyscf import dft, gto, lib

from rhoflow.dft.base import MoleculeResult
from rhoflow.dft.pyscf import PySCFSpec
from rhoflow.dft.pyscf_xc import KeptFunctions
from rhoflow.errors import DataError
from rhoflow.molecule import Molecule

# No two nuclei come nearer in any molecule (H2: 0.74 Å); PySCF itself would go on.
CLOSEST_ANGSTROM = 0.4
FIELD_AU = 0.002
_CHUNK = 4096
# PySCF's level of printing that tells every iteration.
_VERBOSE = 4


class NotConvergedError(Exception):
    """The iterations ended before the energy was self-consistent."""


def run(molecule: Molecule, spec: PySCFSpec, log_path: Path) -> MoleculeResult:
    """One restricted calculation.

    Raises:
        NotConvergedError: not self-consistent after ``spec.max_cycles``.
        DataError: overlapping atoms, an odd number of electrons, an element without functions.
    """
    _check(molecule)
    with log_path.open("w", encoding="utf-8") as log:
        field = _mean_field(_gaussians(molecule, spec, log), spec)
        energy = _solve(field, spec)
        n_occupied = molecule.n_electrons // 2
        levels = field.mo_energy * Ha
        empty = levels[n_occupied:]
        record = {
            "total_energy_ev": float(energy * Ha),
            "homo_ev": float(levels[n_occupied - 1]) if n_occupied else None,
            "lumo_ev": float(empty[0]) if len(empty) else None,
            "scf_iterations": int(field.cycles),
        }
        if spec.polarizability:
            record["polarizability_angstrom3"] = _polarizability(field, spec)
    occupied = np.ascontiguousarray(field.mo_coeff[:, :n_occupied], dtype=np.float32)
    return MoleculeResult(record, {"occupied": occupied})


def _check(molecule: Molecule) -> None:
    """Refuse what no restricted calculation can have."""
    electrons = molecule.n_electrons
    if electrons % 2:
        raise DataError(
            f"{electrons} electrons at charge {molecule.charge:+d}: open shell, and only closed "
            "shells are computed"
        )
    if electrons < 2:
        raise DataError(f"{electrons} electrons at charge {molecule.charge:+d}, expected 2 or more")
    first, second = np.triu_indices(molecule.n_atoms, 1)
    distances = np.linalg.norm(molecule.positions[first] - molecule.positions[second], axis=1)
    if len(distances) and distances.min() < CLOSEST_ANGSTROM:
        pair = int(np.argmin(distances))
        names = [f"{molecule.symbols[i]}{i + 1}" for i in (first[pair], second[pair])]
        raise DataError(
            f"atoms overlap: {names[0]} and {names[1]} are {distances[pair]:.3f} Å apart"
        )


def _gaussians(molecule: Molecule, spec: PySCFSpec, log: TextIO | None, spin: int = 0) -> gto.Mole:
    """The molecule in its basis; ``spin`` is the number of unpaired electrons."""
    mole = gto.Mole()
    mole.atom = [
        (symbol, tuple(position / Bohr))
        for symbol, position in zip(molecule.symbols, molecule.positions, strict=True)
    ]
    mole.unit = "Bohr"
    for symbol in sorted(set(molecule.symbols)):
        _require_functions(spec.basis, symbol)
    mole.basis = spec.basis  # by name: PySCF then knows which auxiliary basis fits it
    mole.charge, mole.spin = molecule.charge, spin
    mole.verbose = _VERBOSE if log else 0
    if log:
        mole.stdout = log
    return mole.build(dump_input=False, parse_arg=False)


def _require_functions(basis: str, symbol: str) -> None:
    """Refuse an element for which the basis has no functions."""
    try:
        gto.basis.load(basis, symbol)
    except (KeyError, lib.exceptions.BasisNotFoundError):
        raise DataError(f"the basis {basis} has no functions for {symbol}") from None


def _mean_field(mole: gto.Mole, spec: PySCFSpec) -> Any:
    field = dft.UKS(mole) if mole.spin else dft.RKS(mole)
    field.xc = spec.functional
    field.grids.level = spec.grid_level
    field.conv_tol = spec.energy_tolerance_ev / Ha
    field.max_cycle = spec.max_cycles
    field._numint = KeptFunctions()
    field.chkfile = None  # otherwise a file in the folder for temporary ones
    return field.density_fit() if spec.density_fitting else field


def _solve(field: Any, spec: PySCFSpec, start: NDArray[np.float64] | None = None) -> float:
    """Iterate; the energy in Hartree."""
    energy = field.kernel(dm0=start)
    if not field.converged:
        raise NotConvergedError(f"not self-consistent after {spec.max_cycles} iterations")
    return float(energy)


def _polarizability(field: Any, spec: PySCFSpec) -> float:
    """A third of the trace of dμ/dE in Å³, by central differences of the dipole moment."""
    mole, density_matrix, core = field.mol, field.make_rdm1(), field.get_hcore()
    with mole.with_common_orig((0.0, 0.0, 0.0)):
        dipoles = mole.intor("int1e_r")  # (3, n_ao, n_ao) Bohr
    moments = np.empty((3, 2))
    for axis in range(3):
        for side, sign in enumerate((1, -1)):
            # An electron has the charge -1: its energy in a field E is +E·r.
            hamiltonian = core + sign * FIELD_AU * dipoles[axis]
            field.get_hcore = lambda *_, h=hamiltonian: h
            _solve(field, spec, density_matrix)
            moments[axis, side] = -np.einsum("ij,ji", dipoles[axis], field.make_rdm1())
    diagonal = (moments[:, 0] - moments[:, 1]) / (2 * FIELD_AU)
    return float(diagonal.mean() * Bohr**3)


def of_orbitals(
    molecule: Molecule, spec: PySCFSpec, occupied: NDArray[np.floating]
) -> tuple[gto.Mole, NDArray[np.float64]]:
    """The molecule in its basis, and the (n_ao, n_occ) coefficients of its occupied orbitals.

    Raises:
        DataError: the orbitals are not of this molecule and basis.
    """
    mole = _gaussians(molecule, spec, None)
    if occupied.shape != (mole.nao, molecule.n_electrons // 2):
        raise DataError(
            f"density of {molecule.material_id}: orbitals of shape {occupied.shape}, expected "
            f"({mole.nao}, {molecule.n_electrons // 2}) for {spec.basis}; use the orbitals and the "
            "settings of one calculation"
        )
    return mole, occupied.astype(np.float64)


def density(
    molecule: Molecule, spec: PySCFSpec, occupied: NDArray[np.floating], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) e/Å³ at (n, 3) points in Å: twice the sum of the squares of the occupied orbitals."""
    mole, coefficients = of_orbitals(molecule, spec, occupied)
    values = np.empty(len(points))
    for begin in range(0, len(points), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        functions = mole.eval_gto("GTOval_sph", points[part] / Bohr)  # (chunk, n_ao)
        values[part] = 2 * ((functions @ coefficients) ** 2).sum(axis=1)
    return values / Bohr**3


def atom(element: str, spec: PySCFSpec, log_path: Path) -> float:
    """Energy of the isolated atom in eV, with Hund's number of unpaired electrons.

    Raises:
        NotConvergedError: not self-consistent after ``spec.max_cycles``.
        DataError: an element without functions.
    """
    with log_path.open("w", encoding="utf-8") as log:
        return float(solved_atom(element, spec, log).e_tot * Ha)


def solved_atom(element: str, spec: PySCFSpec, log: TextIO | None) -> Any:
    """PySCF's self-consistent field of that atom at the origin; errors as for ``atom``."""
    number = chemical_symbols.index(element)
    spin = round(float(ground_state_magnetic_moments[number]))
    molecule = Molecule(element, (element,), np.zeros((1, 3)))
    field = _mean_field(_gaussians(molecule, spec, log, spin), spec)
    _solve(field, spec)
    return field
