"""Files that are wrong in ways that would cost memory or pass unseen."""

from pathlib import Path

import numpy as np
import pytest

from rhoflow import io
from rhoflow.errors import DataError
from rhoflow.structures.files import FilesSource, read_files

POSCAR = "x\n1\n{a} 0 0\n0 {a} 0\n0 0 {a}\nMg O\n{n} 1\ndirect\n0 0 0\n.5 .5 .5\n"


def reason(folder: Path) -> str:
    (candidate,) = read_files(FilesSource(path=str(folder)))
    assert candidate.structure is None
    return candidate.reason


def test_a_cell_of_absurd_size_is_a_row(tmp_path):
    (tmp_path / "POSCAR").write_text(POSCAR.format(a="1e9", n=1))
    assert "cell edge" in reason(tmp_path)


def test_a_poscar_that_announces_more_atoms_than_it_has_lines_is_a_row(tmp_path):
    (tmp_path / "POSCAR").write_text(POSCAR.format(a=4, n=999_999_999))
    assert "announces 1000000000 atoms" in reason(tmp_path)


def test_one_flipped_byte_of_numbers_is_found(tmp_path):
    path = tmp_path / "vectors.parquet"
    values = np.random.default_rng(0).standard_normal(500)
    io.write_vectors(path, ["a"], [values])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or corrupt"):
        io.read_vectors([path])
