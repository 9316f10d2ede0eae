"""VASP with the user's licence: its settings, and prepare, run and parse behind one protocol.

Inputs come from a preset that is data (``presets``), custodian runs the site's command, and the
outputs are read by the same code as finished runs (``vasp_terms``).
"""

import re
import shlex
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from rhoflow.crystal import Crystal, known_elements
from rhoflow.dft.base import Result, SpinSpec, structure_identity
from rhoflow.dft.vasp_atoms import (
    AtomsSpec,
    finished_identity,
    known_reference,
)
from rhoflow.dft.vasp_inputs import (
    Inputs,
    atom_inputs,
    crystal_inputs,
    load_preset,
    potcar_symbol,
    preset_names,
)
from rhoflow.dft.vasp_potcar import SYMBOL, fingerprint, highest_cutoff, licensed_folder, potcar
from rhoflow.dft.vasp_run import check_command, new_folder, run, settle
from rhoflow.dft.vasp_terms import Demands, read_result
from rhoflow.errors import DataError, EngineError, did_you_mean
from rhoflow.vasp.folders import runs_at
from rhoflow.vasp.output import has_dispersion
from rhoflow.vasp.run import SAME_PLACE_ANGSTROM, displacement, read_account

# Tags that settings of their own decide, or that would change what is computed.
OWN_TAGS = (
    "SYSTEM", "ISPIN", "MAGMOM", "NUPDOWN", "ISTART", "ICHARG", "NSW", "IBRION", "ISIF", "LCHARG",
    "LVHAR", "LVTOT", "LPARD", "KSPACING", "KGAMMA", "GGA", "METAGGA", "LHFCALC", "LNONCOLLINEAR",
    "LSORBIT", "LUSE_VDW", "LDAU", "NELECT",
)  # fmt: skip
_TAG = re.compile(r"^[A-Z][A-Z0-9_]{1,30}$")
_TEXT = re.compile(r"^[-+.A-Za-z0-9_ *]{1,200}$")
Value = bool | int | float | str | list[int] | list[float]

_SITE = ("potcar_folder", "command", "tasks", "nodes", "max_errors", "keep")
_CRYSTALS_ONLY = ("kpoint_density", "spin_polarised", "initial_moments")


class VaspSpec(AtomsSpec, SpinSpec):
    """Settings of a self-consistent calculation with VASP."""

    kind: Literal["vasp"] = Field(default="vasp", description="VASP, with the user's licence")
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    preset: str = Field(
        default="pbe", description="Name of a preset: pbe is PBE, PAW and 500 eV as in the paper."
    )
    incar: dict[str, Value] = Field(
        default_factory=dict,
        description="INCAR tags that go before the preset's, as in {ENCUT: 520, NCORE: 4}.",
    )
    kpoint_density: float | None = Field(
        default=None,
        gt=0,
        le=50,
        description="k-points per 1/Å, the mesh even and with Γ; null: the preset's (3).",
    )
    potcar_symbols: dict[str, str] = Field(
        default_factory=dict,
        description="POTCAR of an element where not the preset's, as in {Ti: Ti_pv}. They decide "
        "the number of valence electrons: keep one choice for a data set.",
    )
    potcar_folder: str | None = Field(
        default=None,
        description="Your licensed folder, holding potpaw_PBE/Ti/POTCAR or "
        "POT_GGA_PAW_PBE/Ti/POTCAR (plain, .gz or .Z); null: inputs can be written, with "
        "POTCAR.spec, but not run.",
    )
    command: str | tuple[str, ...] = Field(
        default=(),
        description="How the site starts VASP, as in 'srun vasp_std'; no shell reads it.",
    )
    tasks: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="MPI tasks that `command` starts; a job asks the cluster for them.",
    )
    nodes: int = Field(
        default=1, ge=1, le=10_000, description="Nodes over which the MPI tasks are spread."
    )
    max_errors: int = Field(
        default=5, ge=1, le=50, description="Corrections after which custodian gives up."
    )
    keep: tuple[Literal["CHGCAR", "LOCPOT", "OUTCAR", "OSZICAR", "vasprun.xml"], ...] = Field(
        default=("OUTCAR", "vasprun.xml"),
        description="Output files that are kept, packed, beside the inputs.",
    )
    box_angstrom: float = Field(
        default=12.0,
        ge=6,
        le=40,
        description="Shortest edge in Å of the box in which isolated atoms are computed, those "
        "without a given energy.",
    )

    @field_validator("preset")
    @classmethod
    def _preset_exists(cls, value: str) -> str:
        if value not in preset_names():
            raise ValueError(f"no preset '{value}'{did_you_mean(value, preset_names())}")
        return value

    @field_validator("incar")
    @classmethod
    def _safe_tags(cls, value: dict[str, Value]) -> dict[str, Value]:
        for tag, setting in value.items():
            if not _TAG.match(tag):
                raise ValueError(f"'{tag}' is no INCAR tag; write it in capitals")
            if tag in OWN_TAGS:
                raise ValueError(f"{tag} is decided by other settings or the preset; leave it out")
            if isinstance(setting, str) and not _TEXT.match(setting):
                raise ValueError(f"{tag}: {setting!r} is no value of an INCAR tag")
            if tag == "ENCUT" and (isinstance(setting, bool | str | list) or setting <= 0):
                raise ValueError(f"ENCUT: {setting!r} is no cutoff; expected a number in eV")
        return value

    @field_validator("potcar_symbols")
    @classmethod
    def _safe_symbols(cls, value: dict[str, str]) -> dict[str, str]:
        for element, name in known_elements(value).items():
            if not re.match(SYMBOL, name) or re.split(r"[_.]", name)[0] != element:
                raise ValueError(f"'{name}' is no POTCAR of {element}; expected as in Ti_pv")
        return value

    @field_validator("command")
    @classmethod
    def _as_arguments(cls, value: str | tuple[str, ...]) -> tuple[str, ...]:
        return tuple(shlex.split(value)) if isinstance(value, str) else value

    def crystal_settings(self) -> dict[str, Any]:
        """The settings that decide the numbers of a crystal, JSON-able."""
        settings = super().crystal_settings()
        return {k: v for k, v in settings.items() if k not in ("box_angstrom", *_SITE)}

    def atom_settings(self) -> dict[str, Any]:
        """The settings that decide the energies of isolated atoms, JSON-able."""
        settings = super().atom_settings()
        return {k: v for k, v in settings.items() if k not in (*_CRYSTALS_ONLY, *_SITE)}

    def site_settings(self) -> dict[str, Any]:
        """Where the licence lies, how VASP is started and what is kept of a run, JSON-able."""
        settings = self.model_dump(mode="json")
        return {name: settings[name] for name in _SITE}

    def demands(self) -> Demands:
        """What a run must be to be taken."""
        tags = {tag: str(value) for tag, value in self.incar.items()}
        dispersion = "+D" if has_dispersion(tags) else ""
        return Demands(load_preset(self.preset).functional + dispersion)


