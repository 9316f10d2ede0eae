"""OUTCAR (any version since 4.6), and what a POTCAR's head says, line by line."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rhoflow.vasp.output import (
    Bands,
    Output,
    electrostatic_locpot,
    expanded,
    flag,
    functional_name,
    integer,
    number,
)
from rhoflow.vasp.stream import TextReader, open_binary

# Values of the settings that VASP repeats, each on a line of its own or with others.
_SETTING = re.compile(
    rb"\b(NELECT|NELM|NSW|IBRION|ISPIN|ICHARG|LNONCOLLINEAR|LVHAR|GGA|METAGGA|LHFCALC|LUSE_VDW"
    rb"|IVDW|LVDW|NIONS)\s*=\s*([-+.\w]+)"
)
_ENERGY = re.compile(rb"\b(TEWEN|DENC|EBANDS)\s*=\s*(\S+)")
_ZERO_SMEARING = re.compile(rb"energy\(sigma->0\)\s*=\s*(\S+)")
_ITERATION = re.compile(rb"Iteration\s+(\d+)\(\s*(\d+)\)")
_FERMI = re.compile(rb"^\s*E-fermi\s*:\s*(\S+)")
_VERSION = re.compile(rb"^\s*vasp\.(\d+\.\d+(?:\.\d+)?)")
_TITLE = re.compile(rb"TITEL\s*=\s*(.+)")
_VALENCE = re.compile(rb"ZVAL\s*=\s*(\S+)\s+mass and valenz")
_KIND = re.compile(rb"VRHFIN\s*=\s*([A-Z][a-z]?)\s*:")
_SPIN = re.compile(rb"^\s*spin component\s+(\d+)")
_KPOINT = re.compile(rb"^\s*k-point\s+(\d+)\s*:\s*[-\d.]")
_LEVEL = re.compile(rb"^\s*\d+\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s*$")


class PotcarHeads(NamedTuple):
    """Element, valence electrons and title of each data set of a POTCAR, in its order."""

    symbols: tuple[str, ...]
    valences: tuple[float, ...]
    titles: tuple[str, ...]


class _Reader:
    """Collects what ``Output`` needs, the last of each where VASP repeats itself."""

    def __init__(self, reader: TextReader) -> None:
        self.reader = reader
        self.version: str | None = None
        self.settings: dict[str, str] = {}
        self.heads = _Heads()
        self.counts: list[int] = []
        self.energies: dict[str, float | None] = {}
        self.total: float | None = None
        self.fermi: float | None = None
        self.ionic_steps = self.scf_iterations = 0
        self.converged: bool | None = None
        self.relaxed = self.stopped = self.finished = False
        self.spin = self.kpoint = 1
        self.levels: dict[tuple[int, int], list[list[float]]] = {}
        self.lattice: NDArray[np.float64] | None = None
        self.positions: list[list[float]] = []

    def run(self) -> None:
        """Read to the end."""
        while (line := self.reader.line()) is not None:
            if match := _FERMI.search(line):
                self.fermi, self.spin, self.levels = number(match[1]), 1, {}
            elif b"Edisp" in line:  # what IVDW adds; VASP 5 does not repeat the setting
                self.settings["LVDW"] = "T"
            elif b"=" in line:
                self._assignment(line)
            elif b"Iteration" in line:
                self._iteration(line)
            elif b"aborting loop" in line:  # EDIFF is reached, was not reached, hard stop was set
                self.converged = b"is reached" in line
                self.stopped |= b"stop was set" in line
            elif b"reached required accuracy" in line:
                self.relaxed = True
            elif b"stop encountered" in line:  # STOPCAR: "soft stop encountered!", "hard ..."
                self.stopped = True
            elif b"General timing" in line:
                self.finished = True
            elif b"direct lattice vectors" in line:
                self._lattice()
            elif b"POSITION" in line:
                self._positions()
            elif b"position of ions in cartesian" in line:
                self.positions = self._rows()
            else:
                self._levels_or_version(line)

    def _assignment(self, line: bytes) -> None:
        self.heads.read(line)
        if not self.ionic_steps:  # VASP 6 prints the INCAR first, then what it made of it
            for name, value in _SETTING.findall(line):
                self.settings[name.decode()] = value.decode("ascii", "replace")
        if match := _ENERGY.search(line):
            self.energies[match[1].decode()] = number(match[2])
        elif match := _ZERO_SMEARING.search(line):
            self.total = number(match[1])
        elif b"ions per type" in line:
            self.counts = [int(f[:9]) for f in line.split(b"=")[1].split() if f.isdigit()]
        elif b"LDA+U is selected" in line:
            self.settings["LDAU"] = "T"

    def _iteration(self, line: bytes) -> None:
        if match := _ITERATION.search(line):
            step, self.scf_iterations = int(match[1][:9]), int(match[2][:9])
            if step != self.ionic_steps:
                self.ionic_steps, self.converged = step, None

    def _levels_or_version(self, line: bytes) -> None:
        if match := _LEVEL.match(line):
            self.levels.get((self.spin, self.kpoint), []).append([float(match[1]), float(match[2])])
        elif match := _KPOINT.match(line):
            self.kpoint = int(match[1][:9])
            if self.fermi is not None:
                self.levels[self.spin, self.kpoint] = []
        elif match := _SPIN.match(line):
            self.spin = int(match[1])
        elif self.version is None and (match := _VERSION.match(line)):
            self.version = match[1].decode()

    def _lattice(self) -> None:
        rows = self._rows(limit=3)
        if len(rows) == 3:
            self.lattice = np.array(rows)

    def _positions(self) -> None:
        self.reader.line()  # a ruler
        self.positions = self._rows()

    def _rows(self, limit: int = 1_000_000) -> list[list[float]]:
        """First three numbers of the lines that follow, up to one that holds something else."""
        rows: list[list[float]] = []
        while len(rows) < limit and (line := self.reader.line()) is not None:
            values = [number(f) for f in line.split()[:3]]
            if len(values) != 3 or None in values:
                break
            rows.append([v or 0.0 for v in values])
        return rows


class _Heads:
    """Elements, valences and titles of data sets, as POTCAR and OUTCAR print them."""

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.valences: list[float | None] = []
        self.titles: list[str] = []

    def read(self, line: bytes) -> None:
        """Note what this line says."""
        if match := _VALENCE.search(line):
            self.valences.append(number(match[1]))
        elif match := _KIND.search(line):
            self.symbols.append(match[1].decode())
        elif match := _TITLE.search(line):
            self.titles.append(match[1].decode("ascii", "replace").strip())

    def known_valences(self) -> list[float]:
        """The valences, empty where one could not be read."""
        return [] if None in self.valences else [v for v in self.valences if v is not None]


def read_outcar(path: Path) -> Output:
    """What an OUTCAR says; ``finished`` tells whether it came to its end.

    Raises:
        DataError: the file is empty, unreadable or a damaged archive.
    """
    with open_binary(path) as stream:
        reader = _Reader(TextReader(stream, path.name))
        reader.run()
    return _output(reader)


def read_potcar(path: Path) -> PotcarHeads:
    """The heads of a POTCAR's data sets.

    Raises:
        DataError: the file is empty, unreadable or a damaged archive.
    """
    heads = _Heads()
    with open_binary(path) as stream:
        reader = TextReader(stream, path.name)
        while (line := reader.line()) is not None:
            if b"=" in line:
                heads.read(line)
    return PotcarHeads(tuple(heads.symbols), tuple(heads.known_valences()), tuple(heads.titles))


def _output(reader: _Reader) -> Output:
    settings, heads = reader.settings, reader.heads
    nsw, ibrion = integer(settings.get("NSW")) or 0, integer(settings.get("IBRION"))
    relaxes = nsw > 1 and ibrion in (1, 2, 3)
    # Where symmetry leaves no forces VASP ends early without saying that it is there.
    relaxed = reader.relaxed or (0 < reader.ionic_steps < nsw and not reader.stopped)
    coherent = flag(settings.get("LNONCOLLINEAR")) is not True
    n_spins = integer(settings.get("ISPIN")) if coherent else 1
    return Output(
        finished=reader.finished,
        version=reader.version,
        functional=functional_name(settings, heads.titles),
        symbols=expanded(heads.symbols, reader.counts),
        valences=expanded(heads.known_valences(), reader.counts),
        n_electrons=number(settings.get("NELECT")),
        n_spins=n_spins,
        n_blocks=integer(settings.get("ISPIN")) if coherent else 4,
        lattice=reader.lattice,
        frac_coords=_fractions(reader),
        ionic_steps=reader.ionic_steps or None,
        relaxes=relaxes,
        electronic_converged=reader.converged,
        ionic_converged=not relaxes or relaxed,
        stopped=reader.stopped,
        scf_iterations=reader.scf_iterations or None,
        icharg=integer(settings.get("ICHARG")),
        electrostatic_locpot=electrostatic_locpot(settings, reader.version),
        total_energy=reader.total,
        one_electron_energy=reader.energies.get("EBANDS"),
        ewald_energy=reader.energies.get("TEWEN"),
        hartree_correction=reader.energies.get("DENC"),
        fermi_level=reader.fermi,
        n_kpoints=len({k for _, k in reader.levels}) or None,
        bands=_bands(reader.levels, paired=n_spins == 1 and coherent),
    )


def _fractions(reader: _Reader) -> NDArray[np.float64] | None:
    if reader.lattice is None or len(reader.positions) != sum(reader.counts or [-1]):
        return None
    try:
        places = np.array(reader.positions)  # Å
        return np.asarray(np.linalg.solve(reader.lattice.T, places.T).T, dtype=np.float64)
    except np.linalg.LinAlgError:
        return None


def _bands(levels: dict[tuple[int, int], list[list[float]]], *, paired: bool) -> Bands | None:
    """Levels by spin and k-point as one array, None where some are missing."""
    spins = sorted({s for s, _ in levels})
    kpoints = sorted({k for _, k in levels})
    lengths = {len(rows) for rows in levels.values()}
    if len(lengths) != 1 or lengths == {0} or len(levels) != len(spins) * len(kpoints):
        return None
    table = np.array([[levels[s, k] for k in kpoints] for s in spins])  # (spins, k, bands, 2)
    return Bands(table[..., 0], table[..., 1] / (2 if paired else 1))
