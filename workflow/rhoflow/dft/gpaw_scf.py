"""One self-consistent run with GPAW, and the energy terms read from it.

The only module that knows GPAW's interface for crystals (the "new" one of GPAW 26).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import kpts2sizeandoffsets
from ase.units import Ha
from gpaw import __version__ as gpaw_version
from gpaw.core import UGDesc
from gpaw.new.ase_interface import GPAW, ASECalculator
from gpaw.setup_data import SetupData
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.ewald import ion_energy
from rhoflow.density.spectrum import Spectrum, electron_tolerance, from_grid, hartree_energy
from rhoflow.dft.bands import band_terms
from rhoflow.dft.base import Result
from rhoflow.dft.eos import EquationOfState, find_equilibrium
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.gpaw_basis import basis_set_correction
from rhoflow.dft.xc import pbe_energies
from rhoflow.errors import EngineError

GRID_REFINEMENT = 2


@dataclass(frozen=True, eq=False)
class Raw:
    """What is read from a converged calculator, in eV, Å and electrons."""

    total_energy: float
    eigenvalues: NDArray[np.float64]  # (n_spins, n_kpoints, n_bands)
    occupations: NDArray[np.float64]  # the same shape, 0 to 1
    weights: NDArray[np.float64]  # (n_kpoints,) of the irreducible k-points, their sum is 1
    fermi_level: float
    magnetic_moment: float
    n_iterations: int
    charges: NDArray[np.float64]  # (n_atoms,) valence electrons of the PAW sets
    density: NDArray[np.float64]  # (n_spins, n1, n2, n3) e/Å³
    potential: NDArray[np.float64]  # (n1, n2, n3) eV
    forces: NDArray[np.float64]  # (n_atoms, 3) eV/Å, of the cell in standard orientation

    @property
    def one_electron_energy(self) -> float:
        """Sum of the occupied one-electron energies."""
        per_state = 2 / len(self.eigenvalues)
        states = self.eigenvalues * self.occupations
        return float(per_state * np.einsum("skn,k->", states, self.weights))


def run(crystal: Crystal, spec: GPAWSpec, log_path: Path) -> Result:
    """Converge one crystal, at its equilibrium volume if the spec asks for it.

    Raises:
        ValueError: the density does not hold the valence electrons, a term is not finite, or
            there is no equilibrium volume.
        Exception: whatever GPAW raises.
    """
    with log_path.open("w", encoding="utf-8") as log:
        fitted: dict[str, Any] = {}
        if spec.equation_of_state is not None:
            fit = equation_of_state(crystal, spec, log)
            crystal = crystal.scaled(fit.volume)
            fitted = _fit_columns(fit)
        mesh = kpoint_mesh(crystal, spec)
        raw = read(converge(crystal, spec, mesh, log))
    spectrum = from_grid(raw.density.sum(axis=0), crystal.lattice, crystal.n_atoms)
    potential = from_grid(raw.potential, crystal.lattice, crystal.n_atoms)
    record = {
        **terms(crystal, raw, spectrum),
        **levels(raw),
        **fitted,
        "kpoint_mesh": list(mesh),
        "forces_ev_per_angstrom": raw.forces.ravel().tolist(),
    }
    return Result(record, spectrum, crystal, potential)


def equation_of_state(crystal: Crystal, spec: GPAWSpec, log: TextIO) -> EquationOfState:
    """Energies around the equilibrium volume with one k-mesh, and their fit."""
    assert spec.equation_of_state is not None
    settings = spec.equation_of_state
    cutoff = settings.cutoff_ev or spec.cutoff_ev
    at_cutoff = spec.model_copy(update={"cutoff_ev": cutoff})
    mesh = kpoint_mesh(crystal, spec, even=False)

    def energy_at(volume: float) -> float:
        scaled = crystal.scaled(volume)
        calculator = converge(scaled, at_cutoff, mesh, log, settings.tolerance_factor)
        excess = basis_set_correction(calculator.dft.setups, crystal.symbols)
        energy = float(calculator.results["energy"])
        return energy - excess(scaled.lattice, mesh, cutoff)

    return find_equilibrium(energy_at, crystal.volume, settings)


def levels(raw: Raw) -> dict[str, Any]:
    """Eigenvalues and occupations, spin by spin and k-point by k-point, and the weights."""
    return {
        "eigenvalues_ev": raw.eigenvalues.astype(np.float32).ravel().tolist(),
        "occupations": raw.occupations.astype(np.float32).ravel().tolist(),
        "kpoint_weights": raw.weights.tolist(),
    }


def _fit_columns(fit: EquationOfState) -> dict[str, Any]:
    return {
        "bulk_modulus_gpa": fit.bulk_modulus,
        "bulk_modulus_derivative": fit.derivative,
        "eos_rms_ev": fit.rms,
        "eos_volumes_angstrom3": fit.volumes.tolist(),
        "eos_energies_ev": fit.energies.tolist(),
    }


def kpoint_mesh(crystal: Crystal, spec: GPAWSpec, *, even: bool = True) -> tuple[int, ...]:
    """(3,) k-points along each axis, by the density of the spec.

    Gaps need the zone boundary, so the numbers are made even. Total energies do not: where the
    density allows an odd number below, ``even=False`` takes it, for half the time.
    """
    atoms, density = standard_atoms(crystal), spec.kpoint_density
    nearest, _ = kpts2sizeandoffsets(density=density, even=True, gamma=True, atoms=atoms)
    enough, _ = kpts2sizeandoffsets(density=density, gamma=True, atoms=atoms)
    return tuple(int(n) if even else int(min(n, m)) for n, m in zip(nearest, enough, strict=True))


def converge(
    crystal: Crystal, spec: GPAWSpec, mesh: tuple[int, ...], log: TextIO, factor: float = 1.0
) -> ASECalculator:
    """Run one crystal to self-consistency on a k-mesh that holds Γ.

    ``factor`` loosens the convergence criteria of the spec.
    """
    atoms, calculator = prepare(crystal, spec, mesh, log, factor)
    atoms.get_potential_energy()
    return calculator


def prepare(
    crystal: Crystal, spec: GPAWSpec, mesh: tuple[int, ...], log: TextIO, factor: float = 1.0
) -> tuple[Atoms, ASECalculator]:
    """One crystal as atoms with their calculator, which has not run yet."""
    atoms = standard_atoms(crystal)
    if spec.spin_polarised:
        atoms.set_initial_magnetic_moments(
            [spec.initial_moments.get(s, 0.0) for s in crystal.symbols]
        )
    kpoints = {"size": mesh, "gamma": True}
    criteria = convergence(spec, factor)
    atoms.calc = GPAW(**parameters(crystal, spec), kpts=kpoints, convergence=criteria, txt=log)
    return atoms, atoms.calc


def standard_atoms(crystal: Crystal) -> Atoms:
    """The crystal with a along x and b in the xy plane, fractional coordinates unchanged.

    GPAW draws orthorhombic cells as text into its log (``gpaw/io/plot_atoms.py``) and fails
    with "negative dimensions are not allowed" if an axis points in a negative direction. A
    left-handed cell becomes its mirror image, whose energies and Fourier coefficients on hkl
    are the same.
    """
    metric = crystal.lattice @ crystal.lattice.T
    return Atoms(
        symbols=list(crystal.symbols),
        scaled_positions=crystal.frac_coords,
        cell=np.linalg.cholesky(metric),
        pbc=True,
    )


def parameters(crystal: Crystal, spec: GPAWSpec) -> dict[str, Any]:
    """GPAW's keywords for a crystal, k-mesh and convergence left out."""
    elements, counts = np.unique(crystal.symbols, return_counts=True)
    n_valence = [
        SetupData(e, spec.functional, name=spec.setups.get(e, "paw")).Nv for e in elements.tolist()
    ]
    occupied = int(np.ceil(np.dot(np.asarray(n_valence, dtype=np.float64), counts) / 2))
    empty = max(int(np.ceil(occupied * spec.empty_bands_percent / 100)), spec.min_empty_bands)
    return {
        **shared_parameters(spec),
        "nbands": occupied + empty,
        "spinpol": spec.spin_polarised,
    }