SPEC = VaspSpec
IN_PROCESS = False


def version() -> str:
    """The version of what runs VASP; VASP's own is in each record.

    Raises:
        EngineError: custodian is not installed.
    """
    try:
        return f"VASP, custodian {installed_version('custodian')}"
    except PackageNotFoundError as error:
        raise EngineError(
            "engine vasp: the package custodian is not installed in this environment; install "
            "envs/dft.yaml (pip install custodian)"
        ) from error


def identity(crystal: Crystal, spec: VaspSpec) -> dict[str, Any]:
    """The structure and the POTCARs.

    Raises:
        EngineError: the licensed folder is not set or missing.
    """
    folder, title = licensed_folder(spec.potcar_folder), load_preset(spec.preset).title
    names = sorted({potcar_symbol(symbol, spec) for symbol in crystal.symbols})
    return {
        **structure_identity(crystal),
        "potcars": {name: fingerprint(folder, name, title) for name in names},
    }


def prepare(crystal: Crystal, spec: VaspSpec, folder: Path) -> None:
    """Write INCAR, POSCAR, KPOINTS and POTCAR.spec into a folder; no licence is needed."""
    _write(crystal_inputs(crystal, spec), folder)


def prepare_atom(element: str, spec: VaspSpec, folder: Path) -> None:
    """The same for an isolated atom in a box."""
    _write(atom_inputs(element, spec), folder)


