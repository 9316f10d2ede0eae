"""From a finished VASP run to a record, a density and a potential, as ENERGIES.md defines them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rhoflow.crystal import Crystal
from rhoflow.density.ewald import ion_energy
from rhoflow.density.spectrum import Spectrum, electron_tolerance, from_grid, hartree_energy
from rhoflow.dft.bands import band_terms
from rhoflow.dft.base import Result
from rhoflow.dft.xc import pbe_energies
from rhoflow.errors import DataError
from rhoflow.vasp.folders import RunFiles
from rhoflow.vasp.outcar import read_potcar
from rhoflow.vasp.output import Output, expanded
from rhoflow.vasp.run import (
    SAME_PLACE_ANGSTROM,
    Density,
    displacement,
    read_account,
    read_density,
    read_potential,
)

# Our Ewald sum and VASP's agree to 1.5e-5 (VASP's constants); a wrong valence or structure does
# not come near this.
EWALD_TOLERANCE = 1e-3
# DENC is that of the density before the last mixing, and printed for other purposes.
HARTREE_TOLERANCE = 0.05
HARTREE_SLACK_EV_PER_ATOM = 0.2


@dataclass(frozen=True)
class Demands:
    """What a run must be to be taken.

    Attributes:
        functional: as ``PBE``; None accepts any.
        accept_unconverged: take runs that ended before they converged.
    """

    functional: str | None = "PBE"
    accept_unconverged: bool = False


class NotConverged(NamedTuple):
    """Why a run counts as not converged."""

    reason: str


@dataclass(frozen=True, eq=False)
class Finished:
    """A run, read and checked.

    Attributes:
        crystal: the run's own cell, with the precise positions where they are known.
        density: from its CHGCAR.
        account: from vasprun.xml and OUTCAR, None where there is neither.
        valences: (n_atoms,) valence electrons of the ions, None where unknown.
        notes: what the record's reader should know.
    """

    crystal: Crystal
    density: Density
    account: Output | None
    valences: tuple[float, ...] | None
    notes: list[str] = field(default_factory=list)


def read_result(files: RunFiles, name: str, demands: Demands, log_path: Path) -> Result:
    """One run as an engine's result.

    Args:
        files: of the run.
        name: material id.
        demands: which runs are taken.
        log_path: gets the files used and how the terms compare with VASP's own.

    Raises:
        DataError: the run is unusable; the message is one line.
    """
    account = read_account(files)
    if account is not None and (problem := unusable(account, demands)):
        if isinstance(problem, NotConverged):
            record = {**_header(account), "status": "not_converged", "reason": problem.reason}
            return Result(record, None)
        raise DataError(problem)
    run = check(files, name, account)
    if account is not None and (lacking := unconverged(account)):
        run.notes.insert(0, f"accepted although {lacking}")
    spectrum = from_grid(run.density.total, run.crystal.lattice, run.crystal.n_atoms)
    terms = energy_terms(run, spectrum)
    potential = _potential(files, run)
    record = {**_header(account), **terms, "status": "ok", "reason": "; ".join(run.notes) or None}
    log_path.write_text(_report(files, run, terms), encoding="utf-8")
    return Result(record, spectrum, crystal=run.crystal, potential=potential)


def _header(account: Output | None) -> dict[str, Any]:
    version = account.version if account else None
    return {"engine_version": f"VASP {version}" if version else "VASP, version unknown"}


def unusable(account: Output, demands: Demands) -> str | NotConverged:
    """Why a run is not taken, by its own account; empty if it is."""
    if (account.icharg or 0) >= 10:
        return (
            f"ICHARG = {account.icharg}: bands at a fixed density, and its CHGCAR is not this "
            "run's; give the folder of the self-consistent run"
        )
    named = account.functional
    if demands.functional and named and named != demands.functional:
        return (
            f"computed with {named}, expected {demands.functional} (functional: null in the "
            "engine's settings takes any)"
        )
    lacking = "" if demands.accept_unconverged else unconverged(account)
    return NotConverged(lacking) if lacking else ""


def unconverged(account: Output) -> str:
    """What had not converged when the run ended; empty if all had."""
    if account.electronic_converged is False:
        why = "stopped by a STOPCAR" if account.stopped else "NELM reached"
        return (
            f"not self-consistent: {account.scf_iterations} electronic steps in ionic step "
            f"{account.ionic_steps} ({why})"
        )
    if account.ionic_converged is False:
        why = ", stopped by a STOPCAR" if account.stopped else ""
        return (
            f"ions not relaxed when the run ended (ionic steps: {account.ionic_steps}{why}); "
            "accept_unconverged takes the last step"
        )
    return ""


def check(files: RunFiles, name: str, account: Output | None) -> Finished:
    """Read the density and hold it against the run's account.

    Raises:
        DataError: they do not belong together.
    """
    density = read_density(files)
    crystal = replace(density.crystal, material_id=name, origin=str(files.origin))
    valences = account.valences if account else None
    notes: list[str] = []
    if account is None:
        notes.append("no vasprun.xml or OUTCAR: energies, gap and Fermi level are unknown")
    elif account.lattice is not None and account.frac_coords is not None:
        crystal = _same_structure(crystal, account)
    if valences is None and files.potcar is not None:
        heads = read_potcar(files.potcar)
        valences = expanded(heads.valences, _counts(crystal))
    if valences is not None and len(valences) != crystal.n_atoms:
        raise DataError(f"{len(valences)} atoms in the POTCAR's account, {crystal.n_atoms} in all")
    if valences is None:
        notes.append("no file tells the ions' valence (ZVAL): E_I is unknown")
    _same_spin(density, account)
    _same_electrons(density, account, crystal)
    return Finished(crystal, density, account, valences, notes)


def _same_spin(density: Density, account: Output | None) -> None:
    found, expected = 1 + len(density.magnetisation), account.n_blocks if account else None
    if expected is None or found == expected:
        return
    if (found, expected) == (1, 2):
        raise DataError("CHGCAR is truncated: ISPIN = 2, but it holds no magnetisation")
    raise DataError(
        f"CHGCAR holds {found} grid{'s' if found > 1 else ''}, a run of this ISPIN and "
        f"LNONCOLLINEAR writes {expected}: "
        + ("it is truncated" if found < expected else "it is another run's")
    )


def _counts(crystal: Crystal) -> list[int]:
    """Atoms of each run of equal symbols, in the order of the cell."""
    counts: list[int] = []
    previous = None
    for symbol in crystal.symbols:
        if symbol == previous:
            counts[-1] += 1
        else:
            counts.append(1)
        previous = symbol
    return counts


def _same_structure(crystal: Crystal, account: Output) -> Crystal:
    """The cell with the account's positions, which have more digits than CHGCAR's.

    Raises:
        DataError: CHGCAR belongs to another structure.
    """
    lattice, coords = account.lattice, account.frac_coords
    assert lattice is not None
    assert coords is not None
    if len(coords) != crystal.n_atoms or (account.symbols or crystal.symbols) != crystal.symbols:
        raise DataError(
            f"CHGCAR holds {_formula(crystal.symbols)}, the run "
            f"{_formula(account.symbols or ())}: they do not belong together"
        )
    edge = float(np.abs(crystal.lattice - lattice).max())
    if edge > SAME_PLACE_ANGSTROM:
        raise DataError(
            f"CHGCAR's cell differs from that of the last of {account.ionic_steps} ionic steps by "
            f"{edge:.3f} Å: it belongs to another run or an earlier step"
        )
    moved = displacement(crystal.lattice, crystal.frac_coords, coords)
    if moved > SAME_PLACE_ANGSTROM:
        raise DataError(
            f"CHGCAR's atoms lie up to {moved:.3f} Å from those of the last of "
            f"{account.ionic_steps} ionic steps: it belongs to another run or an earlier step"
        )
    return replace(crystal, frac_coords=coords)


def _formula(symbols: tuple[str, ...]) -> str:
    kinds = dict.fromkeys(symbols)
    return "".join(f"{kind}{symbols.count(kind)}" for kind in kinds) or "nothing"


def _same_electrons(density: Density, account: Output | None, crystal: Crystal) -> None:
    found = density.n_electrons
    expected = account.n_electrons if account and account.n_electrons else None
    if expected is None:
        if found <= 0.5:
            raise DataError(f"CHGCAR holds {found:.4f} electrons; is it a valence density?")
        return
    if not abs(found - expected) <= electron_tolerance(crystal.n_atoms):
        raise DataError(
            f"CHGCAR holds {found:.4f} electrons, the run {expected:g} (NELECT): it is another "
            "run's, or a partial or magnetisation density"
        )


def energy_terms(run: Finished, spectrum: Spectrum) -> dict[str, Any]:
    """Columns of ``DFT_RECORDS``, eV a cell.

    Raises:
        DataError: a term contradicts what VASP printed, or is not finite.
    """
    values = density_terms(run, spectrum)
    wrong = [name for name, v in values.items() if v is not None and not np.isfinite(v)]
    if wrong:
        raise DataError(f"CHGCAR's values are no density: {', '.join(wrong)} not finite")
    account = run.account
    if account is None:
        return values
    _compare(values, account, run.crystal.n_atoms)
    values |= {
        "total_energy_ev": account.total_energy,
        "one_electron_energy_ev": account.one_electron_energy,
        "fermi_level_ev": account.fermi_level,
        "scf_iterations": account.scf_iterations,
        "n_kpoints": account.n_kpoints,
    }
    missing = [n for n in ("total_energy_ev", "one_electron_energy_ev") if values[n] is None]
    if missing:
        run.notes.append(f"the run does not tell {' and '.join(missing)}")
    if account.bands is None:
        run.notes.append("the run tells no eigenvalues: gap and band width are unknown")
    else:
        values |= band_terms(account.bands.energies, account.bands.occupations, account.fermi_level)
    return values


def density_terms(run: Finished, spectrum: Spectrum) -> dict[str, Any]:
    """The columns that follow from density, cell and valences alone."""
    with np.errstate(over="ignore", invalid="ignore"):  # answered by the caller's check
        xc_energy, xc_potential = pbe_energies(run.density.spins(), run.crystal.lattice)
        hartree = hartree_energy(spectrum)
    known = run.account.n_electrons if run.account else None
    without_spin = run.account is not None and run.account.n_blocks == 1
    return {
        "n_valence_electrons": known or _whole(run),
        "hartree_energy_ev": hartree,
        "xc_energy_ev": xc_energy,
        "xc_potential_energy_ev": xc_potential,
        "ion_energy_ev": run.valences and ion_energy(run.crystal, run.valences),
        "magnetic_moment_bohr": 0.0 if without_spin else run.density.moment,
        "volume_angstrom3": run.crystal.volume,
    }


def _whole(run: Finished) -> float:
    """The integral of a density, a whole number where it is one but for the grid's error."""
    found = run.density.n_electrons
    near = abs(found - round(found)) <= electron_tolerance(run.crystal.n_atoms) / 2
    return float(round(found)) if near else found