def shared_parameters(spec: GPAWSpec) -> dict[str, Any]:
    """GPAW's keywords that crystals and boxed atoms share."""
    return {
        "mode": {"name": "pw", "ecut": spec.cutoff_ev},
        "xc": spec.functional,
        "occupations": {"name": "fermi-dirac", "width": spec.smearing_ev},
        "eigensolver": spec.eigensolver,
        "maxiter": spec.max_iterations,
        "setups": dict(spec.setups),
    }


def convergence(spec: GPAWSpec, factor: float = 1.0) -> dict[str, float]:
    """GPAW's convergence criteria, ``factor`` times those of the spec."""
    return {
        "energy": factor * spec.energy_tolerance_ev,
        "density": factor * spec.density_tolerance,
        "eigenstates": factor * spec.eigenstates_tolerance_ev2,
    }


def read(calculator: ASECalculator) -> Raw:
    """Read a converged calculator.

    Raises:
        EngineError: this version of GPAW names its results differently.
    """
    try:
        dft = calculator.dft
        density = dft.densities().pseudo_densities(
            grid_refinement=GRID_REFINEMENT, add_compensation_charges=True
        )
        potential = dft.electrostatic_potential().vHt_x
        grid = UGDesc(cell=potential.desc.cell, size=tuple(density.desc.size_c), pbc=(True,) * 3)
        return Raw(
            total_energy=float(calculator.results["energy"]),
            eigenvalues=np.asarray(calculator.eigenvalues()),
            occupations=np.asarray(calculator.occupations()),
            weights=np.asarray(calculator.get_k_point_weights()),
            fermi_level=float(calculator.get_fermi_level()),
            magnetic_moment=float(calculator.get_magnetic_moment()),
            n_iterations=int(calculator.get_number_of_iterations()),
            charges=np.array([setup.Nv for setup in dft.setups], dtype=np.float64),
            density=density.data,
            potential=np.asarray(potential.interpolate(grid=grid).data) * Ha,
            forces=np.asarray(calculator.get_forces(), dtype=np.float64),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise EngineError(
            f"GPAW {gpaw_version}: results cannot be read ({type(error).__name__}: {error}); "
            "rhoflow knows the interface of GPAW 26.7: install the pinned version"
        ) from error


def terms(crystal: Crystal, raw: Raw, spectrum: Spectrum) -> dict[str, Any]:
    """The energy terms per cell, eV, as ENERGIES.md defines them."""
    electrons = spectrum.n_electrons
    if abs(electrons - raw.charges.sum()) > electron_tolerance(crystal.n_atoms):
        raise ValueError(
            f"the density holds {electrons:.4f} electrons, expected {raw.charges.sum():g}"
        )
    xc_energy, xc_potential_energy = pbe_energies(raw.density, crystal.lattice)
    values = {
        "n_valence_electrons": float(raw.charges.sum()),
        "total_energy_ev": raw.total_energy,
        "one_electron_energy_ev": raw.one_electron_energy,
        "hartree_energy_ev": hartree_energy(spectrum),
        "xc_energy_ev": xc_energy,
        "xc_potential_energy_ev": xc_potential_energy,
        "ion_energy_ev": ion_energy(crystal, raw.charges),
        **band_terms(raw.eigenvalues, raw.occupations, raw.fermi_level),
        "fermi_level_ev": raw.fermi_level,
        "scf_iterations": raw.n_iterations,
        "n_kpoints": len(raw.weights),
        "volume_angstrom3": crystal.volume,
        "magnetic_moment_bohr": raw.magnetic_moment,
    }
    wrong = [name for name, v in values.items() if v is not None and not np.isfinite(v)]
    if wrong:
        raise ValueError(f"not finite: {', '.join(wrong)}")
    return values
