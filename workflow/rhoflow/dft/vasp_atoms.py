"""Energies of isolated atoms for the engines that speak VASP: given, or from finished runs."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from rhoflow.crystal import known_elements
from rhoflow.dft.base import EngineSpec
from rhoflow.dft.vasp_terms import Demands, unconverged, unusable
from rhoflow.errors import DataError, EngineError
from rhoflow.vasp.folders import find_runs, home_path
from rhoflow.vasp.run import crystal_of, read_account

# Below this an atom feels its images; elemental crystals of one atom have far shorter edges.
MIN_BOX_ANGSTROM = 6.0


class AtomsSpec(EngineSpec):
    """Where the energies of isolated atoms come from."""

    atoms_path: str | None = Field(
        default=None,
        description="Folder of finished VASP runs of single atoms in boxes of at least 6 Å; of "
        "several runs of an element the lowest energy counts.",
    )
    atomic_energies_ev: dict[str, float] = Field(
        default_factory=dict,
        description="Energies of isolated atoms in eV, by element, with the settings of the "
        "crystals; they go before `atoms_path`.",
    )

    @field_validator("atomic_energies_ev")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        return known_elements(value)

    def crystal_settings(self) -> dict[str, Any]:
        """The settings that decide the numbers of a crystal, JSON-able."""
        settings = super().crystal_settings()
        return {k: v for k, v in settings.items() if k not in ("atoms_path", "atomic_energies_ev")}

    def atom_settings(self) -> dict[str, Any]:
        """The settings that decide the energies of isolated atoms, JSON-able."""
        return super().crystal_settings()


def finished_identity(element: str, spec: AtomsSpec) -> dict[str, Any]:
    """The element, with names, sizes and times of the files of finished runs of atoms.

    Raises:
        EngineError: ``atoms_path`` is not a folder.
    """
    folder = _folder(spec)
    identity = {"element": element}
    return identity if folder is None else {**identity, "files": _states(folder)}


def atoms_state(spec: EngineSpec) -> str:
    """SHA-256 of names, sizes and times of the finished runs of atoms that a spec names.

    It changes when a run is added, removed or done again. Empty where the engine takes no such
    runs, none are named, or the folder is missing.
    """
    path = getattr(spec, "atoms_path", None)
    if path is None or not home_path(path).is_dir():
        return ""
    return hashlib.sha256(json.dumps(_states(home_path(path))).encode()).hexdigest()


def _states(folder: Path) -> list[list[str | int]]:
    """Name within the folder, size and time (ns) of the files of its runs."""
    states: list[list[str | int]] = []
    for run in find_runs(folder):
        if run.problem:
            states.append([run.name, run.problem])
        for path in run.present():
            name = path.relative_to(folder).as_posix()
            try:
                state = path.stat()
            except OSError as error:
                states.append([name, error.errno or 0])
            else:
                states.append([name, state.st_size, state.st_mtime_ns])
    return states


def _folder(spec: AtomsSpec) -> Path | None:
    """The folder of finished runs of atoms, None where none is named.

    Raises:
        EngineError: it is not a folder.
    """
    if spec.atoms_path is None:
        return None
    folder = home_path(spec.atoms_path)
    if not folder.is_dir():
        raise EngineError(
            f"engines.NAME.atoms_path: '{folder}' is not a folder; expected the one that holds "
            "your finished VASP runs of isolated atoms"
        )
    return folder


def known_reference(element: str, spec: AtomsSpec, demands: Demands) -> dict[str, Any] | None:
    """A row of ``tables.ATOMS`` from the settings or from finished runs; None if neither tells.

    A folder of runs that holds none of this element is a failed row.

    Raises:
        EngineError: ``atoms_path`` is not a folder.
    """
    folder = _folder(spec)
    if element in spec.atomic_energies_ev:
        energy = spec.atomic_energies_ev[element]
        return {
            "element": element, "status": "ok", "reason": None, "method": "given",
            "energy_ev": energy,
        }  # fmt: skip
    if folder is None:
        return None
    row = {"element": element, "method": "finished run"}
    energies, problems = _energies(element, folder, demands)
    if energies:
        energy, note = min(energies)
        return {**row, "status": "ok", "reason": note or None, "energy_ev": energy}
    why = "; ".join(problems[:3]) or "no run of this atom alone in a box"
    reason = f"no energy of the isolated {element} atom in atoms_path '{folder}': {why}"
    return {**row, "status": "failed", "reason": reason}


def _energies(
    element: str, folder: Path, demands: Demands
) -> tuple[list[tuple[float, str]], list[str]]:
    """Energies (eV) of the usable runs of one atom of this element, and why others are not.

    With each energy comes what was accepted although it had not converged, if anything.
    """
    energies: list[tuple[float, str]] = []
    problems: list[str] = []
    for files in find_runs(folder):
        try:
            crystal = crystal_of(files)
            if crystal.symbols != (element,):
                continue
            edge = float(np.linalg.norm(crystal.lattice, axis=1).min())
            if edge < MIN_BOX_ANGSTROM:
                raise DataError(f"a box of {edge:.1f} Å, expected {MIN_BOX_ANGSTROM:g} at least")
            account = read_account(files)
            if account is None or account.total_energy is None:
                raise DataError("its energy is unknown")
            if problem := unusable(account, demands):
                raise DataError(problem if isinstance(problem, str) else problem.reason)
            lacking = unconverged(account)
            note = f"accepted although {lacking}" if lacking else ""
            energies.append((account.total_energy, note))
        except DataError as error:
            problems.append(f"{files.name}: {error}")
    return energies, problems