def _write(inputs: Inputs, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in inputs.files.items():
        (folder / name).write_text(text, encoding="utf-8")


def calculate(crystal: Crystal, spec: VaspSpec, log_path: Path) -> Result:
    """One self-consistent calculation, in a folder beside the log.

    Args:
        crystal: any cell.
        spec: the settings.
        log_path: gets how the terms compare with VASP's own; the run's folder has in the end
            the same name with the ending ``.vasp``.

    Returns:
        A record of status ``ok`` with its density; ``not_converged``; or ``failed`` with a
        reason.

    Raises:
        EngineError: no licensed folder, no such command, or custodian is not installed.
    """
    header = {"engine": "vasp", "n_atoms": crystal.n_atoms}
    folder = new_folder(log_path, spec.keep)
    try:
        inputs = crystal_inputs(crystal, spec)
        problem, corrected = _run(inputs, spec, folder)
        result = _parse(crystal, inputs, spec, folder, log_path, problem)
    except EngineError:
        settle(folder, log_path, spec.keep, failed=True)
        raise
    # VASP, custodian and their files fail in more ways than can be listed; one structure's must
    # not end the others.
    except Exception as error:
        settle(folder, log_path, spec.keep, failed=True)
        return Result({**header, "status": "failed", "reason": _reason(error)}, None)
    unsettled = settle(folder, log_path, spec.keep, failed=result.spectrum is None)
    record = {**header, **result.record}
    told = f"custodian corrected: {', '.join(corrected)}" if corrected else ""
    if record["status"] == "ok":
        record["reason"] = "; ".join(filter(None, [told, record["reason"], unsettled])) or None
    return replace(result, record=record)


def _reason(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")[:300]
    return first if isinstance(error, DataError) else f"{type(error).__name__}: {first}"


def _run(inputs: Inputs, spec: VaspSpec, folder: Path) -> tuple[str, list[str]]:
    """Write the inputs with their POTCAR and run them."""
    licensed, title = licensed_folder(spec.potcar_folder), load_preset(spec.preset).title
    check_command(spec.command)
    potcars = [potcar(licensed, name, title) for name in inputs.potcar_symbols]
    cutoff = float({**load_preset(spec.preset).incar, **spec.incar}["ENCUT"])
    for name, content in zip(inputs.potcar_symbols, potcars, strict=True):
        if highest_cutoff(content) > cutoff:
            raise DataError(
                f"POTCAR of {name} needs a cutoff of {highest_cutoff(content):g} eV, ENCUT is "
                f"{cutoff:g} eV: choose a softer one (potcar_symbols) or raise ENCUT"
            )
    _write(inputs, folder)
    (folder / "POTCAR").write_bytes(b"".join(potcars))
    return run(folder, spec.command, spec.max_errors, tasks=spec.tasks)


def _parse(
    crystal: Crystal, inputs: Inputs, spec: VaspSpec, folder: Path, log_path: Path, problem: str
) -> Result:
    """Read the run; on the given crystal's lattice and order of atoms.

    Raises:
        DataError: it failed, or computed another structure.
    """
    found = runs_at(folder)
    try:
        if not found:
            raise DataError("VASP wrote no output")
        result = read_result(found[0], crystal.material_id, spec.demands(), log_path)
    except DataError as error:
        raise DataError(problem or str(error)) from error
    if result.spectrum is None or result.crystal is None:
        return result
    if problem:
        raise DataError(problem)
    computed = result.crystal.frac_coords
    if displacement(crystal.lattice, crystal.frac_coords[inputs.order], computed) > (
        SAME_PLACE_ANGSTROM
    ):
        raise DataError("VASP computed another structure than its POSCAR: custodian moved atoms")
    lattice = np.asarray(crystal.lattice, dtype=np.float64)
    potential = result.potential and replace(result.potential, lattice=lattice)
    spectrum = replace(result.spectrum, lattice=lattice)
    return Result(result.record, spectrum, potential=potential)


def atom_identity(element: str, spec: VaspSpec) -> dict[str, Any]:
    """The element, and the finished runs that may tell its energy.

    Raises:
        EngineError: ``atoms_path`` is not a folder.
    """
    return finished_identity(element, spec)


def atomic_reference(element: str, spec: VaspSpec, log_path: Path) -> dict[str, Any]:
    """Energy of the isolated atom: given, from a finished run, or computed in a box.

    Args:
        element: chemical symbol.
        spec: the settings.
        log_path: the run's folder has the same name with the ending ``.vasp``.

    Returns:
        A row of ``tables.ATOMS``; status ``failed`` with a reason where it cannot be had.

    Raises:
        EngineError: no licensed folder, no such command, no such ``atoms_path``, or custodian is
            not installed.
    """
    known = known_reference(element, spec, spec.demands())
    if known is not None:
        return known
    row = {"element": element, "method": "boxed atom"}
    folder = new_folder(log_path, spec.keep)
    try:
        problem, _ = _run(atom_inputs(element, spec), spec, folder)
        found = runs_at(folder)
        account = read_account(found[0]) if found else None
        if problem or account is None or account.total_energy is None:
            raise DataError(problem or "VASP wrote no energy")
        if account.electronic_converged is False:
            raise DataError(f"not self-consistent after {account.scf_iterations} iterations")
    except EngineError:
        settle(folder, log_path, spec.keep, failed=True)
        raise
    # As in ``calculate``: an atom that fails is a row with a reason.
    except Exception as error:
        settle(folder, log_path, spec.keep, failed=True)
        return {**row, "status": "failed", "reason": _reason(error)}
    unsettled = settle(folder, log_path, spec.keep, failed=False)
    return {**row, "status": "ok", "reason": unsettled or None, "energy_ev": account.total_energy}
