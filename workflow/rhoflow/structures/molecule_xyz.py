"""Molecules from files: XYZ (several frames a file, QM9's own format among them) and SDF."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from rhoflow.errors import ConfigError
from rhoflow.spec import Spec
from rhoflow.structures.folder import files_in, fingerprint_of, names_in, problem_of_file, user_path
from rhoflow.structures.molecule_candidates import (
    MAX_ATOMS,
    MoleculeCandidate,
    Reading,
    attempt_molecule,
    build_molecule,
    element_of,
    require_rdkit,
)
from rhoflow.structures.molecule_qm9 import is_qm9, number, qm9_molecule
from rhoflow.structures.reading import PARSE_ERRORS, one_line, unreadable

_KIND = "xyz"
_EXPECTED = "*.xyz or *.sdf"
_SUFFIXES = (".xyz", ".sdf")
_CHARGE = re.compile(r"(?:^|\s)charge\s*=\s*\"?([+-]?\d+)\"?(?:\s|$)", re.IGNORECASE)
_END_OF_RECORD = "$$$$"


class XYZSource(Spec):
    """A file or a folder of XYZ and SDF files."""

    kind: Literal["xyz"] = Field(default="xyz", description="molecules from XYZ and SDF files")
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    path: str = Field(
        description="a file, or a folder that is searched recursively for *.xyz and *.sdf; files "
        "in QM9's own format bring their published properties along"
    )
    max_file_mb: float = Field(
        default=50.0, gt=0, description="larger files are rejected unread, in MB (10^6 bytes)"
    )


def read_xyz(spec: XYZSource) -> Iterator[MoleculeCandidate]:
    """Yield the molecules of a file or folder, in the order of the sorted paths.

    ``source_id`` is the path within the folder without its suffix, followed by ``#number`` where a
    file holds several molecules.

    Raises:
        ConfigError: the path is missing or holds no such file.
        EngineError: there are SDF files, and RDKit, which reads them, is not installed.
    """
    paths, folder = _files(spec)
    if any(path.suffix.lower() == ".sdf" for path in paths):
        require_rdkit(_KIND)
    return _read_all(paths, folder, spec.max_file_mb)


def xyz_fingerprint(spec: XYZSource) -> str:
    """SHA-256 of the names, sizes and times of the files that ``read_xyz`` reads.

    Raises:
        ConfigError: as ``read_xyz``.
    """
    return fingerprint_of(*_files(spec))


def _files(spec: XYZSource) -> tuple[list[Path], Path]:
    """The files, and the folder within which they are named."""
    path = user_path(spec.path, _KIND)
    if not path.is_file():
        return files_in(spec.path, _is_wanted, kind=_KIND, expected=_EXPECTED), path
    if not _is_wanted(path):
        raise ConfigError(f"{_KIND}: '{path}' is of no known kind; expected {_EXPECTED}")
    return [path], path.parent


def _is_wanted(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def _read_all(
    paths: Sequence[Path], folder: Path, max_file_mb: float
) -> Iterator[MoleculeCandidate]:
    for path, name in zip(paths, names_in(paths, folder), strict=True):
        problem = problem_of_file(path, max_file_mb)
        if problem:
            yield MoleculeCandidate(name, None, problem)
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError as error:
            yield MoleculeCandidate(name, None, f"unreadable: {error.strerror}")
            continue
        read = _read_frames if path.suffix.lower() == ".xyz" else _read_records
        yield from read(name, lines)


# XYZ ---------------------------------------------------------------------------------------


def _read_frames(name: str, lines: Sequence[str]) -> Iterator[MoleculeCandidate]:
    """One candidate a frame; a frame whose end cannot be told ends its file."""
    try:
        frames = _frames(lines)
    except PARSE_ERRORS as error:
        yield MoleculeCandidate(name, None, unreadable(name, error).reason)
        return
    stem = name.rpartition(".")[0] or name
    for place, (begin, end) in enumerate(frames, start=1):
        frame = lines[begin:end]
        source_id = stem if len(frames) == 1 else f"{stem}#{place}"
        read = qm9_molecule if len(frame) > 1 and is_qm9(frame[1]) else _plain_molecule
        yield attempt_molecule(source_id, read, source_id, frame)


def _frames(lines: Sequence[str]) -> list[tuple[int, int]]:
    """The first line of every frame and that after its last.

    Raises:
        ValueError: a frame does not begin with a number of atoms, or the file ends within one.
    """
    found: list[tuple[int, int]] = []
    line = 0
    while line < len(lines):
        if not lines[line].strip():
            line += 1
            continue
        n_atoms = _n_atoms(lines[line], line)
        end = line + n_atoms + 2
        if end > len(lines):
            raise ValueError(
                f"line {line + 1} announces {n_atoms} atoms, but the file ends after "
                f"{max(0, len(lines) - line - 2)} of them"
            )
        # QM9 has three more lines: frequencies, SMILES, InChI.
        end = min(end + 3, len(lines)) if is_qm9(lines[line + 1]) else end
        found.append((line, end))
        line = end
    if not found:
        raise ValueError("no frames")
    return found


def _n_atoms(text: str, line: int) -> int:
    word = text.strip()
    if not word.isdecimal() or int(word) > MAX_ATOMS:
        raise ValueError(
            f"line {line + 1} says '{one_line(word, 40)}', expected a number of atoms of at most "
            f"{MAX_ATOMS}"
        )
    return int(word)


def _plain_molecule(source_id: str, lines: Sequence[str]) -> Reading:
    """The molecule of one frame; its charge is that of ``charge=…`` in the comment, otherwise 0."""
    rows = [line.split() for line in lines[2:]]
    symbols = [element_of(row[0]) for row in rows]
    positions = [[number(word) for word in row[1:4]] for row in rows]
    charge = _CHARGE.search(lines[1])
    whole = int(charge[1]) if charge else 0
    return build_molecule(source_id, symbols, positions, charge=whole), {}


# SDF ---------------------------------------------------------------------------------------


def _read_records(name: str, lines: Sequence[str]) -> Iterator[MoleculeCandidate]:
    """One candidate a record."""
    records: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(_END_OF_RECORD):
            records.append([])
        else:
            records[-1].append(line)
    records = [record for record in records if any(line.strip() for line in record)]
    stem = name.rpartition(".")[0] or name
    if not records:
        yield MoleculeCandidate(name, None, "no records")
    for place, record in enumerate(records, start=1):
        source_id = stem if len(records) == 1 else f"{stem}#{place}"
        yield attempt_molecule(source_id, partial(_molecule_of_record, source_id), record)


def _molecule_of_record(source_id: str, lines: Sequence[str]) -> Reading:
    """The molecule of one SDF record, V2000 or V3000.

    Raises:
        ValueError: RDKit cannot read it, its hydrogens are not there, or it is a flat drawing.
    """
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        found = Chem.MolFromMolBlock("\n".join(lines), removeHs=False)
    if found is None:
        raise ValueError("no valid SDF record (RDKit refuses its atoms, bonds or valences)")
    implicit = sum(atom.GetTotalNumHs() for atom in found.GetAtoms())
    if implicit:
        raise ValueError(f"{implicit} hydrogen atoms have no positions; add them in 3D")
    conformer = found.GetConformer()
    if not conformer.Is3D() and found.GetNumAtoms() > 1:
        raise ValueError("a flat drawing, no positions in space")
    molecule = build_molecule(
        source_id,
        [atom.GetSymbol() for atom in found.GetAtoms()],
        conformer.GetPositions(),
        charge=Chem.GetFormalCharge(found),
        smiles=Chem.MolToSmiles(Chem.RemoveHs(found)),
    )
    return molecule, {}
