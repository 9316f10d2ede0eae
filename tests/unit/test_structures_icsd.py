"""ICSD exports: what an entry states, the filters on it, and the layout's quirks."""

import os
from datetime import date

import pytest
from pydantic import ValidationError
from pymatgen.core import Composition

from rhoflow.errors import ConfigError
from rhoflow.structures.candidates import ONE_ENTRY
from rhoflow.structures.cif import CifBlock, number_of, split_blocks
from rhoflow.structures.icsd import (
    EXPERIMENTAL,
    PRESSURE,
    R_VALUE,
    RECORDED,
    TEMPERATURE,
    YEAR,
    ICSDSource,
    icsd_fingerprint,
    icsd_steps,
    read_entry,
    read_icsd,
)
from rhoflow.structures.select import SelectionSpec, select

# The layout of an export, made up for the tests: bibliography in loops, titles as text fields.
ENTRY = """
#(C) synthetic entry
data_{code}-ICSD
_database_code_ICSD {code}
_audit_creation_date 2003-04-01
_audit_update_record 2008-02-01
_chemical_formula_sum '{formula}'
_publ_section_title
;
 A theoretical look at '{formula}', and
data_ that is none
;
loop_
_citation_id
_citation_journal_full
_citation_year
2 'Journal of Later Work' 1999
primary 'Journal of Made-up Crystals' {year}
_cell_length_a {edge}
_cell_length_b 4.2120(3)
_cell_length_c 4.2120(3)
_cell_angle_alpha 90.
_cell_angle_beta 90.
_cell_angle_gamma 90.
_cell_volume ?
{extra}
_symmetry_space_group_name_H-M 'P m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_B_iso_or_equiv
_atom_site_occupancy
{cation}1 {cation}2+ 0 0 0 . {occupancy}
O1 O2- 0.5 0.5 0.5 ? 1.
#End of TTdata_{code}-ICSD
"""


def entry(code="1001", extra="", **changes):
    told = {
        "formula": "Mg1 O1", "year": 1985, "edge": "4.2120(3)", "cation": "Mg", "occupancy": "1.",
    }  # fmt: skip
    return ENTRY.format(code=code, extra=extra, **{**told, **changes})


def read(folder, **settings):
    return list(read_icsd(ICSDSource(path=str(folder), **settings)))


def only(folder, text, **settings):
    (folder / "a.cif").write_text(text)
    (candidate,) = read(folder, **settings)
    return candidate


def test_an_entry_is_named_by_its_collection_code(tmp_path):
    candidate = only(tmp_path, entry("0012345"))

    assert candidate.source_id == "icsd-12345"
    assert candidate.structure is not None
    assert candidate.structure.composition.reduced_formula == "MgO"
    assert candidate.structure.lattice.a == pytest.approx(4.212)


def test_what_an_entry_states():
    extra = (
        "_cell_measurement_temperature 293(2)\n_diffrn_ambient_temperature 100\n"
        "_cell_measurement_pressure ?\n_diffrn_ambient_pressure 101.3\n"
        "_refine_ls_R_factor_all .\n_refine_ls_R_factor_gt 0.034(1)"
    )
    (text,) = split_blocks(entry("7", extra))

    stated = read_entry(CifBlock(text))

    assert stated.code == "7"
    assert stated.temperature_k == 293
    assert stated.pressure_kpa == 101.3
    assert stated.r_value == 0.034
    assert stated.year == 1985
    assert stated.recorded == date(2003, 4, 1)
    assert stated.theoretical is None  # a title tells nothing about the structure


@pytest.mark.parametrize(
    ("extra", "settings", "step", "reason"),
    [
        ("_cell_measurement_temperature 1300.", {"max_temperature_k": 320}, TEMPERATURE,
         "temperature 1300 K, more than 320 K"),
        ("_diffrn_ambient_temperature 4", {"min_temperature_k": 77}, TEMPERATURE,
         "temperature 4 K, less than 77 K"),
        ("_cell_measurement_pressure 1.2e6", {"max_pressure_kpa": 200}, PRESSURE,
         "pressure 1200000 kPa, more than 200 kPa"),
        ("_refine_ls_R_factor_all 0.15", {"max_r_value": 0.1}, R_VALUE,
         "R value 0.15, more than 0.1"),
        ("", {"min_year": 1990}, YEAR, "year of publication 1985, less than 1990"),
        ("", {"recorded_until": date(2001, 1, 1)}, RECORDED,
         "date of the record 2003-04-01, more than 2001-01-01"),
        ("_exptl_special_details\n;\nStructure calculated\ntheoretically\n;", {}, EXPERIMENTAL,
         "remark: Structure calculated"),
    ],
)  # fmt: skip
def test_each_filter_is_a_row_of_its_own(tmp_path, extra, settings, step, reason):
    candidate = only(tmp_path, entry(extra=extra), **settings)

    assert (candidate.structure, candidate.step, candidate.reason) == (None, step, reason)
    assert step in icsd_steps(ICSDSource(path=".", **settings))


