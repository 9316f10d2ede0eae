"""What a DFT engine offers to the rest of the package.

An engine is a module with the members of ``Engine``, registered in ``ENGINES``. It is imported
by every worker process, so it must not import pandas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rhoflow.crystal import Crystal, known_elements
from rhoflow.density.spectrum import Spectrum
from rhoflow.errors import ConfigError, did_you_mean
from rhoflow.molecule import Molecule
from rhoflow.spec import Spec

Status = Literal["ok", "not_converged", "failed"]

ROUNDING = 1e-6

ENGINES = {
    "archive": "rhoflow.dft.archive",
    "given": "rhoflow.dft.given",
    "gpaw": "rhoflow.dft.gpaw",
    "outputs": "rhoflow.dft.outputs",
    "pyscf": "rhoflow.dft.pyscf",
    "vasp": "rhoflow.dft.vasp",
}
# Those of them that compute molecules, and no crystals.
MOLECULE_ENGINES = ("given", "pyscf")


@dataclass(frozen=True, eq=False)
class Result:
    """One calculation.

    Attributes:
        record: columns of ``tables.DFT_RECORDS`` (those that are known; the others are null).
        spectrum: the valence density, None where status is not ``ok``.
        crystal: what was computed, where that is not the crystal that was asked for: another
            volume, or the cell of a finished run. Record and spectra belong to it.
        potential: the local potential energy of an electron (eV), its mean zero, if known.
        cost: columns of ``tables.DFT_COST``, for engines that take finished calculations and
            know what these cost; otherwise the cost of the process counts.
    """

    record: dict[str, Any]
    spectrum: Spectrum | None
    crystal: Crystal | None = None
    potential: Spectrum | None = None
    cost: dict[str, float] | None = None


@dataclass(frozen=True, eq=False)
class MoleculeResult:
    """One calculation of a molecule.

    Attributes:
        record: columns of ``tables.MOLECULE_RECORDS`` (those that are known; the others are null).
        arrays: by name, such as ``occupied``, the orbitals; empty where there are none.
    """

    record: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class EngineSpec(Spec):
    """Settings that every engine has."""

    time_limit_min: float | None = Field(
        default=None, gt=0, description="Wall time in minutes after which a structure is given up."
    )
    min_ok_fraction: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="The stage stops if fewer structures than this succeed.",
    )

    @property
    def time_limit_s(self) -> float | None:
        """Wall time in seconds after which a structure is given up."""
        return None if self.time_limit_min is None else 60 * self.time_limit_min

    def crystal_settings(self) -> dict[str, Any]:
        """The settings that decide the numbers of a crystal or molecule, JSON-able."""
        return self.model_dump(mode="json", exclude={"time_limit_min", "min_ok_fraction"})

    def atom_settings(self) -> dict[str, Any]:
        """The settings that decide the energies of isolated atoms, JSON-able."""
        return self.crystal_settings()

    def site_settings(self) -> dict[str, Any]:
        """Settings that decide no number, but without which the site cannot run it, JSON-able."""
        return {}


class SpinSpec(EngineSpec):
    """Collinear spin, for engines that can have it."""

    spin_polarised: bool = Field(default=False, description="Collinear spin polarisation.")
    initial_moments: dict[str, float] = Field(
        default_factory=dict,
        description="Starting moment of an element in μB (ferromagnetic), others 0; needed "
        "where spin_polarised is true.",
    )

    @field_validator("initial_moments")
    @classmethod
    def _known_moments(cls, value: dict[str, float]) -> dict[str, float]:
        return known_elements(value)

    @model_validator(mode="after")
    def _moments_with_spin(self) -> Self:
        if self.spin_polarised != any(self.initial_moments.values()):
            raise ValueError(
                "spin_polarised and initial_moments go together: without a starting moment a "
                "spin-polarised run stays non-magnetic; give both or neither"
            )
        return self


class Engine(Protocol):
    """The members of an engine's module.

    ``calculate`` returns whatever happens to one structure as a record with a status and a
    reason; only ``EngineError``, for what would befall every structure, leaves it.

    An engine with ``IN_PROCESS`` only looks things up: it runs without processes of its own and
    without the folder of finished calculations.
    """

    SPEC: type[EngineSpec]
    IN_PROCESS: bool

    def version(self) -> str:
        """Version of the engine and its data; raises EngineError where it is not installed."""
        ...

    def calculate(self, crystal: Crystal, spec: Any, log_path: Path) -> Result:
        """Run one crystal in this process; the engine's own log goes to ``log_path``."""
        ...

    def identity(self, crystal: Crystal, spec: Any) -> dict[str, Any]:
        """What makes a calculation the same one, beside settings and version; JSON-able."""
        ...

    def atom_identity(self, element: str, spec: Any) -> dict[str, Any]:
        """What makes an isolated atom's energy the same one, beside settings and version."""
        ...

    def atomic_reference(self, element: str, spec: Any, log_path: Path) -> dict[str, Any]:
        """A row of ``tables.ATOMS``: energy of the isolated atom."""
        ...


