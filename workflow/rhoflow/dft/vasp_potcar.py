"""POTCARs from the user's licensed folder, which is only ever read."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import chemical_symbols

from rhoflow.dft.vasp_inputs import potcar_symbol
from rhoflow.errors import DataError, EngineError
from rhoflow.vasp.folders import home_path
from rhoflow.vasp.stream import open_binary

if TYPE_CHECKING:
    from rhoflow.dft.vasp import VaspSpec

SYMBOL = r"^[A-Z][a-z]?(_[A-Za-z0-9]{1,8}){0,2}(\.[0-9]{1,3})?$"
_FAMILIES = ("POT_GGA_PAW_PBE", "potpaw_PBE", "potpaw_PBE.54", "potpaw_PBE.52", "potpaw_PBE.64", "")
_PACKED = ("", ".gz", ".bz2", ".xz", ".Z")
_MAX_BYTES = 64 << 20
_UNPACK_S = 60


def licensed_folder(path: str | None) -> Path:
    """The folder of POTCARs.

    Raises:
        EngineError: none is set, or it is missing.
    """
    if path is None:
        raise EngineError(
            "engines.NAME.potcar_folder is not set: VASP cannot run without its licensed POTCARs. "
            "Set it to the folder that holds potpaw_PBE/Ti/POTCAR or POT_GGA_PAW_PBE/Ti/POTCAR, or "
            "write the inputs only (target inputs), run them elsewhere and read them back with "
            "kind: outputs"
        )
    folder = home_path(path)
    if not folder.is_dir():
        raise EngineError(
            f"engines.NAME.potcar_folder: '{folder}' is not a folder; expected the one that holds "
            "potpaw_PBE/Ti/POTCAR or POT_GGA_PAW_PBE/Ti/POTCAR"
        )
    return folder


def potcar_state(spec: "VaspSpec", symbols: Iterable[str] | None = None) -> str:
    """SHA-256 of names, sizes and times of the POTCAR files that a spec names.

    It reads none of them. Empty where no licensed folder is set or it is missing.

    Args:
        spec: its preset, ``potcar_symbols`` and ``potcar_folder`` count.
        symbols: the elements that count, all of them by default.
    """
    folder = home_path(spec.potcar_folder or "")
    if spec.potcar_folder is None or not folder.is_dir():
        return ""
    elements = chemical_symbols[1:] if symbols is None else symbols
    names = sorted({potcar_symbol(element, spec) for element in elements})
    there = _entries(folder)
    states = [_state(folder, name) for name in names if _listed(name, there)]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def _entries(folder: Path) -> set[str]:
    """What lies in the licensed folder's families; one listing each spares thousands of looks."""
    there: set[str] = set()
    for family in _FAMILIES:
        try:
            there |= {path.name for path in (folder / family).iterdir()}
        except OSError:  # not this layout
            continue
    return there


def _listed(symbol: str, there: set[str]) -> bool:
    return symbol in there or any(f"POTCAR.{symbol}{ending}" in there for ending in _PACKED)


def _state(folder: Path, symbol: str) -> list[str | int]:
    try:
        path = _find(folder, symbol)
        state = path.stat()
    except (DataError, OSError):
        return [symbol]
    return [path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns]


@cache
def potcar(folder: Path, symbol: str, title: str) -> bytes:
    """The text of one POTCAR.

    Args:
        folder: the licensed folder.
        symbol: as ``Ti_pv``.
        title: what its title must begin with, as ``PAW_PBE``.

    Raises:
        DataError: it is missing, damaged or of another kind.
    """
    path = _find(folder, symbol)
    content = _unpacked(path)
    match = re.search(rb"TITEL\s*=\s*(\S+)\s+(\S+)", content)
    if match is None:
        raise DataError(f"POTCAR of {symbol} ({path.parent.name}) has no title: it is no POTCAR")
    found = match[1].decode("ascii", "replace"), match[2].decode("ascii", "replace")
    if found != (title, symbol):
        raise DataError(
            f"POTCAR of {symbol} is titled '{found[0]} {found[1]}', expected '{title} {symbol}'"
        )
    return content if content.endswith(b"\n") else content + b"\n"


def fingerprint(folder: Path, symbol: str, title: str) -> str | None:
    """SHA-256 of one POTCAR, None where it cannot be had."""
    try:
        return hashlib.sha256(potcar(folder, symbol, title)).hexdigest()
    except DataError:
        return None


def highest_cutoff(content: bytes) -> float:
    """ENMAX in eV of a POTCAR, 0 where it has none."""
    match = re.search(rb"ENMAX\s*=\s*([\d.]+)", content)
    return float(match[1]) if match else 0.0


def _find(folder: Path, symbol: str) -> Path:
    for family in _FAMILIES:
        for ending in _PACKED:
            places = (
                folder / family / symbol / f"POTCAR{ending}",
                folder / family / f"POTCAR.{symbol}{ending}",
            )
            for place in places:
                if place.is_file():
                    return place
    raise DataError(
        f"no POTCAR of {symbol} in the licensed folder (looked for {symbol}/POTCAR, plain or "
        "packed, in POT_GGA_PAW_PBE, potpaw_PBE and the folder itself)"
    )


def _unpacked(path: Path) -> bytes:
    if path.suffix == ".Z":
        return _uncompress(path)
    with open_binary(path) as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise DataError(f"POTCAR {path.parent.name} is larger than {_MAX_BYTES >> 20} MB")
    return content


def _uncompress(path: Path) -> bytes:
    """A file of ``compress``, which VASP's own archives use and Python does not read."""
    try:
        done = subprocess.run(
            ["gzip", "-dc", "--", str(path)], capture_output=True, timeout=_UNPACK_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DataError(
            f"POTCAR {path.parent.name}/{path.name} cannot be unpacked ({error})"
        ) from error
    return done.stdout
