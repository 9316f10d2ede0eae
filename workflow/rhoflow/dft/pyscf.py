"""PySCF, the open engine for molecules: its settings and the boundary where failure is data.

What touches PySCF itself is in ``pyscf_scf``, imported only where a calculation runs: the config
needs the spec where PySCF is not installed.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rhoflow.dft.base import EngineSpec, MoleculeResult, Status, geometry_identity
from rhoflow.errors import DataError, EngineError
from rhoflow.molecule import Molecule

MOLECULES_ONLY = ("polarizability",)


class PySCFSpec(EngineSpec):
    """Settings of a closed-shell Kohn-Sham calculation of a molecule with PySCF."""

    kind: Literal["pyscf"] = "pyscf"
    algorithm: Literal[1] = 1
    functional: Literal["b3lypg", "b3lyp5", "pbe0", "pbe"] = Field(
        default="b3lypg",
        description="Exchange-correlation functional; b3lypg is B3LYP as Gaussian has it (VWN3), "
        "b3lyp5 that of other programs (VWN5).",
    )
    basis: Literal["6-31g(2df,p)", "6-31g(d)", "6-31g", "def2-svp", "def2-tzvp"] = Field(
        default="6-31g(2df,p)",
        description="Gaussian basis set, with spherical functions; the default is QM9's.",
    )
    density_fitting: bool = Field(
        default=True,
        description="Whether Coulomb and exchange energies are fitted with an auxiliary basis: "
        "several times faster, atomization energies within 3 meV.",
    )
    grid_level: int = Field(
        default=1, ge=0, le=9, description="PySCF's level of the integration grid."
    )
    energy_tolerance_ev: float = Field(
        default=1e-5, gt=0, le=1e-2, description="Change of the energy in an iteration, in eV."
    )
    max_cycles: int = Field(
        default=100,
        ge=1,
        le=2000,
        description="Iterations after which a run counts as not converged.",
    )
    polarizability: bool = Field(
        default=False,
        description="Whether the isotropic polarizability is computed, from the dipole moments in "
        "six electric fields of 0.002 atomic units: three to five times the time.",
    )

    def atom_settings(self) -> dict[str, Any]:
        """The settings that decide the energies of isolated atoms, JSON-able."""
        settings = self.crystal_settings()
        return {name: value for name, value in settings.items() if name not in MOLECULES_ONLY}


SPEC = PySCFSpec
IN_PROCESS = False
SEVERAL_A_PROCESS = True


def version() -> str:
    """Version of PySCF.

    Raises:
        EngineError: it is not installed.
    """
    try:
        return installed_version("pyscf")
    except PackageNotFoundError as error:
        raise EngineError(
            "engine pyscf: the package pyscf is not installed in this environment; install "
            "envs/molecules.yaml or envs/dft.yaml (pip install pyscf)"
        ) from error


def molecule_identity(
    molecule: Molecule, spec: PySCFSpec, known: Mapping[str, float]
) -> dict[str, Any]:
    """Elements, positions and charge; the orbitals belong to this orientation."""
    return geometry_identity(molecule)


def calculate_molecule(
    molecule: Molecule, spec: PySCFSpec, log_path: Path, known: Mapping[str, float]
) -> MoleculeResult:
    """One restricted Kohn-Sham calculation in this process.

    Args:
        molecule: with an even number of electrons, of any charge.
        spec: the settings.
        log_path: where PySCF's own text goes.
        known: what the source told; nothing of it is used.

    Returns:
        A record of status ``ok`` with ``occupied``, (n_ao, n_occ) float32, the coefficients of the
        occupied orbitals; ``not_converged``; or ``failed`` with a short reason.

    Raises:
        EngineError: PySCF is not installed.
    """
    header = {
        "engine": "pyscf",
        "engine_version": version(),
        "n_atoms": molecule.n_atoms,
        "n_electrons": molecule.n_electrons,
    }
    from rhoflow.dft import pyscf_scf

    try:
        result = pyscf_scf.run(molecule, spec, log_path)
    except pyscf_scf.NotConvergedError as error:
        return MoleculeResult({**header, **_status("not_converged", str(error))})
    # PySCF raises whatever its libraries raise, and one odd molecule must not end the others: here
    # failure becomes data.
    except Exception as error:
        return MoleculeResult({**header, **_status("failed", _short_reason(error))})
    return MoleculeResult({**header, **_status("ok"), **result.record}, result.arrays)


def _status(status: Status, reason: str | None = None) -> dict[str, Any]:
    return {"status": status, "reason": reason}


def _short_reason(error: Exception) -> str:
    """One line that says why."""
    if isinstance(error, MemoryError):
        return "out of memory"
    first = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, DataError):
        return first
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__


def density(
    molecule: Molecule, spec: PySCFSpec, occupied: NDArray[np.floating], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The electron density of a calculation, those of the cores included.

    Args:
        molecule: as it was computed, in that orientation.
        spec: the settings that it was computed with.
        occupied: (n_ao, n_occ) coefficients of the doubly occupied orbitals.
        points: (n, 3) Å.

    Returns:
        (n,) e/Å³.

    Raises:
        DataError: the orbitals are not of this molecule and basis.
    """
    from rhoflow.dft import pyscf_scf

    return pyscf_scf.density(molecule, spec, occupied, points)


def atom_identity(element: str, spec: PySCFSpec) -> dict[str, Any]:
    """The element alone."""
    return {"element": element}


def atomic_reference(element: str, spec: PySCFSpec, log_path: Path) -> dict[str, Any]:
    """Energy of the isolated atom: unrestricted, with Hund's number of unpaired electrons.

    Args:
        element: chemical symbol.
        spec: the settings, those of the molecules.
        log_path: where PySCF's own text goes.

    Returns:
        A row of ``tables.ATOMS``; status ``failed`` with a reason where it cannot be had.
    """
    from rhoflow.dft import pyscf_scf

    row = {"element": element, "method": "unrestricted atom"}
    try:
        energy = pyscf_scf.atom(element, spec, log_path)
    except pyscf_scf.NotConvergedError as error:
        return {**row, **_status("not_converged", str(error))}
    # As in ``calculate_molecule``: an atom that fails is a row with a reason.
    except Exception as error:
        return {**row, **_status("failed", _short_reason(error))}
    return {**row, **_status("ok"), "energy_ev": energy}
