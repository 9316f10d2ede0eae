"""One self-consistent run with GPAW, and the energy terms read from it.

The only module that knows GPAW's interface for crystals (the "new" one of GPAW 26).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from gpaw import __version__ as gpaw_version
from gpaw.new.ase_interface import GPAW, ASECalculator
from gpaw.setup_data import SetupData
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.ewald import ion_energy
from rhoflow.density.spectrum import Spectrum, electron_tolerance, from_grid, hartree_energy
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.xc import pbe_energies
from rhoflow.errors import EngineError

GRID_REFINEMENT = 2


class Raw(NamedTuple):
    """What is read from a converged calculator, in eV, Å and electrons."""

    total_energy: float
    one_electron_energy: float
    homo: float
    lumo: float
    fermi_level: float
    n_iterations: int
    n_kpoints: int
    charges: NDArray[np.float64]  # (n_atoms,) valence electrons of the PAW sets
    density: NDArray[np.float64]  # (n_spins, n1, n2, n3) e/Å³


def run(crystal: Crystal, spec: GPAWSpec, log_path: Path) -> tuple[dict[str, Any], Spectrum]:
    """Converge one crystal; its energy terms (columns of ``DFT_RECORDS``) and density.

    Raises:
        ValueError: the density does not hold the valence electrons, or a term is not finite.
        Exception: whatever GPAW raises.
    """
    raw = read(converge(crystal, spec, log_path))
    spectrum = from_grid(raw.density.sum(axis=0), crystal.lattice, crystal.n_atoms)
    return terms(crystal, raw, spectrum), spectrum


def converge(crystal: Crystal, spec: GPAWSpec, log_path: Path) -> ASECalculator:
    """Run one crystal to self-consistency."""
    atoms = standard_atoms(crystal)
    if spec.spin_polarised:
        atoms.set_initial_magnetic_moments(
            [spec.initial_moments.get(s, 0.0) for s in crystal.symbols]
        )
    atoms.calc = GPAW(**parameters(crystal, spec), txt=str(log_path))
    atoms.get_potential_energy()
    return atoms.calc


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
    """GPAW's keywords for a crystal."""
    elements, counts = np.unique(crystal.symbols, return_counts=True)
    n_valence = [
        SetupData(e, spec.functional, name=spec.setups.get(e, "paw")).Nv for e in elements.tolist()
    ]
    occupied = int(np.ceil(np.dot(np.asarray(n_valence, dtype=np.float64), counts) / 2))
    empty = max(int(np.ceil(occupied * spec.empty_bands_percent / 100)), spec.min_empty_bands)
    return {
        **shared_parameters(spec),
        "kpts": {"density": spec.kpoint_density, "gamma": True, "even": True},
        "nbands": occupied + empty,
        "convergence": convergence(spec),
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
        eigenvalues = np.asarray(calculator.eigenvalues())  # (spins, k-points, bands) eV
        occupations = np.asarray(calculator.occupations())  # (spins, k-points, bands) 0 to 1
        weights = calculator.get_k_point_weights()
        homo, lumo = calculator.get_homo_lumo()
        per_state = 2 / len(eigenvalues)
        return Raw(
            total_energy=float(calculator.results["energy"]),
            one_electron_energy=float(
                per_state * np.einsum("skn,skn,k->", eigenvalues, occupations, weights)
            ),
            homo=float(homo),
            lumo=float(lumo),
            fermi_level=float(calculator.get_fermi_level()),
            n_iterations=int(calculator.get_number_of_iterations()),
            n_kpoints=len(weights),
            charges=np.array([setup.Nv for setup in dft.setups], dtype=np.float64),
            density=dft.densities()
            .pseudo_densities(grid_refinement=GRID_REFINEMENT, add_compensation_charges=True)
            .data,
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
    insulating = raw.lumo > raw.homo
    values = {
        "n_valence_electrons": float(raw.charges.sum()),
        "total_energy_ev": raw.total_energy,
        "one_electron_energy_ev": raw.one_electron_energy,
        "hartree_energy_ev": hartree_energy(spectrum),
        "xc_energy_ev": xc_energy,
        "xc_potential_energy_ev": xc_potential_energy,
        "ion_energy_ev": ion_energy(crystal, raw.charges),
        "band_gap_ev": max(raw.lumo - raw.homo, 0.0),
        "valence_band_maximum_ev": raw.homo if insulating else None,
        "fermi_level_ev": raw.fermi_level,
        "scf_iterations": raw.n_iterations,
        "n_kpoints": raw.n_kpoints,
    }
    wrong = [name for name, v in values.items() if v is not None and not np.isfinite(v)]
    if wrong:
        raise ValueError(f"not finite: {', '.join(wrong)}")
    return values