def _compare(values: dict[str, Any], account: Output, n_atoms: int) -> None:
    """Our E_I against TEWEN and E_H against -DENC: of one run, they agree."""
    ion, hartree = values["ion_energy_ev"], values["hartree_energy_ev"]
    ewald, correction = account.ewald_energy, account.hartree_correction
    if ion is not None and ewald is not None and abs(ion - ewald) > EWALD_TOLERANCE * abs(ewald):
        raise DataError(
            f"E_I of the structure and ZVAL is {ion:.3f} eV, but TEWEN is {ewald:.3f} eV: they "
            "are not of one run"
        )
    if correction is None:
        return
    slack = HARTREE_TOLERANCE * abs(hartree) + HARTREE_SLACK_EV_PER_ATOM * n_atoms
    if abs(hartree + correction) > slack:
        raise DataError(
            f"E_H of CHGCAR is {hartree:.3f} eV, but -DENC is {-correction:.3f} eV: CHGCAR is not "
            "this run's"
        )


def _potential(files: RunFiles, run: Finished) -> Spectrum | None:
    """The electrostatic potential of LOCPOT; a note where there is a file that is no use."""
    if files.locpot is None:
        return None
    if run.account is not None and run.account.electrostatic_locpot is not True:
        run.notes.append("LOCPOT holds exchange and correlation too (LVHAR gives it without)")
        return None
    if run.account is None:
        run.notes.append("LOCPOT is not used: without OUTCAR its content is unknown")
        return None
    try:
        header, values = read_potential(files.locpot)
        apart = np.abs(header.lattice - run.crystal.lattice).max()
        if apart > SAME_PLACE_ANGSTROM or len(header.frac_coords) != run.crystal.n_atoms:
            raise DataError(f"{files.locpot.name} belongs to another structure")
    except DataError as error:
        run.notes.append(f"no potential: {error}")
        return None
    values -= values.mean()
    return from_grid(values, run.crystal.lattice, run.crystal.n_atoms)


def _report(files: RunFiles, run: Finished, terms: dict[str, Any]) -> str:
    account = run.account
    lines = [f"run {files.name}", *(f"file {p.name}" for p in files.present())]
    if account is not None:
        lines += [
            f"functional {account.functional}",
            f"ionic steps {account.ionic_steps}",
            f"E_H {terms['hartree_energy_ev']:.6f} eV, -DENC {_minus(account.hartree_correction)}",
            f"E_I {terms['ion_energy_ev']} eV, TEWEN {account.ewald_energy}",
        ]
    lines.append(f"electrons in CHGCAR {run.density.n_electrons:.6f}")
    return "\n".join([*lines, *run.notes]) + "\n"


def _minus(value: float | None) -> str:
    return "unknown" if value is None else f"{-value:.6f} eV"
