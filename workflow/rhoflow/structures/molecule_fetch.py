"""Files that a user's machine fetches once: address, version, checksum and licence in a table.

What arrives is kept only if its SHA-256 is that of the table, so that neither a broken line nor
another file under the same address goes unnoticed.
"""

import csv
import hashlib
import logging
from dataclasses import dataclass, fields
from pathlib import Path
from uuid import uuid4

import requests
from urllib3.exceptions import HTTPError

from rhoflow.errors import ConfigError, DataError, did_you_mean
from rhoflow.structures.reading import one_line
from rhoflow.structures.watchdog import deadline, watch_over

log = logging.getLogger(__name__)

MAX_BYTES = 1_000_000_000
_CHUNK = 1_048_576
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Entry:
    """A row of the registry.

    Attributes:
        name: what sources ask for.
        file: name of the file in the folder of what has been fetched.
        url: where it is.
        version: of its publisher.
        sha256: in hexadecimal digits; empty where none is known: such a file is fetched by hand.
        licence: of its content.
    """

    name: str
    file: str
    url: str
    version: str
    sha256: str
    licence: str


def read_registry(path: Path) -> dict[str, Entry]:
    """The entries of a registry (CSV) by name.

    Raises:
        ConfigError: it is no such table.
    """
    columns = [f.name for f in fields(Entry)]
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        entries = [Entry(**{name: row[name] for name in columns}) for row in rows]
    except (OSError, KeyError, csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"registry {path}: cannot be read ({type(error).__name__}: {one_line(error, 100)}); "
            f"expected a CSV table with the columns {', '.join(columns)}"
        ) from error
    for entry in entries:
        if Path(entry.file).name != entry.file or not entry.file.strip("."):
            raise ConfigError(f"registry {path}: '{entry.file}' is no plain name of a file")
    return {entry.name: entry for entry in entries}


def fetched(name: str, registry: Path, folder: Path, *, timeout_s: float) -> Path:
    """The file of a registry's entry, fetched if the folder does not hold it yet.

    Args:
        name: of the entry.
        registry: the table.
        folder: of what has been fetched; made where it is missing.
        timeout_s: longest time for fetching, in s.

    Raises:
        ConfigError: there is no such entry, or it has no checksum.
        DataError: it cannot be fetched, or what the folder holds or the address gives is another
            file than the registry says.
    """
    entries = read_registry(registry)
    if name not in entries:
        raise ConfigError(f"registry {registry}: no entry '{name}'{did_you_mean(name, entries)}")
    entry = entries[name]
    if not entry.sha256:
        raise ConfigError(
            f"registry {registry}: '{name}' has no checksum; fetch {entry.file} by hand from "
            f"{entry.url} and give its folder as the source's path"
        )
    path = folder / entry.file
    if not path.exists():
        _fetch(entry, path, timeout_s)
    found = _sha256(path)
    if found != entry.sha256:
        raise DataError(
            f"{path}: is not the file of the registry's entry '{name}': SHA-256 {found}, expected "
            f"{entry.sha256}. Delete it, and it is fetched again"
        )
    return path


def _fetch(entry: Entry, path: Path, timeout_s: float) -> None:
    """Write what the address gives to a file beside the target, then rename it."""
    log.info("%s: fetching %s", entry.name, entry.url)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        _download(entry, temporary, timeout_s)
        found = _sha256(temporary)
        if found != entry.sha256:
            raise DataError(
                f"{entry.name}: {entry.url} gives another file than the registry says: SHA-256 "
                f"{found}, expected {entry.sha256}. Nothing is kept; was the connection diverted, "
                "or has the publisher changed the file?"
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _download(entry: Entry, target: Path, timeout_s: float) -> None:
    with requests.Session() as session, deadline(timeout_s) as watch:
        watch_over(session)
        patience = min(timeout_s, _PATIENCE_S)
        try:
            with session.get(entry.url, stream=True, timeout=patience) as answer:
                problem = _save(answer, target)
        except (OSError, HTTPError, ValueError) as error:
            problem = _cause(error)
        if watch.over:
            problem = f"not complete after {timeout_s:g} s"
    if problem:
        raise DataError(
            f"{entry.name}: cannot be fetched from {entry.url} ({problem}). Try again later, or "
            f"fetch it on another machine and put it into {target.parent} under the name "
            f"{entry.file} (SHA-256 {entry.sha256})"
        )


def _save(answer: requests.Response, target: Path) -> str:
    """Write the body of an answer; what is wrong with it, or nothing."""
    if answer.status_code != 200:
        return f"status {answer.status_code}"
    size = 0
    with target.open("wb") as stream:
        for chunk in answer.iter_content(_CHUNK):
            size += len(chunk)
            if size > MAX_BYTES:
                return f"more than {MAX_BYTES / 1e6:g} MB"
            stream.write(chunk)
    return ""


def _cause(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return one_line(error, 80) or type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
