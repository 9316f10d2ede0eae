"""Folders and files of the user's, as sources see them: what is there, how large, how old."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rhoflow.errors import ConfigError
from rhoflow.structures.reading import one_line


def user_path(path: str, kind: str) -> Path:
    """A path of the user's, ``~`` replaced.

    Args:
        path: as the config has it.
        kind: the source's kind, for messages.

    Raises:
        ConfigError: ``~name`` names no user, or the text cannot be a path.
    """
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        user = path.partition("/")[0]
        raise ConfigError(
            f"{kind}: no home folder is known for '{user}' in the source's path '{path}'; give the "
            "full path"
        ) from None
    if "\0" in path or any("\ud800" <= c <= "\udfff" for c in path):
        raise ConfigError(
            f"{kind}: the source's path {path!r} holds a null character or is not UTF-8; "
            "correct it, or rename what it names"
        )
    return found


def names_in(paths: Sequence[Path], folder: Path) -> list[str]:
    r"""Names of files within a folder, as text on one line, each different from the others.

    Names that are no UTF-8 keep their odd bytes as ``\udcff``; control characters go.
    """
    told = [path.relative_to(folder).as_posix() for path in paths]
    taken = {name for name in told if name.isprintable()}
    names = []
    for name in told:
        if name.isprintable():
            names.append(name)
            continue
        base = one_line(name.encode("utf-8", "backslashreplace").decode()) or "file"
        shown, number = base, 1
        while shown in taken:
            number += 1
            shown = f"{base}-{number}"
        taken.add(shown)
        names.append(shown)
    return names


def files_in(path: str, wanted: Callable[[Path], bool], *, kind: str, expected: str) -> list[Path]:
    """The wanted files of a folder and its subfolders, sorted; what is hidden is left out.

    Args:
        path: the folder, ``~`` allowed.
        wanted: whether a file of this name counts.
        kind: the source's kind, for messages.
        expected: the names that count, for messages.

    Raises:
        ConfigError: the folder is missing or holds none.
    """
    folder = user_path(path, kind)
    if not folder.is_dir():
        raise ConfigError(
            f"{kind}: '{folder}' is not a folder; set the source's path to the folder that holds "
            f"your files ({expected})"
        )
    found = [
        p
        for p in sorted(folder.rglob("*"))
        if wanted(p) and not _is_hidden(p.relative_to(folder)) and p.is_file()
    ]
    if not found:
        raise ConfigError(
            f"{kind}: '{folder}' holds no structure file; expected {expected} there or in its "
            "subfolders"
        )
    return found


def _is_hidden(path: Path) -> bool:
    """Whether a file, or a folder on the way to it, has a name that starts with a dot."""
    return any(part.startswith(".") for part in path.parts)


def problem_of_file(path: Path, max_file_mb: float) -> str:
    """Why a file is not opened at all; empty if it may be."""
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"unreadable: {error.strerror}"
    if size > max_file_mb * 1e6:
        return f"file of {size / 1e6:.1f} MB, more than max_file_mb = {max_file_mb:g}"
    return "" if size else "empty file"


def fingerprint_of(paths: Iterable[Path], folder: Path) -> str:
    """SHA-256 of the names (within the folder), sizes and times of files."""
    told = hashlib.sha256()
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            state = path.stat()
            told.update(f"{name!r} {state.st_size} {state.st_mtime_ns}\n".encode())
        except OSError as error:
            told.update(f"{name!r} {error.errno}\n".encode())
    return told.hexdigest()
