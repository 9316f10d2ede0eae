"""CHGCAR and LOCPOT: every layout that VASP writes, and every way in which one can be broken."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from pymatgen.io.vasp.outputs import Chgcar

from rhoflow.errors import DataError
from rhoflow.vasp import stream
from rhoflow.vasp.volumetric import read_header, read_volumetric

SHAPE = (4, 5, 6)
HEAD = """made up
   1.5
     2.000000    0.000000    0.000000
     0.000000    2.000000    0.000000
     0.500000    0.000000    2.000000
   Ti   O
     1     2
Direct
  0.000000  0.000000  0.000000
  0.250000  0.500000  0.500000
  0.750000  0.500000  0.500000

"""
AUGMENTATION = """augmentation occupancies   1   7
  0.1234567E+00 -0.1234567E-01  0.0000000E+00  0.0000000E+00  0.0000000E+00
  0.1234567E-19  0.7654321E+00
"""
IMAGINARY = AUGMENTATION.replace("occupancies ", "occupancies (imaginary part) ")


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=10, size=SHAPE)


def grid(array: np.ndarray) -> str:
    flat = [f"{x:17.10E}" for x in array.ravel(order="F")]
    rows = [" ".join(flat[i : i + 5]) for i in range(0, len(flat), 5)]
    return "".join(f"{n:5d}" for n in array.shape) + "\n" + "\n".join(rows) + "\n"


def chgcar(*arrays: np.ndarray, between: str = AUGMENTATION, head: str = HEAD) -> str:
    return head + between.join(grid(a) for a in arrays) + between


def write(folder: Path, text: str | bytes, name: str = "CHGCAR") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def problem(folder: Path, text: str | bytes, name: str = "CHGCAR") -> str:
    with pytest.raises(DataError) as caught:
        read_volumetric(write(folder, text, name))
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("between", ["", AUGMENTATION, AUGMENTATION + IMAGINARY])
def test_reads_what_pymatgen_reads(tmp_path, blocks, between):
    arrays = [values(i) for i in range(blocks)]
    path = write(tmp_path, chgcar(*arrays, between=between))
    field = read_volumetric(path)
    peer = Chgcar.from_file(path)
    for ours, array in zip(field.blocks, arrays, strict=True):
        np.testing.assert_allclose(ours, array, rtol=1e-10)
    keys = {1: ["total"], 2: ["total", "diff"], 4: ["total", "diff_x", "diff_y", "diff_z"]}
    for key, ours in zip(keys[blocks], field.blocks, strict=True):
        np.testing.assert_array_equal(ours, peer.data[key])
    np.testing.assert_allclose(field.header.lattice, peer.structure.lattice.matrix)
    np.testing.assert_allclose(field.header.frac_coords, peer.structure.frac_coords)
    assert field.header.symbols == ("Ti", "O", "O")


@pytest.mark.parametrize(
    ("pack", "ending"), [(gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")]
)
def test_packed_files_are_known_by_their_content(tmp_path, pack, ending):
    text = pack(chgcar(values()).encode())
    for name in (f"CHGCAR.{ending}", "CHGCAR"):
        np.testing.assert_allclose(
            read_volumetric(write(tmp_path, text, name)).blocks[0], values(), rtol=1e-10
        )


def test_a_grid_longer_than_the_buffer(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "_CHUNK", 200)
    read = read_volumetric(write(tmp_path, chgcar(values(0), values(1))))
    np.testing.assert_allclose(read.blocks[0], values(0), rtol=1e-10)
    np.testing.assert_allclose(read.blocks[1], values(1), rtol=1e-10)


@pytest.mark.parametrize("chunk", [1 << 20, 120])
def test_exponents_of_three_digits_have_no_letter(tmp_path, monkeypatch, chunk):
    """0.1E-100 is printed as 0.10000000000-100; read as two numbers it would shift the grid."""
    monkeypatch.setattr(stream, "_CHUNK", chunk)
    array = values()
    array[1, 2, 3] = 0.0
    text = grid(array)
    tiny = text.replace(" 0.0000000000E+00", "0.12345678901-104")
    assert tiny != text
    read = read_volumetric(write(tmp_path, HEAD + tiny))
    np.testing.assert_allclose(read.blocks[0], array, rtol=1e-10, atol=1e-90)


def test_numbers_without_exponent_are_read_too(tmp_path):
    rows = "\n".join(" ".join(f"{x:.5f}" for x in row) for row in values().reshape(-1, 5))
    read = read_volumetric(write(tmp_path, f"{HEAD}4 5 6\n{rows}\n"))
    assert read.blocks[0].size == 120


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_line_ends_of_windows(tmp_path, ending):
    text = chgcar(values(), values(1)).replace("\n", ending)
    assert len(read_volumetric(write(tmp_path, text)).blocks) == 2


def test_moments_of_the_atoms_stand_before_the_magnetisation(tmp_path):
    moments = AUGMENTATION + "  0.250000000000E+00  0.000000000000E+00 -0.100000000000E+01\n"
    assert len(
        read_volumetric(write(tmp_path, chgcar(values(), values(1), between=moments))).blocks
    )


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ("Ti_sv O_s", ("Ti", "O", "O")),
        ("Ti_sv/1a2b3c O/99ff", ("Ti", "O", "O")),
        ("O Ti", ("O", "Ti", "Ti")),
    ],
)
def test_elements_by_the_names_of_their_potcars(tmp_path, elements, expected):
    head = HEAD.replace("   Ti   O", elements)
    assert read_header(write(tmp_path, chgcar(values(), head=head))).symbols == expected


def test_vasp_4_names_no_elements(tmp_path):
    head = HEAD.replace("   Ti   O\n", "")
    header = read_header(write(tmp_path, chgcar(values(), head=head)))
    assert header.symbols is None
    assert header.counts == (1, 2)
    assert header.crystal("x", ("Ti", "O", "O")).symbols == ("Ti", "O", "O")
    with pytest.raises(DataError, match="names no elements"):
        header.crystal("x")
    with pytest.raises(DataError, match="3 atoms, but the run's other files name 1"):
        header.crystal("x", ("Ti",))
    named = read_header(write(tmp_path, chgcar(values(), head=head.replace("made up", "Ti O"))))
    assert named.symbols == ("Ti", "O", "O")


def test_scales_and_cartesian_positions(tmp_path):
    plain = read_header(write(tmp_path, HEAD))
    assert np.linalg.det(plain.lattice) == pytest.approx(27.0)
    volume = read_header(write(tmp_path, HEAD.replace("   1.5\n", "   -27.0\n")))
    np.testing.assert_allclose(volume.lattice, plain.lattice)
    each = read_header(write(tmp_path, HEAD.replace("   1.5\n", "   1.5 1.5 1.5\n")))
    np.testing.assert_allclose(each.lattice, plain.lattice)
    places = plain.frac_coords @ plain.lattice / 1.5
    rows = "\n".join(" ".join(f"{x:.10f}" for x in row) for row in places)
    text = HEAD.split("Direct")[0] + f"Selective dynamics\nCartesian\n{rows}\n\n"
    cartesian = read_header(write(tmp_path, text))
    np.testing.assert_allclose(cartesian.frac_coords, plain.frac_coords, atol=1e-9)


def test_truncated_files_say_how_far_they_go(tmp_path):
    total = HEAD + grid(values())
    last = total.rstrip().rfind(" ")
    message = problem(tmp_path, total[: last - 40])
    assert "truncated: 116 of 120 values" in message
    assert "119 of 120 values" in problem(tmp_path, total[: last + 8])
    assert "119 of 120 values" in problem(tmp_path, total.rstrip()[:-1])
    assert len(read_volumetric(write(tmp_path, total.rstrip())).blocks) == 1
    both = chgcar(values(), values(1))
    end = both.rfind("augmentation")
    assert "of 120 values of the magnetisation" in problem(tmp_path, both[: end - 30])
    assert "3 of 7 augmentation occupancies of atom 1" in problem(
        tmp_path, total + "\n".join(AUGMENTATION.splitlines()[:1]) + "\n 0.1E+0 0.2E+0 0.3E+0\n"
    )


def test_a_damaged_archive(tmp_path):
    packed = gzip.compress(chgcar(values()).encode())
    assert "damaged or truncated archive" in problem(tmp_path, packed[:300], "CHGCAR.gz")
    assert "damaged or truncated" in problem(tmp_path, packed[:60] + b"x" * 99, "CHGCAR.gz")
    assert "gunzip" in problem(tmp_path, b"\x1f\x9d\x90abcdef", "CHGCAR.Z")


@pytest.mark.parametrize("word", ["*****************", "NaN", "Infinity", "0.1D+02", "1,5", "x"])
def test_values_that_are_no_numbers(tmp_path, word):
    text = grid(values())
    first = text.split()[9]
    message = problem(tmp_path, HEAD + text.replace(first, word, 1))
    if word in ("NaN", "Infinity"):
        assert "1 of 120 values are not finite" in message
    else:
        assert "of 120" in message
        assert "expected a number" in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("10000 10000 10000", "announces 10000 x 10000 x 10000 grid points"),
        ("999999999999 1 1", "grid points"),
        ("0 5 6", "announces 0 x 5 x 6"),
        ("4 5", "three numbers of points"),
        ("-4 5 6", "three numbers of points"),
        ("4.0 5.0 6.0", "three numbers of points"),
        ("4 5 6 7", "three numbers of points"),
    ],
)
def test_headers_that_lie_cost_no_memory(tmp_path, line, said):
    assert said in problem(tmp_path, HEAD + grid(values()).replace("    4    5    6", line, 1))


def test_too_large_a_grid_for_the_file_reads_only_what_is_there(tmp_path):
    text = HEAD + grid(values()).replace("    4    5    6", "  580  580  580", 1)
    assert "truncated: 120 of 195112000 values" in problem(tmp_path, text)


def test_two_files_in_one(tmp_path):
    one = chgcar(values())
    assert "two files in one" in problem(tmp_path, one + one)
    assert "two files in one" in problem(tmp_path, one + one.replace("made up", " ").lstrip())
    other = grid(np.ones((4, 5, 7)))
    assert "a grid of 4 x 5 x 7 points follows" in problem(tmp_path, one + other)
    assert "3 grids" in problem(tmp_path, chgcar(values(), values(1), values(2)))
    assert "more than 4" in problem(tmp_path, chgcar(*[values(i) for i in range(5)]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (b"\x00\x01\x02" * 50_000, "not a text file"),
        (b"a" * 200_000, "not a text file"),
        ("<html>\n<body>no\n", "the scale"),
        ("title\n1.0\n1 0 0\n0 1 0\n", "ends where a lattice vector"),
        (HEAD, "holds no grid"),
        (HEAD.replace("2.000000", "0.000000"), "no crystal's"),
        (HEAD.replace("   1.5\n", "   nan\n"), "the scale"),
        (HEAD.replace("   1.5\n", "   1e9\n"), "no crystal's"),
        (HEAD.replace("Ti", "Qq"), "chemical symbol"),
        (HEAD.replace("     1     2", "     1"), "2 elements but 1 numbers"),
        (HEAD.replace("     1     2", "     1 2000000000"), "announces 2000000001 atoms"),
        (HEAD.replace("     1     2", "     1     9"), "position 4 of 10 is not three numbers"),
        (HEAD.replace("0.250000  0.500000", "0.250000  abc"), "position 2 of 3"),
    ],
)
def test_other_files(tmp_path, text, said):
    assert said in problem(tmp_path, text)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_volumetric(tmp_path / "CHGCAR")
    with pytest.raises(DataError, match="cannot be read"):
        read_volumetric(tmp_path)
