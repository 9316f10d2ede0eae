"""vasprun.xml, read as it streams by: neither a truncated nor a huge file needs a whole tree."""

import re
from pathlib import Path
from typing import NamedTuple, cast
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import DataError
from rhoflow.vasp.output import (
    Bands,
    Output,
    electrostatic_locpot,
    flag,
    functional_name,
    integer,
    number,
)
from rhoflow.vasp.stream import open_binary

_CHUNK = 1 << 18
# Runs with thousands of k-points and projections come near; a packed bomb goes beyond.
_MAX_BYTES = 2 << 30
# What is not read and may be large: densities of states, projections, response functions.
_SKIPPED = {"total", "partial", "dynmat", "dielectricfunction", "opticaltransitions"}


class _Structure(NamedTuple):
    lattice: NDArray[np.float64]
    frac_coords: NDArray[np.float64]


class _Reader:
    """Collects what ``Output`` needs while elements end one after the other."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.generator: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        self.atoms: list[tuple[str, ...]] = []
        self.types: list[tuple[str, ...]] = []
        self.n_kpoints: int | None = None
        self.ionic_steps = 0
        self.step: dict[str, str] = {}
        self.step_energy: dict[str, str] = {}
        self.scf_iterations = 0
        self.structure: _Structure | None = None
        self.fermi: str | None = None
        self.levels: dict[tuple[int, int], NDArray[np.float64]] = {}
        self.spin = 0

    def start(self, element: ElementTree.Element) -> None:
        self.path.append(element.tag)
        inside = self.path[1:]
        if inside == ["calculation"]:
            self.ionic_steps += 1
            self.scf_iterations = 0
            self.step, self.step_energy, self.levels = {}, {}, {}
        elif element.tag == "set" and "eigenvalues" in inside:
            match = re.match(r"spin\s*(\d+)", element.get("comment", ""))
            self.spin = int(match[1]) if match else self.spin

    def end(self, element: ElementTree.Element) -> None:
        inside = tuple(self.path[1:])
        match inside:
            case ("generator",):
                self.generator = _values(element)
            case ("incar",) | ("parameters",):
                self.settings.update(_values(element))
            case ("kpoints", "varray") if element.get("name") == "weights":
                self.n_kpoints = len(element)
            case ("atominfo", "array"):
                rows = [tuple((c.text or "").strip() for c in rc) for rc in element.iter("rc")]
                setattr(self, "types" if element.get("name") == "atomtypes" else "atoms", rows)
            case _ if inside[:1] == ("calculation",):
                self._end_in_step(element, inside[1:])
        if len(inside) == 1 or _done_with(inside):
            element.clear()
        self.path.pop()

    def _end_in_step(self, element: ElementTree.Element, inside: tuple[str, ...]) -> None:
        match inside:
            case ("scstep",):
                self.scf_iterations += 1
            case ("scstep", "energy"):
                self.step = _values(element)
            case ("energy",):
                self.step_energy = _values(element)
            case ("structure",):
                self.structure = _structure(element)
            case ("dos", "i") if element.get("name") == "efermi":
                self.fermi = element.text
            case ("eigenvalues", "array", "set", "set", "set") | (
                "projected", "eigenvalues", "array", "set", "set", "set",
            ):  # fmt: skip
                self._kpoint(element)

    def _kpoint(self, element: ElementTree.Element) -> None:
        match = re.match(r"kpoint\s*(\d+)", element.get("comment", ""))
        rows = [[number(f) for f in (r.text or "").split()[:2]] for r in element.iter("r")]
        good = all(len(row) == 2 and None not in row for row in rows)
        if match and rows and good:
            key = (max(self.spin, 1), int(match[1]))
            self.levels.setdefault(key, np.array(rows, dtype=np.float64))


def _done_with(inside: tuple[str, ...]) -> bool:
    """Whether an element inside a calculation is not needed by its parent any more."""
    if inside[:1] != ("calculation",):
        return False
    return len(inside) == 2 or bool(_SKIPPED & set(inside[1:-1])) or inside[-1] in ("set", "scstep")


def read_vasprun(path: Path) -> tuple[Output, str]:
    """What a vasprun.xml says.

    Returns:
        The account, and a reason why it is incomplete: empty for a whole file. An incomplete one
        has ``finished`` false and holds what came before the break.

    Raises:
        DataError: the file is empty, unreadable or a damaged archive.
    """
    parser = ElementTree.XMLPullParser(["start", "end"])
    reader = _Reader()
    broken, size = "", 0
    with open_binary(path) as stream:
        what = "is not valid XML"
        try:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > _MAX_BYTES:
                    raise DataError(f"{path.name} is larger than {_MAX_BYTES >> 30} GB")
                parser.feed(chunk)
                _drain(parser, reader, path.name)
            what = "is truncated"
            parser.close()
        except ElementTree.ParseError as error:
            broken = f"{path.name} {what} (line {error.position[0]})"
        _drain(parser, reader, path.name)
    if not reader.ionic_steps and not broken:
        broken = f"{path.name} holds no calculation: the run stopped before its first step"
    return _output(reader, not broken), broken


def _drain(parser: ElementTree.XMLPullParser, reader: _Reader, name: str) -> None:
    try:
        for event in parser.read_events():
            kind, element = cast(tuple[str, ElementTree.Element], event)
            (reader.start if kind == "start" else reader.end)(element)
    except (IndexError, ValueError) as error:
        raise DataError(f"{name} is not one of VASP's ({error})") from error


def _output(reader: _Reader, whole: bool) -> Output:
    settings = reader.settings
    version = reader.generator.get("version") or None
    counts = [int(row[0]) for row in reader.types if row and row[0].isdigit()]
    titles = [row[-1] for row in reader.types]
    nsw, ibrion = integer(settings.get("NSW")) or 0, integer(settings.get("IBRION"))
    relaxes = nsw > 1 and ibrion in (1, 2, 3)
    nelm = integer(settings.get("NELM"))
    steps = reader.ionic_steps
    structure = reader.structure
    return Output(
        finished=whole,
        version=version,
        functional=functional_name(settings, titles),
        symbols=tuple(_symbol(row[0]) for row in reader.atoms if row) or None,
        valences=_valences(reader, counts),
        n_electrons=number(settings.get("NELECT")),
        n_spins=1 if flag(settings.get("LNONCOLLINEAR")) else integer(settings.get("ISPIN")),
        n_blocks=4 if flag(settings.get("LNONCOLLINEAR")) else integer(settings.get("ISPIN")),
        lattice=structure and structure.lattice,
        frac_coords=structure and structure.frac_coords,
        ionic_steps=steps,
        relaxes=relaxes,
        electronic_converged=None if nelm is None or not steps else reader.scf_iterations < nelm,
        ionic_converged=not relaxes or steps < nsw,
        scf_iterations=reader.scf_iterations,
        icharg=integer(settings.get("ICHARG")),
        electrostatic_locpot=electrostatic_locpot(settings, version),
        total_energy=_total_energy(reader),
        one_electron_energy=number(reader.step.get("bandstr")),
        ewald_energy=number(reader.step.get("ewald")),
        hartree_correction=number(reader.step.get("hartreedc")),
        fermi_level=number(reader.fermi),
        n_kpoints=reader.n_kpoints or None,
        bands=_bands(reader.levels),
    )


def _total_energy(reader: _Reader) -> float | None:
    """E(sigma→0) of the last electronic step, plus what the ionic step adds (dispersion).

    The same name in the ionic step's own block holds the entropy term, in VASP 5 at least.
    """
    energy, free = (number(reader.step.get(k)) for k in ("e_0_energy", "e_fr_energy"))
    final = number(reader.step_energy.get("e_fr_energy"))
    if energy is None or free is None or final is None:
        return energy
    return energy + (final - free)


def _valences(reader: _Reader, counts: list[int]) -> tuple[float, ...] | None:
    valences = [number(row[3]) for row in reader.types if len(row) > 3]
    if len(valences) != len(counts) or None in valences:
        return None
    return tuple(v or 0.0 for v, c in zip(valences, counts, strict=True) for _ in range(c)) or None


def _bands(levels: dict[tuple[int, int], NDArray[np.float64]]) -> Bands | None:
    """Levels by spin and k-point as one array, None where some are missing."""
    spins = sorted({s for s, _ in levels})
    kpoints = sorted({k for _, k in levels})
    if len({len(rows) for rows in levels.values()}) != 1:
        return None
    if len(levels) != len(spins) * len(kpoints):
        return None
    table = np.array([[levels[s, k] for k in kpoints] for s in spins])  # (spins, k, bands, 2)
    return Bands(table[..., 0], table[..., 1])


def _structure(element: ElementTree.Element) -> _Structure | None:
    arrays = {}
    for array in element.iter("varray"):
        rows = [[number(f) for f in (v.text or "").split()] for v in array.iter("v")]
        if not all(len(row) == 3 and None not in row for row in rows) or not rows:
            return None
        arrays[array.get("name")] = np.array(rows, dtype=np.float64)
    if "basis" not in arrays or "positions" not in arrays or arrays["basis"].shape != (3, 3):
        return None
    return _Structure(arrays["basis"], arrays["positions"])


def _values(element: ElementTree.Element) -> dict[str, str]:
    """Names and texts of the single values below an element; the first of each name."""
    found: dict[str, str] = {}
    for item in element.iter("i"):
        found.setdefault(item.get("name", ""), (item.text or "").strip())
    return found


def _symbol(name: str) -> str:
    """The element; vasprun.xml of VASP 4 and 5 writes Zr as ``r`` and Xe as ``X``."""
    symbol = re.split(r"[_/.]", name)[0].strip()
    return {"r": "Zr", "X": "Xe"}.get(symbol, symbol)