def test_theory_is_accepted_on_demand(tmp_path):
    text = entry(extra="_publ_section_comment 'DFT calculation'")

    assert only(tmp_path, text).step == EXPERIMENTAL
    assert only(tmp_path, text, accept_theoretical=True).structure is not None
    assert EXPERIMENTAL not in icsd_steps(ICSDSource(path=".", accept_theoretical=True))


@pytest.mark.parametrize("value", ["?", ".", "''", "0"])
def test_what_is_not_stated_passes_or_falls_as_told(tmp_path, value):
    text = entry(extra=f"_cell_measurement_temperature {value}")

    assert only(tmp_path, text, max_temperature_k=300).structure is not None
    candidate = only(tmp_path, text, max_temperature_k=300, accept_unstated=False)
    assert candidate.reason == "temperature not stated"


@pytest.mark.parametrize(
    ("value", "kelvin"),
    [
        ("1273", 1273), ("'1273 K'", 1273), ("1273K", 1273), ("'1273(5)K'", 1273),
        ("'1000 C'", 1273.15), ("1000 C", 1273.15), ("'1000(5) °C'", 1273.15), ("'-196 C'", 77.15),
        ("1.273e3", 1273),
    ],
)  # fmt: skip
def test_temperatures_with_units(value, kelvin):
    stated = read_entry(CifBlock(entry(extra=f"_cell_measurement_temperature {value}").strip()))

    assert stated.temperature_k == pytest.approx(kelvin)
    assert not stated.unclear


@pytest.mark.parametrize(
    ("tag", "value", "settings", "step"),
    [
        *[("_cell_measurement_temperature", value, {"max_temperature_k": 9999}, TEMPERATURE)
          for value in ("900-1000", "'900 - 1000'", ">900", "1,273", "cold", "-196", "'900 F'")],
        ("_cell_measurement_pressure", "'1 to 2 GPa'", {"max_pressure_kpa": 1e9}, PRESSURE),
        ("_cell_measurement_pressure", "1,5", {"max_pressure_kpa": 1e9}, PRESSURE),
        ("_refine_ls_R_factor_all", "<0.05", {"max_r_value": 1}, R_VALUE),
        ("_refine_ls_R_factor_all", "0,05", {"max_r_value": 1}, R_VALUE),
    ],
)  # fmt: skip
@pytest.mark.parametrize("accept", [True, False])
def test_what_is_stated_unclearly_falls_by_that_name(tmp_path, tag, value, settings, step, accept):
    candidate = only(tmp_path, entry(extra=f"{tag} {value}"), accept_unstated=accept, **settings)

    told = value.strip("'")
    assert (candidate.step, candidate.structure) == (step, None)
    assert candidate.reason == f"{step} stated as '{told}', which is no single value"
    assert only(tmp_path, entry(extra=f"{tag} {value}")).structure is not None


@pytest.mark.parametrize(
    ("tag", "value", "field", "expected"),
    [
        ("_cell_measurement_pressure", "'1.5(1) GPa'", "pressure_kpa", 1.5e6),
        ("_cell_measurement_pressure", "'20 kbar'", "pressure_kpa", 2e6),
        ("_refine_ls_R_factor_all", "'5.3 %'", "r_value", 0.053),
    ],
)
def test_pressures_and_r_values_with_units(tag, value, field, expected):
    stated = read_entry(CifBlock(entry(extra=f"{tag} {value}").strip()))

    assert getattr(stated, field) == pytest.approx(expected)


def test_names_of_files_that_are_no_text_stop_nothing(tmp_path):
    no_code = entry().replace("_database_code_ICSD 1001", "")
    for name in (b"a\xff.cif", b"b\n.cif"):
        (tmp_path / os.fsdecode(name)).write_text(no_code)

    assert [c.source_id for c in read(tmp_path)] == ["a\\udcff.cif", "b .cif"]
    assert icsd_fingerprint(ICSDSource(path=str(tmp_path)))


