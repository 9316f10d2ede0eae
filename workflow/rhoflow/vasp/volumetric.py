"""CHGCAR and LOCPOT: a structure and one, two or four fields on a grid.

A CHGCAR holds ρ·V (electrons), x fastest, in blocks: the total; with spin the magnetisation; for
non-collinear runs its three components. Augmentation occupancies follow each block; the density
on the grid already holds their charge, so they are checked and skipped. The numbers are parsed by
pymatgen's compiled reader, in pieces, into one array a block.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.errors import DataError
from rhoflow.vasp.stream import TextReader, open_binary

# 584³: far beyond any grid of VASP, and 1.6 GB.
MAX_POINTS = 200_000_000
MAX_ATOMS = 100_000
_MAX_EDGE_ANGSTROM = 1000.0
# A negative scale is the volume of the cell, Å³.
_MAX_SCALE = 1e9
_BLOCKS = {1: "the density", 2: "the magnetisation"}
# The start of a number, as the last thing in a file.
_CUT_OFF = re.compile(rb"[-+.\dE]+$")
_AUGMENTATION = re.compile(rb"\s*augmentation occupancies(?: \(imaginary part\))?\s+(\d+)\s*(\d+)")


@dataclass(frozen=True, eq=False)
class Header:
    """The structure at the top of a CHGCAR, LOCPOT, POSCAR or CONTCAR.

    Attributes:
        lattice: (3, 3) Å, rows.
        symbols: (n_atoms,) element symbols; None in a file of VASP 4, which names none.
        counts: atoms of each entry of the file's list of elements.
        frac_coords: (n_atoms, 3).
    """

    lattice: NDArray[np.float64]
    symbols: tuple[str, ...] | None
    counts: tuple[int, ...]
    frac_coords: NDArray[np.float64]

    def crystal(self, name: str, symbols: tuple[str, ...] | None = None) -> Crystal:
        """The structure, with elements from elsewhere where the file has none.

        Raises:
            DataError: no elements are known, or their number is not that of the atoms.
        """
        known = self.symbols or symbols
        if known is None:
            raise DataError(
                f"{name} names no elements (VASP 4): put the run's vasprun.xml, OUTCAR or POTCAR "
                "beside it, or write the symbols into its line 6"
            )
        if len(known) != len(self.frac_coords):
            raise DataError(
                f"{name}: {len(self.frac_coords)} atoms, but the run's other files name "
                f"{len(known)}"
            )
        return Crystal(name, self.lattice, known, self.frac_coords)


@dataclass(frozen=True, eq=False)
class Volumetric:
    """A CHGCAR or LOCPOT.

    Attributes:
        header: the structure.
        blocks: (n1, n2, n3) each, as the file holds them (CHGCAR: times the cell's volume).
    """

    header: Header
    blocks: tuple[NDArray[np.float64], ...]


def read_header(path: Path) -> Header:
    """The structure at the top of a file, without reading the grid.

    Raises:
        DataError: there is none.
    """
    with open_binary(path) as stream:
        return _header(TextReader(stream, path.name))


def read_volumetric(path: Path) -> Volumetric:
    """All blocks of a CHGCAR or LOCPOT.

    Raises:
        DataError: no VASP file, truncated, several files in one, or values that are no numbers.
    """
    with open_binary(path) as stream:
        reader = TextReader(stream, path.name)
        header = _header(reader)
        shape = _next_shape(reader, None)
        if shape is None:
            raise DataError(f"{path.name} ends behind its structure: it holds no grid")
        blocks = []
        first = shape
        while shape is not None:
            if len(blocks) == 4:
                raise DataError(f"{path.name} holds more than 4 grids; expected 1, 2 or 4")
            blocks.append(_block(reader, shape, len(blocks) + 1))
            shape = _next_shape(reader, first)
    if len(blocks) == 3:
        raise DataError(f"{path.name} holds 3 grids, expected 1, 2 (spin) or 4 (non-collinear)")
    return Volumetric(header, tuple(blocks))


def _block(reader: TextReader, shape: tuple[int, int, int], number: int) -> NDArray[np.float64]:
    size = int(np.prod(shape))
    values = np.empty(size)
    found = reader.numbers(values)
    what = _BLOCKS.get(number, "the magnetisation") if number > 1 else ""
    where = f" of {what}" if what else ""
    if found < size:
        rest = reader.rest().split()
        if rest and not (len(rest) == 1 and _CUT_OFF.match(rest[0])):
            raise DataError(
                f"{reader.name}: value {found + 1} of {size}{where} is {_shown(rest[0])}, "
                "expected a number"
            )
        raise DataError(f"{reader.name} is truncated: {found} of {size} values{where}")
    wrong = size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        raise DataError(f"{reader.name}: {wrong} of {size} values{where} are not finite")
    return values.reshape(shape, order="F")


def _next_shape(
    reader: TextReader, first: tuple[int, int, int] | None
) -> tuple[int, int, int] | None:
    """Grid points of the next block, None at the end of the file; skips what lies between.

    Between blocks stand augmentation occupancies and one number an atom (its moment).
    """
    while (line := reader.line()) is not None:
        fields = line.split()
        if not fields:
            continue
        if line.lstrip().startswith(b"augmentation"):
            _skip_augmentation(reader, line)
        elif len(fields) == 3 and all(f.isdigit() for f in fields):
            return _shape(reader, fields, first)
        elif first is None or not _numeric(fields):
            _unexpected(reader, line, first)
    return None


def _shape(
    reader: TextReader, fields: list[bytes], first: tuple[int, int, int] | None
) -> tuple[int, int, int]:
    n1, n2, n3 = (int(f[:18]) for f in fields)
    if min(n1, n2, n3) < 1 or n1 * n2 * n3 > MAX_POINTS:
        raise DataError(
            f"{reader.name} announces {n1} x {n2} x {n3} grid points; expected at least 1 an "
            f"axis and at most {MAX_POINTS} in all"
        )
    if first is not None and (n1, n2, n3) != first:
        raise DataError(
            f"{reader.name}: a grid of {n1} x {n2} x {n3} points follows one of "
            f"{first[0]} x {first[1]} x {first[2]}; expected equal ones"
        )
    return n1, n2, n3


def _skip_augmentation(reader: TextReader, line: bytes) -> None:
    match = _AUGMENTATION.match(line)
    if not match:
        raise DataError(f"{reader.name}: {_shown(line)} is no head of augmentation occupancies")
    size = int(match[2][:7])
    found = reader.numbers(np.empty(size))
    if found < size:
        raise DataError(
            f"{reader.name} is truncated: {found} of {size} augmentation occupancies of atom "
            f"{match[1].decode()}"
        )


def _unexpected(reader: TextReader, line: bytes, first: tuple[int, int, int] | None) -> NoReturn:
    if first is None:
        raise DataError(
            f"{reader.name}: {_shown(line)} where the grid's three numbers of points are expected"
        )
    raise DataError(
        f"{reader.name}: {_shown(line)} follows the density; two files in one? Keep one run's"
    )


def _numeric(fields: list[bytes]) -> bool:
    """Whether all fields hold a decimal point and are numbers, as moments of atoms do."""
    try:
        return all(b"." in f and np.isfinite(float(f)) for f in fields)
    except ValueError:
        return False


def _shown(text: bytes) -> str:
    return repr(text[:40].decode("ascii", "replace").strip())


def _header(reader: TextReader) -> Header:
    comment = _line(reader, "a comment")
    scale = _floats(reader, "the scale", (1, 3))
    lattice = np.array([_floats(reader, "a lattice vector", (3,)) for _ in range(3)])
    lattice = _scaled(reader, lattice, scale)
    fields = _line(reader, "elements or numbers of atoms").split()
    names = None
    if not all(f.isdigit() for f in fields):
        names = [_element(reader, f) for f in fields]
        fields = _line(reader, "numbers of atoms").split()
    if not fields or not all(f.isdigit() for f in fields):
        raise DataError(f"{reader.name}: line 7 holds no numbers of atoms")
    counts = tuple(int(f[:18]) for f in fields)
    if not 0 < sum(counts) <= MAX_ATOMS:
        raise DataError(f"{reader.name} announces {sum(counts)} atoms; expected 1 to {MAX_ATOMS}")
    names = names or _elements_of_comment(comment, len(counts))
    if names is not None and len(names) != len(counts):
        raise DataError(f"{reader.name}: {len(names)} elements but {len(counts)} numbers of atoms")
    symbols = tuple(n for n, c in zip(names or (), counts, strict=False) for _ in range(c))
    return Header(lattice, symbols or None, counts, _positions(reader, lattice, scale, counts))


def _positions(
    reader: TextReader, lattice: NDArray[np.float64], scale: list[float], counts: tuple[int, ...]
) -> NDArray[np.float64]:
    """(n_atoms, 3) fractional coordinates."""
    kind = _line(reader, "Direct or Cartesian").strip().lower()
    if kind.startswith(b"s"):  # selective dynamics
        kind = _line(reader, "Direct or Cartesian").strip().lower()
    n = sum(counts)
    coords = np.array([_coordinates(reader, i, n) for i in range(n)])  # (n_atoms, 3)
    if kind[:1] not in (b"c", b"k"):
        return coords
    if len(scale) == 1 and scale[0] < 0:
        raise DataError(f"{reader.name}: Cartesian positions with a volume as scale; use Direct")
    places = coords * np.asarray(scale, dtype=np.float64)  # Å
    return np.asarray(np.linalg.solve(lattice.T, places.T).T, dtype=np.float64)


def _coordinates(reader: TextReader, index: int, total: int) -> list[float]:
    fields = _line(reader, f"position {index + 1} of {total}").split()[:3]
    try:
        values = [float(f) for f in fields]
    except ValueError:
        values = []
    if len(values) != 3 or not np.isfinite(values).all():
        raise DataError(f"{reader.name}: position {index + 1} of {total} is not three numbers")
    return values


def _scaled(
    reader: TextReader, lattice: NDArray[np.float64], scale: list[float]
) -> NDArray[np.float64]:
    if max(map(abs, scale)) > _MAX_SCALE:
        raise DataError(f"{reader.name}: a scale of {scale[0]:g}; is this a file of VASP?")
    volume = abs(float(np.linalg.det(lattice)))
    if len(scale) == 1 and scale[0] < 0 and volume > 0:  # the cell's volume
        cell = lattice * float((-scale[0] / volume) ** (1 / 3))
    else:
        cell = lattice * np.asarray(scale, dtype=np.float64)
    edges = np.linalg.norm(cell, axis=1)
    if not (abs(np.linalg.det(cell)) > 1e-3 and edges.max() < _MAX_EDGE_ANGSTROM):
        raise DataError(
            f"{reader.name}: lattice vectors of {edges.round(3).tolist()} Å and a volume of "
            f"{abs(np.linalg.det(cell)):.3g} Å³ are no crystal's; is this a file of VASP?"
        )
    return cell


def _line(reader: TextReader, expected: str) -> bytes:
    line = reader.line()
    if line is None:
        raise DataError(f"{reader.name} ends where {expected} is expected")
    return line


def _floats(reader: TextReader, expected: str, numbers: tuple[int, ...]) -> list[float]:
    line = _line(reader, expected)
    try:
        values = [float(f) for f in line.split()[: max(numbers)]]
    except ValueError:
        values = []
    if len(values) not in numbers or not np.isfinite(values).all():
        raise DataError(
            f"{reader.name}: {_shown(line)} where {expected} is expected; is this a file of VASP?"
        )
    return values


def _element(reader: TextReader, field: bytes) -> str:
    """Symbol of a POTCAR's name: Ti_pv, or with a hash behind a slash."""
    name = re.split(r"[_/.]", field.decode("ascii", "replace"))[0]
    if name not in atomic_numbers or name == "X":
        raise DataError(f"{reader.name}: {_shown(field)} where a chemical symbol is expected")
    return name


def _elements_of_comment(comment: bytes, number: int) -> list[str] | None:
    """Files of VASP 4 name the elements in the comment, if the user did so."""
    names = comment.decode("ascii", "replace").split()
    known = len(names) == number and all(n in atomic_numbers and n != "X" for n in names)
    return names if known else None
