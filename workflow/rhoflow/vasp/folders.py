"""Finds finished runs in a tree of folders, and the files of each."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PACKED = re.compile(r"\.(?:gz|bz2|xz|Z)$")
_TAG = r"(?P<tag>(?:[._-][A-Za-z0-9+-][A-Za-z0-9._+-]*)?)$"
_NAMES = {
    "chgcar": re.compile(rf"CHGCAR{_TAG}"),
    "locpot": re.compile(rf"LOCPOT{_TAG}"),
    "outcar": re.compile(rf"OUTCAR{_TAG}"),
    "contcar": re.compile(rf"CONTCAR{_TAG}"),
    "poscar": re.compile(rf"POSCAR{_TAG}"),
    "potcar": re.compile(rf"POTCAR(?!\.spec){_TAG}"),
    "vasprun": re.compile(rf"vasprun(?P<before>(?:\.[A-Za-z0-9_+-]+)?)\.xml{_TAG}"),
}
_RESULTS = ("chgcar", "vasprun", "outcar")


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; what it lacks is None.

    Attributes:
        name: of the run within the tree: its folder, and the file or tag where a folder holds
            several runs.
        origin: the folder, or the CHGCAR where a folder holds several runs.
        problem: why the folder cannot be looked into; empty if it can.
    """

    name: str
    origin: Path
    chgcar: Path | None = None
    locpot: Path | None = None
    vasprun: Path | None = None
    outcar: Path | None = None
    contcar: Path | None = None
    poscar: Path | None = None
    potcar: Path | None = None
    problem: str = ""

    def present(self) -> list[Path]:
        """The files that exist, in a fixed order."""
        listed = [getattr(self, kind) for kind in _NAMES]
        return [path for path in listed if path is not None]


def find_runs(folder: Path) -> Iterator[RunFiles]:
    """All runs below a folder, at any depth, in the order of their names.

    A folder with a CHGCAR, vasprun.xml or OUTCAR is a run. Where these names carry endings, as
    in CHGCAR.relax1.gz or CHGCAR_spin, files of equal ending are a run each, unless the folder
    holds one without ending. Hidden folders are skipped, links are followed once. A folder that
    cannot be looked into is a run with a ``problem`` and no files.
    """
    for place, problem in _folders(folder):
        inside = place.relative_to(folder).as_posix()
        name = folder.resolve().name or "run" if inside == "." else inside
        if problem:
            yield RunFiles(name, place, problem=problem)
        else:
            yield from _runs_of(place, name)


def runs_at(origin: Path) -> list[RunFiles]:
    """The runs of one folder, or the one whose file this is."""
    if origin.is_dir():
        return list(_runs_of(origin, origin.name))
    return [r for r in _runs_of(origin.parent, origin.parent.name) if r.origin == origin]


def home_path(text: str) -> Path:
    """A path with ``~`` replaced; that of an unknown user stays, and is no folder then."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def left_out(files: RunFiles, kind: str) -> list[str]:
    """Files of one kind in a run's folder that are not taken for its own, by name, sorted.

    Their names carry an ending, and the folder holds a run without one.
    """
    if not files.origin.is_dir():
        return []
    names = sorted(path.name for path in files.origin.iterdir())
    return [name for name in names if _kind(name)[0] == kind and _kind(name)[1]]


def _folders(top: Path) -> Iterator[tuple[Path, str]]:
    """The folder and its subfolders, each once whatever links there are, sorted by name.

    With each comes the reason why it cannot be looked into, empty if it can.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        place = waiting.pop()
        try:
            state = place.stat()
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(place) as entries:
                inner = [e.name for e in entries if not e.name.startswith(".") and _is_folder(e)]
        except (FileNotFoundError, NotADirectoryError):  # removed since its parent was read
            continue
        except OSError as error:
            yield place, _closed(error)
            continue
        yield place, ""
        waiting += [place / name for name in sorted(inner, reverse=True)]


def _closed(error: OSError) -> str:
    return f"the folder cannot be read: {error.strerror or error}"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say: no folder, and no reason to leave out the others
        return False


def _runs_of(place: Path, name: str) -> Iterator[RunFiles]:
    groups: dict[str, dict[str, Any]] = {}
    try:
        found = sorted(p for p in place.iterdir() if p.is_file())
    except OSError as error:
        yield RunFiles(name, place, problem=_closed(error))
        return
    for path in found:
        kind, tag = _kind(path.name)
        if kind:
            files = groups.setdefault(tag, {})
            files[kind] = _better(files.get(kind), path)
    runs = {tag: files for tag, files in groups.items() if any(k in files for k in _RESULTS)}
    if "" in runs:
        yield RunFiles(name, place, **runs[""])
        return
    shared = groups.get("", {})
    for _, files in sorted(runs.items()):
        main = next(files[kind] for kind in _RESULTS if kind in files)
        inputs = {k: p for k, p in shared.items() if k == "potcar"}
        yield RunFiles(f"{name}/{main.name}", main, **{**inputs, **files})


def _kind(name: str) -> tuple[str, str]:
    """What a file is, by its name, and its ending; empty for other files."""
    plain = _PACKED.sub("", name)
    for kind, pattern in _NAMES.items():
        if match := pattern.match(plain):
            groups = match.groupdict()
            return kind, groups.get("before", "") + groups["tag"]
    return "", ""


def _better(first: Path | None, second: Path) -> Path:
    """Of CHGCAR and CHGCAR.gz the one that is not empty, the shorter name before the longer."""
    return first if first is not None and (first.stat().st_size or 0) > 0 else second
