"""Structures from a folder of files, for instance an ICSD export.

CIF, POSCAR and extended XYZ are read. A file that cannot be read becomes a candidate without a
structure and with a reason; it never stops the others.
"""

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.io import iread
from pydantic import Field
from pymatgen.core import DummySpecies, Lattice, Structure
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp import Poscar
from pymatgen.io.vasp.inputs import BadPoscarWarning

from rhoflow.errors import ConfigError
from rhoflow.spec import Spec
from rhoflow.structures.candidates import Candidate

_CIF_SUFFIXES = (".cif",)
_XYZ_SUFFIXES = (".extxyz", ".xyz")
_POSCAR_SUFFIXES = (".vasp", ".poscar")
_POSCAR_NAMES = ("poscar", "contcar")
_REASON_LENGTH = 200
# No crystal is larger; a neighbour search on such a cell would ask for gigabytes.
_MAX_EDGE_ANGSTROM = 200.0
_MAX_ATOMS = 10_000
_BLOCK_START = re.compile(r"^[ \t]*data_", flags=re.MULTILINE | re.IGNORECASE)

# What pymatgen and ASE raise on malformed text: they index and convert without checking first.
_PARSE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    BadPoscarWarning,
)


class FilesSource(Spec):
    """A folder of CIF, POSCAR and extended XYZ files, searched recursively."""

    kind: Literal["files"] = Field(default="files", description="structures from a folder of files")
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    path: str = Field(
        description="folder that is searched recursively for *.cif, POSCAR*, CONTCAR*, *.vasp, "
        "*.poscar, *.extxyz and *.xyz"
    )
    max_file_mb: float = Field(
        default=50.0, gt=0, description="larger files are rejected unread, in MB (10^6 bytes)"
    )


def read_files(spec: FilesSource) -> Iterator[Candidate]:
    """Yield the structures of a folder, in the order of the sorted paths.

    ``source_id`` is the path relative to the folder, followed by ``#name`` where a CIF holds
    several data blocks and by ``#number`` where an XYZ holds several frames.

    Raises:
        ConfigError: the folder is missing or holds no structure file.
    """
    return _read_all(structure_files(spec), Path(spec.path).expanduser(), spec.max_file_mb)


def structure_files(spec: FilesSource) -> list[Path]:
    """The files of a folder whose names promise structures, sorted.

    Raises:
        ConfigError: the folder is missing or holds no structure file.
    """
    folder = Path(spec.path).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"structure files: '{folder}' is not a folder; set the source's path to the folder "
            "that holds your CIF, POSCAR or extended XYZ files"
        )
    found = [p for p in sorted(folder.rglob("*")) if _reader(p) is not None and p.is_file()]
    if not found:
        raise ConfigError(
            f"structure files: '{folder}' holds no structure file; expected *.cif, POSCAR*, "
            "CONTCAR*, *.vasp, *.poscar, *.extxyz or *.xyz there or in its subfolders"
        )
    return found


def fingerprint(spec: FilesSource) -> str:
    """SHA-256 of the names, sizes and times of the files that ``read_files`` reads.

    Raises:
        ConfigError: as ``read_files``.
    """
    folder = Path(spec.path).expanduser()
    told = hashlib.sha256()
    for path in structure_files(spec):
        state = path.stat()
        name = path.relative_to(folder).as_posix()
        told.update(f"{name!r} {state.st_size} {state.st_mtime_ns}\n".encode())
    return told.hexdigest()


Reader = Callable[[Path, str], Iterator[Candidate]]


def _read_all(paths: Sequence[Path], folder: Path, max_file_mb: float) -> Iterator[Candidate]:
    for path in paths:
        reader = _reader(path)
        source_id = path.relative_to(folder).as_posix()
        problem = _problem_of_file(path, max_file_mb)
        if problem or reader is None:
            yield Candidate(source_id, None, problem or "not a structure file")
        else:
            yield from reader(path, source_id)


def _reader(path: Path) -> Reader | None:
    """The function that reads a file of this name; None for other files and hidden ones."""
    name = path.name.lower()
    if name.startswith("."):
        return None
    if name.endswith(_CIF_SUFFIXES):
        return _read_cif
    if name.endswith(_XYZ_SUFFIXES):
        return _read_xyz
    if name.endswith(_POSCAR_SUFFIXES) or name.startswith(_POSCAR_NAMES):
        return _read_poscar
    return None


def _problem_of_file(path: Path, max_file_mb: float) -> str:
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"unreadable: {error.strerror}"
    if size > max_file_mb * 1e6:
        return f"file of {size / 1e6:.1f} MB, more than max_file_mb = {max_file_mb:g}"
    return "" if size else "empty file"


