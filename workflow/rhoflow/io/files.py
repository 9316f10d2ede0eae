"""Whole files: written under a temporary name, then renamed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from rhoflow import __version__
from rhoflow.errors import DataError

PathLike = str | Path


def replace(path: PathLike, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Nodes of a cluster share the folder, and process numbers are no names there.
    temporary = target.with_name(f".{target.name[:80]}.{uuid4().hex}.tmp")
    try:
        write(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: PathLike, text: str) -> None:
    """Write a text file (UTF-8)."""
    replace(path, lambda tmp: tmp.write_text(text, encoding="utf-8"))


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file that is made elsewhere, such as a figure."""
    replace(path, lambda tmp: tmp.write_bytes(content))


def read_text(path: PathLike) -> str:
    """Read a text file (UTF-8)."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error


def metadata(spec: Mapping[str, Any] | None) -> dict[str, Any]:
    """What every file says of its making."""
    return {"rhoflow_version": __version__, "spec": dict(spec or {})}


def unreadable(path: PathLike, cause: Exception) -> DataError:
    """The error for a file that is no good."""
    return DataError(
        f"{path}: cannot be read ({type(cause).__name__}: {cause}). It is truncated or corrupt: "
        f"delete it and run snakemake again; only what depends on it is made anew"
    )


def refuse_mixed(paths: Sequence[PathLike], specs: Sequence[Any]) -> None:
    """Refuse files that were not all made with the same settings."""
    for path, spec in zip(paths, specs, strict=True):
        if spec != specs[0]:
            raise DataError(
                f"{path} was made with other settings than {paths[0]}: {spec} against {specs[0]}. "
                "Delete the older file and run snakemake again"
            )
