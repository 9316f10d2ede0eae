"""Molecules whose properties their source tells: nothing is computed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rhoflow.dft.base import EngineSpec, MoleculeResult, geometry_identity
from rhoflow.molecule import Molecule


class GivenSpec(EngineSpec):
    """Takes the properties that the source of the molecules tells, such as QM9's."""

    kind: Literal["given"] = "given"
    algorithm: Literal[1] = 1


SPEC = GivenSpec
IN_PROCESS = True
SEVERAL_A_PROCESS = False


def version() -> str:
    """Version of what is taken."""
    return "1"


def molecule_identity(
    molecule: Molecule, spec: GivenSpec, known: Mapping[str, float]
) -> dict[str, Any]:
    """The molecule and what is told of it."""
    return {**geometry_identity(molecule), "known": dict(known)}


def calculate_molecule(
    molecule: Molecule, spec: GivenSpec, log_path: Path, known: Mapping[str, float]
) -> MoleculeResult:
    """The known properties as a record; one of which nothing is known has failed."""
    common = {
        "engine": "given",
        "engine_version": version(),
        "n_atoms": molecule.n_atoms,
        "n_electrons": molecule.n_electrons,
    }
    if not known:
        reason = "its source tells no property of it"
        return MoleculeResult({**common, "status": "failed", "reason": reason})
    return MoleculeResult({**common, "status": "ok", "reason": None, **known})


def atom_identity(element: str, spec: GivenSpec) -> dict[str, Any]:
    """The element alone."""
    return {"element": element}


def atomic_reference(element: str, spec: GivenSpec, log_path: Path) -> dict[str, Any]:
    """A failed row: a source of molecules tells no energies of isolated atoms."""
    return {
        "element": element,
        "status": "failed",
        "reason": "the engine 'given' knows no isolated atoms",
        "method": None,
        "energy_ev": None,
    }