def _read_cif(path: Path, source_id: str) -> Iterator[Candidate]:
    """One candidate a data block that describes atoms."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        yield _unreadable(source_id, error)
        return
    starts = [m.start() for m in _BLOCK_START.finditer(text)]
    blocks = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    # Journals put text and bibliography into blocks of their own, without atoms.
    with_atoms = [block for block in blocks if "_atom_site_" in block.lower()]
    if not with_atoms:
        yield Candidate(source_id, None, "CIF without atom sites in any data block")
    for number, block in enumerate(with_atoms, start=1):
        name = block.split(maxsplit=1)[0][len("data_") :] or str(number)
        block_id = source_id if len(with_atoms) == 1 else f"{source_id}#{number}-{name}"
        yield _attempt(block_id, _structure_of_cif_block, block)


def _structure_of_cif_block(block: str) -> Structure:
    parser = CifParser.from_str(block, check_cif=False)
    structure = parser.parse_structures(primitive=False, on_error="raise")[0]
    if any("Defaulting to P1" in text for text in parser.warnings):
        raise ValueError("CIF names neither symmetry operations nor a space group")
    if "implicit_hydrogens" in structure.site_properties:
        raise ValueError("hydrogen atoms without coordinates")
    if structure.is_ordered:
        _check_composition(parser, structure)
    return structure


def _check_composition(parser: CifParser, structure: Structure) -> None:
    """Refuse a structure that lacks atoms of the file's own formula (hydrogens, usually)."""
    problem = parser.check(structure) or ""
    if problem.startswith("Missing elements"):
        elements = problem.removeprefix("Missing elements ").split(" from ")[0]
        raise ValueError(f"formula and atom sites of the CIF disagree about {elements}")
    if problem.startswith("Incorrect stoichiometry"):
        raise ValueError(
            f"atom sites give {structure.composition.reduced_formula}, which is not the "
            "formula that the CIF states"
        )


def _read_poscar(path: Path, source_id: str) -> Iterator[Candidate]:
    yield _attempt(source_id, _structure_of_poscar, path)


def _structure_of_poscar(path: Path) -> Structure:
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()
    counts = [int(n) for line in lines[5:7] for n in line.split() if n.isdecimal()]
    # pymatgen makes a list of all the atoms that the header announces before it looks for them.
    if sum(counts) > len(lines):
        raise ValueError(f"POSCAR announces {sum(counts)} atoms but has {len(lines)} lines")
    with warnings.catch_warnings():
        # Without element symbols pymatgen only warns, and calls the elements H, He, Li ...
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
        try:
            return Poscar.from_str(text).structure
        except BadPoscarWarning as error:
            if "cannot be determined" in str(error):
                raise ValueError("POSCAR names no elements") from error
            raise


def _read_xyz(path: Path, source_id: str) -> Iterator[Candidate]:
    """One candidate a frame; a broken frame ends its file."""
    frames = iread(path, index=":", format="extxyz", parallel=False)
    number = 0
    while True:
        number += 1
        try:
            atoms = next(frames)
        except StopIteration:
            break
        except _PARSE_ERRORS as error:
            yield _unreadable(f"{source_id}#{number}", error)
            return
        yield _attempt(f"{source_id}#{number}", _structure_of_frame, atoms)
    if number == 1:
        yield Candidate(source_id, None, "no frames")


def _structure_of_frame(atoms: Atoms) -> Structure:
    if not atoms.pbc.all():
        raise ValueError(f"periodic in {int(atoms.pbc.sum())} of 3 directions, expected 3")
    return Structure(
        Lattice(np.asarray(atoms.cell)), atoms.get_chemical_symbols(), atoms.get_scaled_positions()
    )


def _attempt(source_id: str, read: Callable[..., Structure], content: object) -> Candidate:
    """Read quietly; turn a failure, an unknown element or a flat cell into a reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = read(content)
        _check_sites(structure)
    except _PARSE_ERRORS as error:
        return _unreadable(source_id, error)
    return Candidate(source_id, structure)


def _check_sites(structure: Structure) -> None:
    if len(structure) == 0:
        raise ValueError("no atoms")
    unknown = {str(s) for s in structure.composition if isinstance(s, DummySpecies)}
    if unknown:
        raise ValueError(f"unknown element {', '.join(sorted(unknown))}")
    if not (
        np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()
    ):
        raise ValueError("lattice or coordinates are not finite numbers")
    if max(structure.lattice.abc) > _MAX_EDGE_ANGSTROM:
        raise ValueError(
            f"cell edge of {max(structure.lattice.abc):.4g} Å, more than {_MAX_EDGE_ANGSTROM:g} Å"
        )
    if len(structure) > _MAX_ATOMS:
        raise ValueError(f"{len(structure)} atoms, more than {_MAX_ATOMS}")
    if structure.volume < 1e-3:
        raise ValueError(f"cell volume {structure.volume:.2g} Å³")


def _unreadable(source_id: str, error: BaseException) -> Candidate:
    text = " ".join(str(error).split()) or type(error).__name__
    return Candidate(source_id, None, f"unreadable: {text}"[:_REASON_LENGTH])
