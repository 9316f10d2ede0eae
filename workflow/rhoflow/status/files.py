"""Reading files that others write at this moment, that may be damaged, or that are no files.

Nothing here raises for what lies on the disk: what cannot be read is noted and counts as absent.
"""

import os
import re
import stat
import zipfile
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# A log line with its neighbours fits many times; a log that someone filled does not.
TAIL_BYTES = 256 * 1024
ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands, such as a window's title
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # strings for the terminal
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, cursor movements
    r"|\x1b[ -/]*[0-~]?"
)


def clean(text: str) -> str:
    """One line that is safe to print: no terminal escapes, no control characters."""
    plain = ESCAPES.sub("", text)
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


@dataclass
class Tree:
    """What lies in folders, each looked into once.

    Attributes:
        unreadable: what could not be read, and why; by path.
    """

    unreadable: dict[str, str] = field(default_factory=dict)
    _folders: dict[str, dict[str, os.DirEntry[str]]] = field(default_factory=dict)

    def note(self, path: str, error: Exception | str) -> None:
        """Remember that a path could not be read."""
        told = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self.unreadable.setdefault(path, clean(told) or type(error).__name__)

    def folder(self, path: str) -> dict[str, os.DirEntry[str]]:
        """The entries of a folder by name; none if there is no such folder."""
        if path not in self._folders:
            entries: dict[str, os.DirEntry[str]] = {}
            try:
                with os.scandir(path or ".") as listing:
                    entries = {entry.name: entry for entry in listing}
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                self.note(path, error)
            self._folders[path] = entries
        return self._folders[path]

    def mtime(self, path: str) -> float | None:
        """When a file or folder was last changed (s since the epoch); None if there is none."""
        folder, name = os.path.split(path)
        entry = self.folder(folder).get(name)
        if entry is None:
            return None
        try:
            told = entry.stat()
        except FileNotFoundError:  # a link to nowhere, or removed meanwhile
            return None
        except OSError as error:
            self.note(path, error)
            return None
        if not (stat.S_ISREG(told.st_mode) or stat.S_ISDIR(told.st_mode)):
            self.note(path, "is neither a file nor a folder")  # reading a pipe would wait for ever
            return None
        return told.st_mtime

    def newest(self, path: str, suffix: str) -> list[tuple[float, str]]:
        """Files of a folder with a suffix: (mtime, path), the newest first."""
        paths = [f"{path}/{name}" for name in self.folder(path) if name.endswith(suffix)]
        return sorted(((t, p) for p in paths if (t := self.mtime(p)) is not None), reverse=True)

    def walk(self, path: str) -> Iterator[str]:
        """Every file below a folder; links to folders are not followed."""
        for name, entry in self.folder(path).items():
            below = f"{path}/{name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self.walk(below)
            else:
                yield below

    def tail(self, path: str, limit: int = TAIL_BYTES) -> str:
        """The end of a text file, at most ``limit`` bytes of it; empty if there is none."""
        if self.mtime(path) is None:
            return ""
        try:
            with Path(path).open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - limit))
                return stream.read(limit).decode("utf-8", errors="replace")
        except OSError as error:
            self.note(path, error)
            return ""

    def rows(self, path: str) -> int | None:
        """Number of rows of a Parquet table, None if there is none."""
        if self.mtime(path) is None:
            return None
        try:
            return pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            self.note(path, f"truncated or corrupt: {error}")
            return None

    def columns(self, path: str, names: tuple[str, ...]) -> dict[str, list[Any]] | None:
        """Some columns of a Parquet table, None if there is none or it lacks one of them."""
        if self.mtime(path) is None:
            return None
        try:
            with pq.ParquetFile(path) as file:
                table = file.read(columns=list(names), use_threads=False)
            return {name: table.column(name).to_pylist() for name in names}
        except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
            self.note(path, f"truncated or corrupt: {error}")
            return None

    def benchmark(self, path: str) -> tuple[float, float] | None:
        """Wall and CPU time (s) of a job as Snakemake measured them, None without a measure.

        The CPU time of a job that was too short to be looked at counts as its wall time.
        """
        lines = self.tail(path).splitlines()
        if len(lines) < 2:
            return None
        row = dict(zip(lines[0].split("\t"), lines[-1].split("\t"), strict=False))
        wall = _seconds(row.get("s"))
        if wall is None:
            return None
        return wall, _seconds(row.get("cpu_time")) or wall

    def epochs(self, path: str) -> int | None:
        """How many epochs a training's checkpoint has behind it, from a header alone."""
        try:
            with zipfile.ZipFile(path) as archive, archive.open("history.npy") as member:
                np.lib.format.read_magic(member)
                shape, _, _ = np.lib.format.read_array_header_1_0(member)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, RuntimeError):
            return None  # replaced at this moment, or damaged: the training starts anew then
        return int(shape[0]) if len(shape) == 1 else None


def _seconds(text: str | None) -> float | None:
    """A positive finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def marked_outputs(tree: Tree, folder: str) -> dict[str, float]:
    """Outputs that Snakemake marks as in progress, and since when (s since the epoch).

    A marker's name is the output's path in base64, cut into folders "@..." where it is long.
    """
    marks = {}
    for path in tree.walk(folder):
        parts = path.removeprefix(f"{folder}/").split("/")
        code = "".join(p.removeprefix("@") for p in parts)
        try:
            name = urlsafe_b64decode(code).decode("utf-8")
        except ValueError:  # no marker
            continue
        since = tree.mtime(path)
        if since is not None:
            marks[os.path.normpath(name)] = since
    return marks
