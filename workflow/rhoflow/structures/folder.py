"""Folders and files of the user's, as sources see them: what is there, how large, how old."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from rhoflow.errors import ConfigError


def files_in(path: str, wanted: Callable[[Path], bool], *, kind: str, expected: str) -> list[Path]:
    """The wanted files of a folder and its subfolders, sorted; hidden ones are left out.

    Args:
        path: the folder, ``~`` allowed.
        wanted: whether a file of this name counts.
        kind: the source's kind, for messages.
        expected: the names that count, for messages.

    Raises:
        ConfigError: the folder is missing or holds none.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"{kind}: '{folder}' is not a folder; set the source's path to the folder that holds "
            f"your files ({expected})"
        )
    found = [
        p
        for p in sorted(folder.rglob("*"))
        if not p.name.startswith(".") and wanted(p) and p.is_file()
    ]
    if not found:
        raise ConfigError(
            f"{kind}: '{folder}' holds no structure file; expected {expected} there or in its "
            "subfolders"
        )
    return found


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
