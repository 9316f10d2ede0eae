"""Opens VASP's text files, compressed or not, and reads them in bounded pieces.

A file is what its first bytes say, not what its name says: archives are often renamed. No line
and no buffer grows with what a damaged file claims.
"""

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.fast_parser import parse_n_doubles

from rhoflow.errors import DataError

_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_COMPRESS = b"\x1f\x9d"
_MAX_LINE = 1 << 16
_CHUNK = 1 << 20
# More bytes than any number that VASP prints.
_NUMBER = 64
# Fortran leaves out the E before an exponent of three digits, as in 0.12345678901-101; a parser
# takes it for two numbers, and every value behind it would move by one grid point.
_NO_E = re.compile(rb"(\d)([+-]\d{3})(?!\S)")
_WHOLE = re.compile(rb"E[+-]\d\d\d?$")

ARCHIVE_ERRORS = (EOFError, zlib.error, lzma.LZMAError)


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """A file's decompressed bytes (plain, gzip, bzip2 or xz).

    Raises:
        DataError: the file cannot be opened, is empty, or its archive is damaged.
    """
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if not start:
            raise DataError(f"{path.name} is empty: the run was killed, or it was not written")
        if start.startswith(_COMPRESS):
            raise DataError(f"{path.name} is packed by compress (.Z): unpack it with gunzip")
        opener = next((o for magic, o in _OPENERS.items() if start.startswith(magic)), open)
        with opener(path, "rb") as stream:
            yield cast(IO[bytes], stream)
    except ARCHIVE_ERRORS as error:
        raise DataError(f"{path.name} is a damaged or truncated archive ({error})") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path.name} cannot be read: {reason}") from error


class TextReader:
    """Lines and blocks of numbers of one stream, in turns, with a bounded buffer."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self.name = stream, name
        self._buffer = b""
        self._at = 0

    def line(self) -> bytes | None:
        """The next line without its end, None after the last.

        Raises:
            DataError: the line is longer than any that VASP writes, so this is no text of it.
        """
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            self._fill(_MAX_LINE + 1)
            end = self._buffer.find(b"\n", self._at)
        if end < 0:
            if self._at >= len(self._buffer):
                return None
            end = len(self._buffer)
        if end - self._at > _MAX_LINE:
            raise DataError(f"{self.name} is not a text file of VASP: a line of {_MAX_LINE} bytes")
        line, self._at = self._buffer[self._at : end], end + 1
        return line.rstrip(b"\r")

    def numbers(self, out: NDArray[np.float64]) -> int:
        """Fill ``out`` (n,) with the numbers that follow.

        Returns:
            How many were found before the stream ended or something else than a number came.
            ``line`` continues behind the last number.
        """
        done = 0
        while done < len(out):
            self._fill(_CHUNK)
            data = self._whole_numbers()
            parsed, used = _parse(data, out[done:])
            if data.count(b"E", 0, used) != parsed and _NO_E.search(data, 0, used):
                self._buffer = _NO_E.sub(rb"\1E\2", data) + self._buffer[self._at + len(data) :]
                self._at = 0
                continue
            if parsed and not _ends_well(data, used, parsed):
                at_end = used == len(data)
                self._at += used if at_end else len(data[:used].rsplit(None, 1)[0])
                return done + parsed - 1
            done += parsed
            self._at += used
            if not parsed and (data[used:].strip() or not data):
                break
            if not parsed:
                self._at += len(data) - used
        return done

    def rest(self) -> bytes:
        """The next bytes, for an error message."""
        return self._buffer[self._at : self._at + _NUMBER]

    def _whole_numbers(self) -> bytes:
        """The buffer up to its last white space: a number that the next chunk ends waits."""
        data = self._buffer[self._at :]
        if len(data) < _CHUNK:  # the stream has ended
            return data
        tail = data[-_NUMBER:]
        cut = max(tail.rfind(b"\n"), tail.rfind(b" "))
        return data if cut < 0 else data[: len(data) - len(tail) + cut + 1]

    def _fill(self, size: int) -> None:
        """Have at least ``size`` bytes ahead, or all that are left."""
        if len(self._buffer) - self._at >= size:
            return
        new = self._stream.read(size)
        if new:
            self._buffer = self._buffer[self._at :] + new
            self._at = 0


def _parse(data: bytes, out: NDArray[np.float64]) -> tuple[int, int]:
    """Numbers at the start of ``data`` into ``out``: how many, and the bytes they took."""
    stream = BytesIO(data)
    return parse_n_doubles(stream, out, len(out)), stream.tell()


def _ends_well(data: bytes, used: int, parsed: int) -> bool:
    """Whether the last number parsed is a whole one: not cut off, not part of a word."""
    if used < len(data):
        return data[used : used + 1].isspace()
    scientific = data.count(b"E") >= parsed - 1 > 0
    return not scientific or _WHOLE.search(data[-_NUMBER:]) is not None
