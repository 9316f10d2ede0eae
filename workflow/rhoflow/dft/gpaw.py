"""GPAW with plane waves, the open engine: its settings and the boundary where failure is data.

What touches GPAW itself is in ``gpaw_scf`` and ``gpaw_atom``, imported only where a calculation
runs: the config needs the spec where GPAW is not installed.
"""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from rhoflow.crystal import Crystal, known_elements
from rhoflow.dft.base import Result, SpinSpec, Status, structure_identity
from rhoflow.dft.eos import EquationOfStateSpec
from rhoflow.errors import EngineError

ATOMS_ONLY = ("boxed_atoms", "box_angstrom")
CRYSTALS_ONLY = (
    "kpoint_density",
    "empty_bands_percent",
    "min_empty_bands",
    "spin_polarised",
    "initial_moments",
    "equation_of_state",
)


class GPAWSpec(SpinSpec):
    """Settings of a self-consistent calculation with GPAW."""

    kind: Literal["gpaw"] = "gpaw"
    algorithm: Literal[2] = 2
    functional: Literal["PBE"] = Field(
        default="PBE", description="Exchange-correlation functional."
    )
    cutoff_ev: float = Field(
        default=500.0, ge=200, le=2000, description="Plane-wave cutoff in eV; oxygen needs 500."
    )
    kpoint_density: float = Field(
        default=1.6, gt=0, le=20, description="k-points per 1/Å; the mesh is even and holds Γ."
    )
    smearing_ev: float = Field(default=0.05, gt=0, le=1, description="Fermi-Dirac width in eV.")
    empty_bands_percent: float = Field(
        default=20.0, ge=0, le=500, description="Empty bands in percent of the occupied ones."
    )
    min_empty_bands: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Empty bands at least; with one alone, gaps came out wrong.",
    )
    energy_tolerance_ev: float = Field(
        default=1e-3, gt=0, le=0.1, description="Change of the energy, eV per valence electron."
    )
    density_tolerance: float = Field(
        default=2e-3,
        gt=0,
        le=0.1,
        description="Change of the density, electrons per valence electron.",
    )
    eigenstates_tolerance_ev2: float = Field(
        default=1e-3,
        gt=0,
        le=0.1,
        description="Residual of the eigenstates, eV² per valence electron.",
    )
    max_iterations: int = Field(
        default=100,
        ge=5,
        le=2000,
        description="Iterations after which a run counts as not converged.",
    )
    eigensolver: Literal["davidson", "ppcg"] = Field(
        default="davidson", description="Iterative eigensolver; both meet the same tolerances."
    )
    setups: dict[str, str] = Field(
        default_factory=dict,
        description="PAW set of an element where not the default one, as in {Mg: '2'}. They "
        "decide the number of valence electrons: keep one choice for a data set.",
    )
    equation_of_state: EquationOfStateSpec | None = Field(
        default=None,
        description="Finds the equilibrium volume first and computes the density there; null: "
        "the volume that the source gives.",
    )
    boxed_atoms: tuple[str, ...] = Field(
        default=("O",),
        description="Elements whose isolated atom is computed in a box at the same cutoff; the "
        "others get the spin correction of an all-electron atom.",
    )
    box_angstrom: float = Field(
        default=7.5,
        ge=5,
        le=20,
        description="Shortest edge of that box in Å; the others are longer.",
    )

    @field_validator("setups", "boxed_atoms")
    @classmethod
    def _known_elements(cls, value: Any) -> Any:
        return known_elements(value)

    def crystal_settings(self) -> dict[str, Any]:
        """The settings that decide the numbers of a crystal, JSON-able."""
        return _without(super().crystal_settings(), ATOMS_ONLY)

    def atom_settings(self) -> dict[str, Any]:
        """The settings that decide the energies of isolated atoms, JSON-able."""
        return _without(super().crystal_settings(), CRYSTALS_ONLY)


def _without(settings: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


SPEC = GPAWSpec
IN_PROCESS = False


def version() -> str:
    """Versions of GPAW and of its PAW data sets.

    Raises:
        EngineError: one of them is not installed.
    """
    try:
        return f"{installed_version('gpaw')}, gpaw-data {installed_version('gpaw-data')}"
    except PackageNotFoundError as error:
        raise EngineError(
            f"engine gpaw: the package {error.name} is not installed in this environment; "
            "install envs/dft.yaml (pip: CC=g++ pip install gpaw gpaw-data)"
        ) from error


def identity(crystal: Crystal, spec: GPAWSpec) -> dict[str, Any]:
    """The structure alone."""
    return structure_identity(crystal)


def calculate(crystal: Crystal, spec: GPAWSpec, log_path: Path) -> Result:
    """One self-consistent calculation in this process.

    Args:
        crystal: any cell; it is turned to standard orientation for GPAW.
        spec: the settings.
        log_path: where GPAW's own text goes.

    Returns:
        A record of status ``ok`` with its spectrum; ``not_converged``; or ``failed`` with a
        short reason.

    Raises:
        EngineError: GPAW is not installed or its interface is not the one known here.
    """
    from gpaw import KohnShamConvergenceError

    from rhoflow.dft import gpaw_scf

    try:
        result = gpaw_scf.run(crystal, spec, log_path)
        return replace(result, record={**_header(crystal, "ok"), **result.record})
    except EngineError:
        raise
    except KohnShamConvergenceError:
        reason = f"not self-consistent after {spec.max_iterations} iterations"
        return Result(_header(crystal, "not_converged", reason), None)
    # GPAW raises whatever its libraries raise (ValueError, AssertionError, LinAlgError, its own
    # types), and one odd structure must not end the others: here failure becomes data.
    except Exception as error:
        return Result(_header(crystal, "failed", short_reason(error)), None)


def _header(crystal: Crystal, status: Status, reason: str | None = None) -> dict[str, Any]:
    return {
        "status": status,
        "reason": reason,
        "engine": "gpaw",
        "engine_version": version(),
        "n_atoms": crystal.n_atoms,
    }


def short_reason(error: Exception) -> str:
    """One line that says why: for a missing PAW set or memory in plain words."""
    first = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, FileNotFoundError) and "PAW dataset file" in first:
        return f"no PAW set for {first.split(chr(34))[1].rsplit('.', 1)[0]}"
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__


def atom_identity(element: str, spec: GPAWSpec) -> dict[str, Any]:
    """The element alone."""
    return {"element": element}


def atomic_reference(element: str, spec: GPAWSpec, log_path: Path) -> dict[str, Any]:
    """Energy of the isolated atom relative to GPAW's reference, the spin-paired spherical atom.

    Args:
        element: chemical symbol.
        spec: ``boxed_atoms`` decides the method.
        log_path: where GPAW's own text goes.

    Returns:
        A row of ``tables.ATOMS``; status ``failed`` with a reason where it cannot be had.
    """
    from rhoflow.dft import gpaw_atom

    boxed = element in spec.boxed_atoms
    row = {"element": element, "method": "boxed atom" if boxed else "all-electron atom"}
    try:
        if boxed:
            energy = gpaw_atom.boxed_atom(element, spec, log_path)
        else:
            energy = gpaw_atom.spin_correction(element, spec, log_path)
    # As in ``calculate``: an atom that fails is a row with a reason.
    except Exception as error:
        return {**row, "status": "failed", "reason": short_reason(error)}
    return {**row, "status": "ok", "reason": None, "energy_ev": energy}
