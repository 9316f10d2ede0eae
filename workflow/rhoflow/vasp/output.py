"""What a run's vasprun.xml or OUTCAR says, in one shape for both."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

_FUNCTIONAL_OF_GGA = {
    "PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "RE": "revPBE", "AM": "AM05", "91": "PW91",
    "CA": "LDA", "PZ": "LDA", "PW": "PW91", "BF": "BEEF", "OR": "optPBE", "MK": "optB86b",
    "BO": "optB88",
}  # fmt: skip
_OFF = ("", "--", "-", "NONE", "F", ".FALSE.")


@dataclass(frozen=True, eq=False)
class Bands:
    """Eigenvalues of the last ionic step.

    Attributes:
        energies: (n_spins, n_kpoints, n_bands) eV, on VASP's own zero.
        occupations: the same shape, 0 to 1.
    """

    energies: NDArray[np.float64]
    occupations: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Output:
    """One file's account of a run; what it does not say is None.

    Energies are those of the last electronic step of the last ionic step, eV a cell.

    Attributes:
        finished: whether VASP came to its regular end.
        version: as ``5.4.1``.
        functional: as ``PBE``, ``PBE+U``, ``hybrid``.
        symbols: (n_atoms,).
        valences: (n_atoms,) valence electrons of the POTCARs.
        n_electrons: NELECT.
        n_spins: 1 or 2; 1 for a non-collinear run.
        n_blocks: grids that its CHGCAR holds: 1, 2 with collinear spin, 4 if non-collinear.
        lattice: (3, 3) Å of the last ionic step.
        frac_coords: (n_atoms, 3) of the last ionic step.
        ionic_steps: how many there are.
        relaxes: whether the ions move towards a minimum (IBRION 1 to 3 and NSW above 1).
        electronic_converged: of the last ionic step.
        ionic_converged: whether the relaxation reached its criterion.
        stopped: whether a STOPCAR ended it.
        scf_iterations: of the last ionic step.
        icharg: 10 and more keep the density fixed.
        electrostatic_locpot: whether a LOCPOT of this run is free of exchange-correlation.
        total_energy: extrapolated to zero smearing, with a dispersion correction if there is one.
        one_electron_energy: EBANDS.
        ewald_energy: TEWEN.
        hartree_correction: DENC, which is minus the Hartree energy.
        fermi_level: eV, on VASP's own zero.
        n_kpoints: irreducible ones.
        bands: eigenvalues and occupations.
    """

    finished: bool
    version: str | None = None
    functional: str | None = None
    symbols: tuple[str, ...] | None = None
    valences: tuple[float, ...] | None = None
    n_electrons: float | None = None
    n_spins: int | None = None
    n_blocks: int | None = None
    lattice: NDArray[np.float64] | None = None
    frac_coords: NDArray[np.float64] | None = None
    ionic_steps: int | None = None
    relaxes: bool | None = None
    electronic_converged: bool | None = None
    ionic_converged: bool | None = None
    stopped: bool | None = None
    scf_iterations: int | None = None
    icharg: int | None = None
    electrostatic_locpot: bool | None = None
    total_energy: float | None = None
    one_electron_energy: float | None = None
    ewald_energy: float | None = None
    hartree_correction: float | None = None
    fermi_level: float | None = None
    n_kpoints: int | None = None
    bands: Bands | None = None


def merged(first: Output, second: Output) -> Output:
    """``first``, with what it lacks from ``second``; either may know that the run finished."""
    missing = {
        f.name: getattr(second, f.name) for f in fields(first) if getattr(first, f.name) is None
    }
    return replace(first, **missing, finished=first.finished or second.finished)


def number(text: str | bytes | None) -> float | None:
    """A finite number, or None: VASP fills fields that are too narrow with asterisks."""
    try:
        value = float(text) if text is not None else float("nan")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def integer(text: str | bytes | None) -> int | None:
    """A whole number, or None."""
    value = number(text)
    return None if value is None else round(value)


def flag(text: str | None) -> bool | None:
    """A Fortran logical, or None."""
    word = (text or "").strip().strip(".").upper()
    return {"T": True, "F": False}.get(word[:1])


def functional_name(settings: Mapping[str, str], titles: Sequence[str]) -> str | None:
    """The exchange-correlation functional that a run's settings and POTCARs stand for.

    Args:
        settings: GGA, METAGGA, LHFCALC, LUSE_VDW, IVDW, LVDW and LDAU of INCAR's names, as text.
        titles: of the POTCARs, as ``PAW_PBE Si 05Jan2001``.
    """
    text = {key: value.strip().upper() for key, value in settings.items()}
    if flag(text.get("LHFCALC")):
        name = "hybrid"
    elif text.get("METAGGA", "") not in _OFF:
        name = text["METAGGA"].strip()
    else:
        gga = text.get("GGA", "")
        name = _of_titles(titles) if gga in _OFF else _FUNCTIONAL_OF_GGA.get(gga[:2], f"GGA={gga}")
    if name is None:
        return None
    name += "+vdW-DF" if flag(text.get("LUSE_VDW")) else ""
    name += "+D" if has_dispersion(text) else ""
    return name + ("+U" if flag(text.get("LDAU")) else "")


def has_dispersion(settings: Mapping[str, str]) -> bool:
    """Whether the settings, as text, add a dispersion correction to the energy."""
    return bool(integer(settings.get("IVDW")) or flag(settings.get("LVDW")))


def _of_titles(titles: Sequence[str]) -> str | None:
    """PAW_PBE is PBE, PAW_GGA is PW91, PAW alone LDA; None where they disagree."""
    kinds = {(title.split() or [""])[0].upper() for title in titles}
    names = {"PAW_PBE": "PBE", "PAW_GGA": "PW91", "PAW": "LDA", "PAW_LDA": "LDA"}
    found = {names.get(kind) for kind in kinds}
    return found.pop() if len(found) == 1 else None


def electrostatic_locpot(settings: Mapping[str, str], version: str | None) -> bool | None:
    """Whether LOCPOT holds the electrostatic potential alone: LVHAR, or VASP before 5.2.12."""
    hartree_only = flag(settings.get("LVHAR"))
    if hartree_only is not None:
        return hartree_only
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version or "")
    if not match:
        return None
    return tuple(int(part or 0) for part in match.groups()) < (5, 2, 12)


def expanded(values: Sequence, counts: Sequence[int]) -> tuple | None:
    """One value an atom from one a type, None where the numbers of types differ."""
    if not values or len(values) != len(counts):
        return None
    return tuple(v for v, c in zip(values, counts, strict=True) for _ in range(c))
