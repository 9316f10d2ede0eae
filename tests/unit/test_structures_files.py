"""Reading a folder: every format, and every way in which a file can be bad."""

import os

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from pydantic import ValidationError
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from rhoflow.errors import ConfigError
from rhoflow.structures.files import FilesSource, fingerprint, read_files
from rhoflow.structures.select import SelectionSpec, select

CIF = """data_{name}
_chemical_formula_sum '{formula}'
_cell_length_a 4.212
_cell_length_b 4.212
_cell_length_c 4.212
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M '{group}'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{cation}1 {cation} 0 0 0 {occupancy}
O1 O 0.5 0.5 0.5 1
"""


def cif(name="MgO", formula="Mg1 O1", group="F m -3 m", cation="Mg", occupancy=1.0):
    return CIF.format(name=name, formula=formula, group=group, cation=cation, occupancy=occupancy)


def rocksalt() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def read(folder, **settings):
    return list(read_files(FilesSource(path=str(folder), **settings)))


def only(folder, **settings):
    (candidate,) = read(folder, **settings)
    return candidate


def reason(folder, name, text, **settings):
    """The reason given for one bad file, whatever its bytes."""
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)
    candidate = only(folder, **settings)
    assert candidate.structure is None
    assert candidate.source_id.startswith(name)
    assert "\n" not in candidate.reason
    assert len(candidate.reason) <= 200
    return candidate.reason


def test_every_format_gives_the_same_crystal(tmp_path):
    structure = rocksalt()
    CifWriter(structure, symprec=0.01).write_file(tmp_path / "a.cif")
    Poscar(structure).write_file(tmp_path / "POSCAR")
    Poscar(structure).write_file(tmp_path / "CONTCAR.relaxed")
    Poscar(structure).write_file(tmp_path / "b.vasp")
    Poscar(structure).write_file(tmp_path / "c.poscar")
    write(tmp_path / "d.extxyz", structure.to_ase_atoms(), format="extxyz")
    (tmp_path / "notes.txt").write_text("not a structure")
    (tmp_path / ".hidden.cif").write_text("not a structure")

    candidates = read(tmp_path)

    assert [c.source_id for c in candidates] == [
        "CONTCAR.relaxed", "POSCAR", "a.cif", "b.vasp", "c.poscar", "d.extxyz#1",
    ]  # fmt: skip
    for candidate in candidates:
        assert candidate.structure is not None, candidate.reason
        assert candidate.structure.composition == structure.composition
        assert candidate.structure.volume == pytest.approx(structure.volume)


