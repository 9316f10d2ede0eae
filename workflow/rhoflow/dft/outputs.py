"""Finished VASP runs, taken as they are: the engine of the source of the same name.

Nothing is computed; each structure's origin is a run's folder or its CHGCAR.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rhoflow.crystal import Crystal
from rhoflow.dft.base import Result
from rhoflow.dft.vasp_atoms import AtomsSpec, finished_identity, known_reference
from rhoflow.dft.vasp_terms import Demands, read_result
from rhoflow.errors import DataError
from rhoflow.vasp.folders import RunFiles, runs_at


class OutputsSpec(AtomsSpec):
    """How finished VASP runs are read."""

    kind: Literal["outputs"] = Field(default="outputs", description="finished VASP runs")
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    functional: str | None = Field(
        default="PBE",
        description="Functional that every run must have been made with, as in PBE, PBE+U, LDA, "
        "PBEsol, hybrid; null takes any. Mixing them in one data set makes targets incomparable.",
    )
    accept_unconverged: bool = Field(
        default=False,
        description="Take runs whose electronic or ionic steps ended before they converged; their "
        "records' reason says so.",
    )

    def demands(self) -> Demands:
        """What a run must be to be taken."""
        return Demands(self.functional, self.accept_unconverged)


SPEC = OutputsSpec
# Files are whatever a user has: one that takes all memory must take no other run with it.
IN_PROCESS = False


def version() -> str:
    """The runs tell their own version, each in its record."""
    return "VASP's outputs"


def identity(crystal: Crystal, spec: OutputsSpec) -> dict[str, Any]:
    """Names, sizes and times of the run's files: what was read once stays while they do."""
    files = _run_of(crystal)
    if files is None:
        return {"origin": crystal.origin, "files": []}
    states = [(path.name, path.stat()) for path in files.present()]
    return {
        "origin": crystal.origin,
        "files": [[name, state.st_size, state.st_mtime_ns] for name, state in states],
    }


def calculate(crystal: Crystal, spec: OutputsSpec, log_path: Path) -> Result:
    """Read the run that the crystal comes from.

    Args:
        crystal: its ``origin`` is the run's folder or CHGCAR.
        spec: which runs are taken.
        log_path: gets the files used and how the terms compare with VASP's own.

    Returns:
        A record of status ``ok`` with the run's own cell and density; ``not_converged``; or
        ``failed`` with a reason. A term that the run's files do not tell is null, and the reason
        of an ``ok`` record says which.
    """
    header = {"engine": "outputs", "n_atoms": crystal.n_atoms}
    try:
        files = _run_of(crystal)
        if files is None:
            raise DataError(
                f"no finished run at {crystal.origin!r}: the engine outputs reads structures of "
                "the source outputs"
            )
        result = read_result(files, crystal.material_id, spec.demands(), log_path)
    except DataError as error:
        return Result({**header, "status": "failed", "reason": str(error)}, None)
    except MemoryError:
        return Result({**header, "status": "failed", "reason": "out of memory"}, None)
    # Files are whatever a user has: one that meets no check must not end the others.
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        return Result({**header, "status": "failed", "reason": reason}, None)
    record = {**header, **result.record}
    return Result(record, result.spectrum, result.crystal, result.potential)


def _run_of(crystal: Crystal) -> RunFiles | None:
    if crystal.origin is None:
        return None
    found = runs_at(Path(crystal.origin))
    return found[0] if found else None


def atom_identity(element: str, spec: OutputsSpec) -> dict[str, Any]:
    """The element, and the finished runs that may tell its energy.

    Raises:
        EngineError: ``atoms_path`` is not a folder.
    """
    return finished_identity(element, spec)


def atomic_reference(element: str, spec: OutputsSpec, log_path: Path) -> dict[str, Any]:
    """Energy of the isolated atom, given or from a finished run.

    Args:
        element: chemical symbol.
        spec: where the energy comes from.
        log_path: not used.

    Returns:
        A row of ``tables.ATOMS``; status ``failed`` with a reason where it cannot be had.

    Raises:
        EngineError: ``atoms_path`` is not a folder.
    """
    known = known_reference(element, spec, spec.demands())
    if known is not None:
        return known
    reason = f"no energy of the isolated {element} atom: set atoms_path or atomic_energies_ev"
    return {"element": element, "method": None, "status": "failed", "reason": reason}