def test_the_funnel_shows_the_source_first(tmp_path):
    hot = entry("2", "_cell_measurement_temperature 900", cation="Ca", formula="Ca1 O1")
    mixed = entry("3", occupancy="0.5", cation="Sr", formula="Sr0.5 O1")
    (tmp_path / "all.cif").write_text(entry("1") + hot + mixed + entry("1"))
    (tmp_path / "broken.cif").write_text(entry("4").replace("_cell_length_b 4.2120(3)", ""))
    spec = ICSDSource(path=str(tmp_path), max_temperature_k=300)

    result = select(
        read_icsd(spec), SelectionSpec(size=1), source="icsd", source_steps=icsd_steps(spec)
    )

    assert list(result.structures.source_id) == ["icsd-1"]
    assert dict(zip(result.funnel.step, result.funnel.dropped, strict=True)) == {
        "candidates found": 0, "readable": 1, ONE_ENTRY: 1, EXPERIMENTAL: 0, TEMPERATURE: 1,
        "ordered": 1, "required elements": 0, "no excluded elements": 0, "sensible distances": 0,
        "size of the primitive cell": 0, "no duplicates": 0, "random sample": 0,
    }  # fmt: skip
    rejected = dict(zip(result.rejected.source_id, result.rejected.reason, strict=True))
    assert rejected["all.cif#4-1-ICSD"] == "collection code 1 again, first in all.cif#1-1-ICSD"
    assert rejected["icsd-3"].startswith("partial occupancy")
    assert "icsd-4" in rejected


@pytest.mark.parametrize("code", ["?", ".", "../../etc/passwd", "''", "12a"])
def test_without_a_code_the_path_is_the_name(tmp_path, code):
    text = entry().replace("_database_code_ICSD 1001", f"_database_code_ICSD {code}")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.CIF").write_text(text)

    assert [c.source_id for c in read(tmp_path)] == ["deep/x.CIF"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"edge": "-4.212"}, "cell edge a = -4.212 Å; expected a positive length"),
        ({"cation": "Qq", "formula": "Qq1 O1"}, "unknown element Qq"),
        ({"formula": "Mg1 O1 H2"}, "disagree about H"),
    ],
)
def test_bad_entries_are_rows(tmp_path, change, reason):
    candidate = only(tmp_path, entry(**change))

    assert candidate.structure is None
    assert reason in candidate.reason
    assert "0+" not in candidate.reason


def test_two_atoms_in_one_place_are_called_so(tmp_path):
    text = entry().replace("O1 O2- 0.5 0.5 0.5", "O1 O2- 0 0 0")

    assert "atoms in one place" in only(tmp_path, text).reason


def test_deuterium_counts_as_hydrogen(tmp_path):
    text = entry(cation="D", formula="D1 O1").replace("D2+", "D1+")

    structure = only(tmp_path, text).structure

    assert structure is not None
    assert structure.composition == Composition("HO")


def test_files_that_are_no_export_stop_nothing(tmp_path):
    (tmp_path / "0.cif").write_text("")
    (tmp_path / "1.cif").write_bytes(b"\x00\xff data_ ; ' \" loop_ _atom_site_ " * 5)
    (tmp_path / "2.cif").write_text("data_x\nloop_\n_atom_site_label\n")
    (tmp_path / "3.cif").write_text(entry()[: len(entry()) // 2])
    (tmp_path / "4.cif").write_text(entry().replace("\n", "\r\n"))
    (tmp_path / "5.txt").write_text("no")

    *bad, good = read(tmp_path)

    assert all(c.structure is None and c.reason for c in bad)
    assert good.structure is not None


def test_an_empty_folder_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="holds no structure file"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "settings",
    [
        {"min_temperature_k": 300, "max_temperature_k": 200},
        {"min_year": 2000, "max_year": 1999},
        {"max_r_value": 5},
        {"recorded_until": "yesterday"},
    ],
)
def test_impossible_filters_are_refused(settings):
    with pytest.raises(ValidationError):
        ICSDSource(path=".", **settings)


@pytest.mark.parametrize(
    ("text", "number"),
    [("293(2)", 293), ("0.5(12)", 0.5), ("-1.5e3", -1500), (".25", 0.25), ("4.", 4), ("1()", 1),
     ("?", None), (".", None), ("1/3", None), ("nan", None), ("inf", None), ("1_0", None)],
)  # fmt: skip
def test_numbers_of_cif(text, number):
    assert number_of(text) == number


def test_tags_in_every_notation():
    block = CifBlock(
        "data_x\n_A 'it''s' # no\n_b \"two words\"\n_c\n;\ntext\n  loop_\n;\n"
        "loop_\n_d\n_e\n1 2\n'_f' .\n_g ?\n_h it's#1\n"
    )

    assert block.name == "x"
    assert dict(block.tags) == {
        "_a": ["it''s"], "_b": ["two words"], "_c": ["text\n  loop_"], "_d": ["1", "_f"],
        "_e": ["2", "."], "_g": ["?"], "_h": ["it's#1"],
    }  # fmt: skip
    assert block.stated("_g", "_nowhere", "_b") == ["two words"]


def test_a_line_of_open_quotes_takes_no_time():
    assert CifBlock("data_x\n_a " + "'a " * 50_000).tags