def test_folders_are_searched_recursively_in_sorted_order(tmp_path):
    for name in ("b/x.cif", "a/deep/y.cif", "c.cif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(cif())

    assert [c.source_id for c in read(tmp_path)] == ["a/deep/y.cif", "b/x.cif", "c.cif"]


def test_data_blocks_become_candidates_and_a_bad_one_stops_nothing(tmp_path):
    text = "data_global\n_journal_year 2017\n" + cif("one") + cif("two", cation="Xx") + cif("three")
    (tmp_path / "many.cif").write_text(text)

    candidates = read(tmp_path)

    assert [c.source_id for c in candidates] == [
        "many.cif#1-one", "many.cif#2-two", "many.cif#3-three",
    ]  # fmt: skip
    assert [c.structure is None for c in candidates] == [False, True, False]


def test_frames_become_candidates_and_a_truncated_one_ends_its_file(tmp_path):
    frames = [bulk("MgO", "rocksalt", a=a) for a in (4.1, 4.2, 4.3)]
    write(tmp_path / "frames.xyz", frames, format="extxyz")
    text = (tmp_path / "frames.xyz").read_text()

    volumes = [c.structure.volume for c in read(tmp_path) if c.structure is not None]
    assert np.allclose(volumes, [a**3 / 4 for a in (4.1, 4.2, 4.3)])

    (tmp_path / "frames.xyz").write_text("\n".join(text.splitlines()[:-1]))
    candidates = read(tmp_path)
    assert candidates[-1].structure is None
    assert candidates[-1].reason


def test_bad_files_do_not_stop_the_good_one(tmp_path):
    (tmp_path / "0.cif").write_bytes(b"\x00\xff\xfe garbage")
    (tmp_path / "1.cif").write_text("")
    (tmp_path / "2.vasp").write_text("only a title")
    (tmp_path / "3.xyz").write_text("not a number\n")
    (tmp_path / "4.cif").write_text(cif())

    assert [c.structure is not None for c in read(tmp_path)] == [False] * 4 + [True]


def test_empty_file(tmp_path):
    assert reason(tmp_path, "a.cif", "") == "empty file"


def test_large_file_is_not_read(tmp_path):
    text = "max_file_mb = 0.0001"
    assert text in reason(tmp_path, "a.cif", cif() + "#" * 200, max_file_mb=0.0001)


def test_size_limit_is_in_megabytes(tmp_path):
    text = cif().ljust(2000, "\n")
    assert "max_file_mb = 0.0019" in reason(tmp_path, "a.cif", text, max_file_mb=0.0019)
    assert only(tmp_path, max_file_mb=0.0021).structure is not None


def test_cif_without_atoms(tmp_path):
    assert "without atom sites" in reason(tmp_path, "a.cif", "data_x\n_cell_length_a 4\n")


def test_cif_without_coordinates(tmp_path):
    text = cif().replace("Mg1 Mg 0 0 0 1.0", "Mg1 Mg ? ? ? 1.0")
    assert "unreadable" in reason(tmp_path, "a.cif", text)


def test_cif_without_cell(tmp_path):
    text = "\n".join(line for line in cif().splitlines() if "_cell_" not in line)
    assert "unreadable" in reason(tmp_path, "a.cif", text)


def test_cif_without_symmetry(tmp_path):
    text = "\n".join(line for line in cif().splitlines() if "_symmetry" not in line)
    assert "symmetry" in reason(tmp_path, "a.cif", text)


def test_cif_with_unknown_element(tmp_path):
    text = cif(cation="Xx", formula="Xx1 O1")
    assert "Xx" in reason(tmp_path, "a.cif", text)


def test_cif_that_lacks_its_hydrogens(tmp_path):
    assert "disagree about H" in reason(tmp_path, "a.cif", cif(formula="H2 Mg1 O2"))


def test_cif_with_another_stoichiometry(tmp_path):
    assert "MgO" in reason(tmp_path, "a.cif", cif(formula="Mg1 O2"))


def test_partial_occupancy_is_read_as_such(tmp_path):
    (tmp_path / "a.cif").write_text(cif(occupancy=0.5, formula="Mg0.5 O1"))

    candidate = only(tmp_path)

    assert candidate.structure is not None
    assert not candidate.structure.is_ordered


def test_poscar_without_elements(tmp_path):
    text = "MgO\n1.0\n4 0 0\n0 4 0\n0 0 4\n1 1\ndirect\n0 0 0\n0.5 0.5 0.5\n"
    assert "names no elements" in reason(tmp_path, "POSCAR", text)


def test_poscar_cut_short(tmp_path):
    text = "\n".join(Poscar(rocksalt()).get_str().splitlines()[:-2])
    assert "unreadable" in reason(tmp_path, "a.vasp", text)


def test_poscar_with_unknown_element(tmp_path):
    assert "unreadable" in reason(
        tmp_path, "a.vasp", Poscar(rocksalt()).get_str().replace("Mg", "Qq")
    )


def test_poscar_with_a_flat_cell(tmp_path):
    text = "MgO\n1.0\n4 0 0\n4 0 0\n0 0 4\nMg O\n1 1\ndirect\n0 0 0\n0.5 0.5 0.5\n"
    assert "unreadable" in reason(tmp_path, "POSCAR", text)


def test_coordinates_that_are_not_numbers(tmp_path):
    text = "MgO\n1.0\n4 0 0\n0 4 0\n0 0 4\nMg O\n1 1\ndirect\nnan 0 0\n0.5 0.5 0.5\n"
    assert "unreadable" in reason(tmp_path, "POSCAR", text)


def test_molecule_has_no_lattice(tmp_path):
    text = "2\nwater, more or less\nO 0 0 0\nH 0 0 1\n"
    assert "periodic in 0 of 3" in reason(tmp_path, "a.xyz", text)


def test_slab_is_not_a_crystal(tmp_path):
    text = '1\nLattice="4 0 0 0 4 0 0 0 20" pbc="T T F"\nMg 0 0 0\n'
    assert "periodic in 2 of 3" in reason(tmp_path, "a.xyz", text)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_file_without_permission(tmp_path):
    (tmp_path / "a.cif").write_text(cif())
    (tmp_path / "a.cif").chmod(0)

    assert only(tmp_path).structure is None


def test_names_that_are_no_text_are_shown_as_such_and_stay_apart(tmp_path):
    names = [b"a b.cif", b"a\nb.cif", b"a\tb.cif", b"n\xff.cif", b"\x01.cif"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_text(cif())

    candidates = read(tmp_path)

    told = [c.source_id for c in candidates]
    assert sorted(told) == [".cif", "a b.cif", "a b.cif-2", "a b.cif-3", "n\\udcff.cif"]
    assert all(c.structure is not None for c in candidates)
    assert fingerprint(FilesSource(path=str(tmp_path)))
    result = select(candidates, SelectionSpec(size=1, drop_duplicates=False), source="files")
    result.structures.to_parquet(tmp_path / "t.parquet")


def test_an_at_sign_in_a_name_is_no_index(tmp_path):
    write(tmp_path / "x.xyz", [bulk("MgO", "rocksalt", a=a) for a in (4.1, 4.2)], format="extxyz")
    (tmp_path / "x.xyz").rename(tmp_path / "x@0.xyz")

    assert [c.source_id for c in read(tmp_path)] == ["x@0.xyz#1", "x@0.xyz#2"]


def test_hidden_folders_are_left_out(tmp_path):
    for name in ("a.cif", ".trash/b.cif", "c/.git/d/e.cif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(cif())

    assert [c.source_id for c in read(tmp_path)] == ["a.cif"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + cif(),
        cif().replace("data_", "DATA_").replace("loop_", "LOOP_"),
        cif().replace("data_", "Data_").replace("loop_", "Loop_"),
    ],
)
def test_cif_with_a_byte_order_mark_or_keywords_in_capitals(tmp_path, text):
    (tmp_path / "a.cif").write_text(text, encoding="utf-8")

    candidate = only(tmp_path)

    assert candidate.structure is not None, candidate.reason
    assert candidate.structure.composition.reduced_formula == "MgO"


def test_a_home_that_is_not_known():
    with pytest.raises(ConfigError, match="no home folder is known for '~nobody-here'"):
        read("~nobody-here/x")


def test_missing_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.*is not a folder; set"):
        read(tmp_path / "nowhere")


def test_folder_without_structures(tmp_path):
    (tmp_path / "readme.txt").write_text("")

    with pytest.raises(ConfigError, match=r"holds no structure file; expected \*\.cif"):
        read(tmp_path)


def test_settings_are_checked():
    with pytest.raises(ValidationError):
        FilesSource(path="x", max_file_mb=0)
    with pytest.raises(ValidationError):
        FilesSource.model_validate({"path": "x", "folder": "y"})


def test_parsers_are_quiet(tmp_path, recwarn):
    (tmp_path / "a.cif").write_text(cif(occupancy=0.5))
    (tmp_path / "POSCAR").write_text(
        "MgO\n1.0\n4 0 0\n0 4 0\n0 0 4\n1 1\ndirect\n0 0 0\n.5 .5 .5\n"
    )

    read(tmp_path)

    assert [str(w.message) for w in recwarn] == []