class MoleculeEngine(Protocol):
    """The members of the module of an engine that computes molecules.

    As for ``Engine``, only ``EngineError`` leaves ``calculate_molecule``. One with
    ``SEVERAL_A_PROCESS`` starts so slowly, beside what a molecule takes, that a process runs
    several jobs one after the other.
    """

    SPEC: type[EngineSpec]
    IN_PROCESS: bool
    SEVERAL_A_PROCESS: bool

    def version(self) -> str:
        """Version of the engine; raises EngineError where it is not installed."""
        ...

    def calculate_molecule(
        self, molecule: Molecule, spec: Any, log_path: Path, known: Mapping[str, float]
    ) -> MoleculeResult:
        """Run one molecule in this process, of which its source told ``known``."""
        ...

    def molecule_identity(
        self, molecule: Molecule, spec: Any, known: Mapping[str, float]
    ) -> dict[str, Any]:
        """What makes a calculation the same one, beside settings and version; JSON-able."""
        ...

    def atom_identity(self, element: str, spec: Any) -> dict[str, Any]:
        """What makes an isolated atom's energy the same one, beside settings and version."""
        ...

    def atomic_reference(self, element: str, spec: Any, log_path: Path) -> dict[str, Any]:
        """A row of ``tables.ATOMS``: energy of the isolated atom."""
        ...


def load_engine(kind: str) -> Engine:
    """The engine of that name."""
    if kind not in ENGINES:
        raise ConfigError(f"engines: no kind of engine '{kind}'{did_you_mean(kind, ENGINES)}")
    return cast(Engine, import_module(ENGINES[kind]))


def load_molecule_engine(kind: str) -> MoleculeEngine:
    """The engine of that name, if it is one for molecules."""
    if kind not in MOLECULE_ENGINES:
        known = did_you_mean(kind, MOLECULE_ENGINES)
        raise ConfigError(f"engines: '{kind}' is no engine for molecules{known}")
    return cast(MoleculeEngine, import_module(ENGINES[kind]))


def structure_identity(crystal: Crystal) -> dict[str, Any]:
    """What makes a structure the same one: symbols, metric of the cell, coordinates in [0, 1).

    Name and orientation do not count; lengths and coordinates do to 1e-6.
    """
    metric = (crystal.lattice @ crystal.lattice.T)[np.tril_indices(3)]  # Å²
    periods = round(1 / ROUNDING)
    return {
        "symbols": list(crystal.symbols),
        "metric": np.rint(metric / ROUNDING).astype(int).tolist(),
        "frac_coords": (np.rint(crystal.frac_coords / ROUNDING).astype(int) % periods).tolist(),
    }


def crystal_from_json(data: Mapping[str, Any]) -> Crystal:
    """The inverse of ``crystal_to_json``."""
    return Crystal(
        material_id=data["material_id"],
        lattice=np.asarray(data["lattice"], dtype=np.float64),
        symbols=tuple(data["symbols"]),
        frac_coords=np.asarray(data["frac_coords"], dtype=np.float64),
        origin=data["origin"],
    )


def crystal_to_json(crystal: Crystal) -> dict[str, Any]:
    """A crystal as numbers and text, for a job file."""
    return {
        "material_id": crystal.material_id,
        "lattice": crystal.lattice.tolist(),
        "symbols": list(crystal.symbols),
        "frac_coords": crystal.frac_coords.tolist(),
        "origin": crystal.origin,
    }


def geometry_identity(molecule: Molecule) -> dict[str, Any]:
    """What makes a molecule the same one: symbols, positions to 1e-6 Å, charge; not its name."""
    return {
        "symbols": list(molecule.symbols),
        "positions": np.rint(molecule.positions / ROUNDING).astype(int).tolist(),
        "charge": molecule.charge,
    }


def molecule_from_json(data: Mapping[str, Any]) -> Molecule:
    """The inverse of ``molecule_to_json``."""
    return Molecule(
        material_id=data["material_id"],
        symbols=tuple(data["symbols"]),
        positions=np.asarray(data["positions"], dtype=np.float64),
        charge=data["charge"],
        smiles=data["smiles"],
    )


def molecule_to_json(molecule: Molecule) -> dict[str, Any]:
    """A molecule as numbers and text, for a job file."""
    return {
        "material_id": molecule.material_id,
        "symbols": list(molecule.symbols),
        "positions": molecule.positions.tolist(),
        "charge": molecule.charge,
        "smiles": molecule.smiles,
    }
