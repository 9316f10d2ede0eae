"""Structures from a folder of files.

CIF, POSCAR and extended XYZ are read. A file that cannot be read becomes a candidate without a
structure and with a reason; it never stops the others.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field
from pymatgen.core import Lattice, Structure

from rhoflow.spec import Spec
from rhoflow.structures.candidates import Candidate
from rhoflow.structures.cif import CifBlock, blocks_of_file, structure_of
from rhoflow.structures.folder import files_in, fingerprint_of, names_in, problem_of_file, user_path
from rhoflow.structures.reading import PARSE_ERRORS, attempt, unreadable

_KIND = "structure files"
_CIF_SUFFIXES = (".cif",)
_XYZ_SUFFIXES = (".extxyz", ".xyz")
_POSCAR_SUFFIXES = (".vasp", ".poscar")
_POSCAR_NAMES = ("poscar", "contcar")


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
    return _read_all(structure_files(spec), user_path(spec.path, _KIND), spec.max_file_mb)


def structure_files(spec: FilesSource) -> list[Path]:
    """The files of a folder whose names promise structures, sorted.

    Raises:
        ConfigError: the folder is missing or holds no structure file.
    """
    return files_in(
        spec.path,
        lambda path: _reader(path) is not None,
        kind=_KIND,
        expected="*.cif, POSCAR*, CONTCAR*, *.vasp, *.poscar, *.extxyz or *.xyz",
    )


def fingerprint(spec: FilesSource) -> str:
    """SHA-256 of the names, sizes and times of the files that ``read_files`` reads.

    Raises:
        ConfigError: as ``read_files``.
    """
    return fingerprint_of(structure_files(spec), user_path(spec.path, _KIND))


Reader = Callable[[Path, str], Iterator[Candidate]]


def _read_all(paths: Sequence[Path], folder: Path, max_file_mb: float) -> Iterator[Candidate]:
    for path, source_id in zip(paths, names_in(paths, folder), strict=True):
        reader = _reader(path)
        problem = problem_of_file(path, max_file_mb)
        if problem or reader is None:
            yield Candidate(source_id, None, problem or "not a structure file")
        else:
            yield from reader(path, source_id)


def _reader(path: Path) -> Reader | None:
    """The function that reads a file of this name; None for other files."""
    name = path.name.lower()
    if name.endswith(_CIF_SUFFIXES):
        return _read_cif
    if name.endswith(_XYZ_SUFFIXES):
        return _read_xyz
    if name.endswith(_POSCAR_SUFFIXES) or name.startswith(_POSCAR_NAMES):
        return _read_poscar
    return None


def _read_cif(path: Path, source_id: str) -> Iterator[Candidate]:
    """One candidate a data block that describes atoms."""
    try:
        found = blocks_of_file(path, source_id)
    except PARSE_ERRORS as error:
        yield unreadable(source_id, error)
        return
    for block_id, text in found:
        yield attempt(block_id, structure_of, CifBlock(text))


def _read_poscar(path: Path, source_id: str) -> Iterator[Candidate]:
    yield attempt(source_id, _structure_of_poscar, path)


def _structure_of_poscar(path: Path) -> Structure:
    # A second of imports, which the reading of a config does without.
    from pymatgen.io.vasp import Poscar
    from pymatgen.io.vasp.inputs import BadPoscarWarning

    text = path.read_text(encoding="utf-8-sig", errors="replace")
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
    from ase.io import iread  # not with the config: it imports much of SciPy

    frames = iread(path, index=":", format="extxyz", parallel=False, do_not_split_by_at_sign=True)
    number = 0
    while True:
        number += 1
        try:
            atoms = next(frames)
        except StopIteration:
            break
        except PARSE_ERRORS as error:
            yield unreadable(f"{source_id}#{number}", error)
            return
        yield attempt(f"{source_id}#{number}", _structure_of_frame, atoms)
    if number == 1:
        yield Candidate(source_id, None, "no frames")


def _structure_of_frame(atoms: Atoms) -> Structure:
    if not atoms.pbc.all():
        raise ValueError(f"periodic in {int(atoms.pbc.sum())} of 3 directions, expected 3")
    return Structure(
        Lattice(np.asarray(atoms.cell)), atoms.get_chemical_symbols(), atoms.get_scaled_positions()
    )
