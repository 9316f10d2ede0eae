"""Energies of isolated atoms for the engines that speak VASP: given, or from finished runs."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from rhoflow.crystal import known_elements
from rhoflow.dft.base import EngineSpec
from rhoflow.dft.vasp_terms import Demands, unusable
from rhoflow.errors import DataError
from rhoflow.vasp.folders import find_runs
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
    """The element, with names, sizes and times of the files of finished runs of atoms."""
    identity = {"element": element}
    if spec.atoms_path is None or not Path(spec.atoms_path).expanduser().is_dir():
        return identity
    files = [p for run in find_runs(Path(spec.atoms_path).expanduser()) for p in run.present()]
    states = [(str(path), path.stat()) for path in files]
    return {**identity, "files": [[n, s.st_size, s.st_mtime_ns] for n, s in states]}


def known_reference(element: str, spec: AtomsSpec, demands: Demands) -> dict[str, Any] | None:
    """A row of ``tables.ATOMS`` from the settings or from finished runs; None if neither tells.

    A folder of runs that holds none of this element is a failed row.
    """
    if element in spec.atomic_energies_ev:
        energy = spec.atomic_energies_ev[element]
        return {
            "element": element, "status": "ok", "reason": None, "method": "given",
            "energy_ev": energy,
        }  # fmt: skip
    if spec.atoms_path is None:
        return None
    row = {"element": element, "method": "finished run"}
    folder = Path(spec.atoms_path).expanduser()
    if not folder.is_dir():
        return {**row, "status": "failed", "reason": f"atoms_path: '{folder}' is not a folder"}
    energies, problems = _energies(element, folder, demands)
    if energies:
        return {**row, "status": "ok", "reason": None, "energy_ev": min(energies)}
    why = "; ".join(problems[:3]) or "it holds no run of this atom alone in a box"
    return {**row, "status": "failed", "reason": f"no energy of the isolated {element} atom: {why}"}


def _energies(element: str, folder: Path, demands: Demands) -> tuple[list[float], list[str]]:
    """Energies (eV) of the usable runs of one atom of this element, and why others are not."""
    energies: list[float] = []
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
            energies.append(account.total_energy)
        except DataError as error:
            problems.append(f"{files.name}: {error}")
    return energies, problems
