"""Finished VASP runs: found at any depth, read with all that can be wrong with them."""

import gzip
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.vasp_runs import MGO, edit, finished_run, found, make_potcars, read_run, reason

from rhoflow.density.spectrum import hartree_energy
from rhoflow.dft import outputs
from rhoflow.dft.outputs import OutputsSpec
from rhoflow.errors import DataError
from rhoflow.vasp.outcar import read_outcar
from rhoflow.vasp.output import functional_name
from rhoflow.vasp.vasprun import read_vasprun


@pytest.fixture(scope="module")
def potcars(tmp_path_factory) -> Path:
    return make_potcars(tmp_path_factory.mktemp("licensed"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, potcars) -> Path:
    """A run that ended well; copy it before changing it."""
    return finished_run(tmp_path_factory.mktemp("runs") / "MgO", potcars)


@pytest.fixture(scope="module")
def magnetic(tmp_path_factory, potcars) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "MgO"
    return finished_run(folder, potcars, spin_polarised=True, initial_moments={"Mg": 1})


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "tree" / "MgO"))


def test_a_run_becomes_a_record_with_its_own_cell(run):
    result = read_run(run)
    record = result.record
    assert record["status"] == "ok"
    assert record["reason"] is None
    assert record["engine_version"] == "VASP 5.4.4"
    assert record["n_valence_electrons"] == 8
    assert result.spectrum.n_electrons == pytest.approx(8, abs=1e-6)
    assert record["hartree_energy_ev"] == pytest.approx(hartree_energy(result.spectrum))
    assert record["ion_energy_ev"] == pytest.approx(-358.363, abs=0.01)
    assert record["one_electron_energy_ev"] == -24
    assert record["total_energy_ev"] == -10
    assert (record["band_gap_ev"], record["valence_band_maximum_ev"]) == (5, 4)
    assert record["volume_angstrom3"] == pytest.approx(MGO.volume, rel=1e-6)
    assert result.crystal.material_id == "MgO"
    assert result.crystal.symbols == MGO.symbols
    assert abs(result.potential.coefficients[~result.potential.hkl.any(axis=1)]) < 1e-6
    assert "-DENC" in (run.parent / "log.txt").read_text()


def test_packed_and_plain_are_the_same(run):
    plain = read_run(run)
    for name in ("CHGCAR", "OUTCAR", "vasprun.xml", "LOCPOT"):
        (run / f"{name}.gz").write_bytes(gzip.compress((run / name).read_bytes()))
        (run / name).unlink()
    packed = read_run(run)
    assert packed.record == plain.record
    np.testing.assert_array_equal(packed.spectrum.coefficients, plain.spectrum.coefficients)


def test_spin(magnetic):
    record = read_run(magnetic).record
    assert record["status"] == "ok"
    assert record["magnetic_moment_bohr"] == pytest.approx(1.0)


def test_a_chgcar_cut_after_its_first_block(magnetic, tmp_path):
    run = Path(shutil.copytree(magnetic, tmp_path / "run"))
    text = (run / "CHGCAR").read_text()
    middle = text.index("  2.500000000000E-01")
    (run / "CHGCAR").write_text(text[:middle])
    said = "CHGCAR is truncated: ISPIN = 2, but it holds no magnetisation"
    assert reason(run) == said
    (run / "vasprun.xml").unlink()
    assert reason(run) == said


@pytest.mark.parametrize("file", ["vasprun.xml", "OUTCAR"])
def test_the_grids_of_a_chgcar_are_those_of_the_run(run, magnetic, tmp_path, file):
    (run / ({"vasprun.xml", "OUTCAR"} - {file}).pop()).unlink()
    spinless = (run / "CHGCAR").read_text()
    (run / "CHGCAR").write_text((magnetic / "CHGCAR").read_text())
    assert "CHGCAR holds 2 grids, a run of this ISPIN and LNONCOLLINEAR writes 1" in reason(run)
    assert "it is another run's" in reason(run)
    (run / "CHGCAR").write_text(spinless)
    edit(run / file, r'("LNONCOLLINEAR">|LNONCOLLINEAR = +)( *)F', r"\1\2T")
    assert reason(run).startswith("CHGCAR holds 1 grid, a run of this ISPIN and LNONCOLLINEAR")
    assert "writes 4: it is truncated" in reason(run)


@pytest.mark.parametrize("lost", [None, "vasprun.xml", "OUTCAR"])
def test_a_run_without_spin_has_no_moment(run, lost):
    if lost:
        (run / lost).unlink()
    assert read_run(run).record["magnetic_moment_bohr"] == 0.0


def test_vasprun_of_vasp_5_misspells_zirconium_and_xenon(run):
    for wrong, symbol in (("r ", "Zr"), ("X ", "Xe")):
        text = (run / "vasprun.xml").read_text()
        (run / "old.xml").write_text(text.replace("<c>Mg</c>", f"<c>{wrong}</c>"))
        assert read_vasprun(run / "old.xml")[0].symbols == ("O", symbol)


def test_energies_without_outcar_or_without_vasprun(run):
    both = read_run(run).record
    (run / "vasprun.xml").rename(run / "kept")
    text = read_run(run).record
    (run / "kept").rename(run / "vasprun.xml")
    (run / "OUTCAR").unlink()
    xml = read_run(run).record
    for name, value in both.items():
        assert text[name] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-5))
        assert xml[name] == text[name] or xml[name] == pytest.approx(value, abs=1e-8)


def test_a_chgcar_alone_gives_what_it_holds(run):
    for name in ("OUTCAR", "vasprun.xml", "LOCPOT"):
        (run / name).unlink()
    record = read_run(run).record
    assert record["status"] == "ok"
    assert "no vasprun.xml or OUTCAR" in record["reason"]
    assert "E_I is unknown" in record["reason"]
    assert record["n_valence_electrons"] == pytest.approx(8)
    assert "total_energy_ev" not in record
    assert record["hartree_energy_ev"] > 0


def test_values_that_no_density_has(run):
    for name in ("OUTCAR", "vasprun.xml", "LOCPOT"):
        (run / name).unlink()
    edit(run / "CHGCAR", r"E\+01", "+290", count=9)
    assert "CHGCAR's values are no density" in reason(run)


def test_a_potcar_beside_tells_the_valences(run, potcars):
    parts = [(potcars / "potpaw_PBE" / name / "POTCAR").read_text() for name in ("O", "Mg")]
    (run / "POTCAR").write_text("".join(parts))
    for name in ("OUTCAR", "vasprun.xml", "LOCPOT"):
        (run / name).unlink()
    assert read_run(run).record["ion_energy_ev"] == pytest.approx(-358.363, abs=0.01)


def test_no_chgcar(run):
    (run / "CHGCAR").unlink()
    assert reason(run) == "no CHGCAR: VASP writes it with LCHARG = .TRUE."
    for name in ("CHGCAR.static", "CHGCAR.relax.gz"):
        (run / name).write_text("not looked into")
    assert reason(run).startswith("no CHGCAR: CHGCAR.relax.gz is left out, as the names of")
    for name in ("CHGCAR.static", "CHGCAR.relax.gz"):
        (run / name).unlink()
    (run / "CHGCAR").write_text("")
    assert "CHGCAR is empty" in reason(run)


def test_a_vasprun_without_eigenvalues(run):
    edit(run / "vasprun.xml", r"(?s) +<eigenvalues>.*</eigenvalues>\n", "")
    assert read_run(run).record["band_gap_ev"] == 5
    (run / "OUTCAR").unlink()
    record = read_run(run).record
    assert record["status"] == "ok"
    assert "no eigenvalues" in record["reason"]
    assert "band_gap_ev" not in record


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_vasprun(run, share):
    text = (run / "vasprun.xml").read_text()
    (run / "vasprun.xml").write_text(text[: int(share * len(text))])
    assert read_run(run).record["status"] == "ok"  # OUTCAR tells all
    (run / "OUTCAR").unlink()
    assert "vasprun.xml is truncated (line" in reason(run)


def test_a_vasprun_that_is_no_xml(run):
    edit(run / "vasprun.xml", "<incar>", "<incar> & <")
    (run / "OUTCAR").unlink()
    assert "vasprun.xml is not valid XML (line" in reason(run)
    (run / "vasprun.xml").write_text("<html><body>no</body></html>")
    assert "holds no calculation" in reason(run)


def test_xml_bombs_are_refused(run):
    entities = "".join(
        f'<!ENTITY a{i} "{"&a" + str(i - 1) + ";" if i else "lol"}{"x" * 50}">' for i in range(3)
    )
    bomb = '<!ENTITY b0 "aaaaaaaaaa">' + "".join(
        f'<!ENTITY b{i} "{f"&b{i - 1};" * 10}">' for i in range(1, 12)
    )
    (run / "vasprun.xml").write_text(
        f'<?xml version="1.0"?><!DOCTYPE m [{entities}{bomb}]><modeling>&b11;</modeling>'
    )
    (run / "OUTCAR").unlink()
    assert "not valid XML" in reason(run) or "truncated" in reason(run)


def test_a_run_that_was_killed(tmp_path, potcars):
    run = finished_run(tmp_path / "run", potcars, mode="killed")
    assert "OUTCAR ends before its timing" in reason(run)


def test_of_several_ionic_steps_the_last_counts(run):
    text = (run / "vasprun.xml").read_text()
    step = found(r"(?s) <calculation>.*</calculation>\n", text)
    earlier = step.replace("-10.0000", "-77.0000").replace("-24.0000", "-99.0000")
    moved = re.sub(r"(?s)(positions.*?<v>\s+)0\.5", r"\g<1>0.4", earlier)
    (run / "vasprun.xml").write_text(text.replace(step, earlier + step))
    record = read_run(run).record
    assert (record["total_energy_ev"], record["one_electron_energy_ev"]) == (-10, -24)
    (run / "vasprun.xml").write_text(text.replace(step, step + moved))
    assert "of the last of 2 ionic steps" in reason(run)


def test_bands_at_a_fixed_density(run):
    edit(run / "vasprun.xml", r'"ICHARG">2', '"ICHARG">11')
    assert "ICHARG = 11: bands at a fixed density" in reason(run)


def test_functionals(run):
    edit(run / "vasprun.xml", r'"GGA">--', '"GGA">PS')
    assert "computed with PBEsol, expected PBE" in reason(run)
    assert read_run(run, functional="PBEsol").record["status"] == "ok"
    assert read_run(run, functional=None).record["status"] == "ok"


def test_dispersion_is_another_functional(run):
    plain = (run / "vasprun.xml").read_text()
    outcar = (run / "OUTCAR").read_text()
    edit(run / "vasprun.xml", " </incar>", '  <i type="int" name="IVDW">    12</i>\n </incar>')
    assert "computed with PBE+D, expected PBE (functional: null" in reason(run)
    assert read_run(run, functional="PBE+D").record["status"] == "ok"
    (run / "vasprun.xml").write_text(plain)
    edit(run / "vasprun.xml", "</parameters>", '<i type="logical" name="LUSE_VDW"> T  </i>\\g<0>')
    assert "computed with PBE+vdW-DF, expected PBE" in reason(run)
    (run / "vasprun.xml").unlink()
    tags = ("   IVDW = 11", "   LVDW = .TRUE.", "   LUSE_VDW = .TRUE.")
    for line in (*tags, " Edisp (eV)  -28.80731", "  Edisp (eV):     -0.60843"):
        (run / "OUTCAR").write_text(outcar.replace("   LEXCH", f"{line}\n   LEXCH", 1))
        assert "computed with PBE+" in reason(run)
    (run / "OUTCAR").write_text(outcar.replace("   LEXCH", "   IVDW   =      0\n   LEXCH", 1))
    assert read_run(run).record["status"] == "ok"


@pytest.mark.parametrize(
    ("settings", "titles", "expected"),
    [
        ({"GGA": "--"}, ["PAW_PBE O 08Apr2002", "PAW_PBE Ti_pv 07Sep2000"], "PBE"),
        ({"GGA": "--"}, ["PAW O 22Mar2012"], "LDA"),
        ({"GGA": "PE"}, ["PAW O 22Mar2012"], "PBE"),
        ({"GGA": "--"}, ["PAW O", "PAW_PBE Ti"], None),
        ({"GGA": "PE", "LHFCALC": " T  "}, [], "hybrid"),
        ({"GGA": "--", "METAGGA": "R2SCAN"}, ["PAW_PBE O"], "R2SCAN"),
        ({"LDAU": "T"}, ["PAW_PBE O"], "PBE+U"),
        ({"IVDW": "    12"}, ["PAW_PBE O"], "PBE+D"),
        ({"IVDW": "0", "LVDW": " F  "}, ["PAW_PBE O"], "PBE"),
        ({"LVDW": " T  ", "LDAU": "T"}, ["PAW_PBE O"], "PBE+D+U"),
        ({"GGA": "MK", "LUSE_VDW": "T"}, [], "optB86b+vdW-DF"),
        ({"GGA": "ZZ"}, [], "GGA=ZZ"),
        ({}, [], None),
    ],
)
def test_names_of_functionals(settings, titles, expected):
    assert functional_name(settings, titles) == expected


def test_chgcar_of_another_structure(run):
    text = (run / "CHGCAR").read_text()
    (run / "CHGCAR").write_text(text.replace("  0.500000  0.500000  0.500000", "  0.4  0.5  0.5"))
    assert re.search(r"atoms lie up to 0\.2\d\d Å from those of the last", reason(run))
    (run / "CHGCAR").write_text(text.replace("2.105000    2.105", "2.205000    2.105"))
    assert "CHGCAR's cell differs" in reason(run)
    (run / "CHGCAR").write_text(text.replace("   O    Mg", "   O    Ca"))
    assert "CHGCAR holds O1Ca1, the run O1Mg1" in reason(run)


def test_positions_a_lattice_vector_away_are_the_same(run):
    text = (run / "CHGCAR").read_text()
    new = text.replace("  0.000000  0.000000  0.000000", "  1.000000 -1.000000  0.000000")
    (run / "CHGCAR").write_text(new)
    assert read_run(run).record["status"] == "ok"


def test_a_density_of_other_electrons(run):
    edit(run / "vasprun.xml", r'"NELECT">8\.0', '"NELECT">7.0')
    assert "CHGCAR holds 8.0000 electrons, the run 7 (NELECT)" in reason(run)


def test_terms_that_contradict_vasp(run):
    original = (run / "vasprun.xml").read_text()
    edit(run / "vasprun.xml", r'"ewald">\s*-358', '"ewald"> -400')
    assert "TEWEN is -400" in reason(run)
    (run / "vasprun.xml").write_text(original)
    edit(run / "vasprun.xml", r'"hartreedc">\s*-27', '"hartreedc"> -99')
    assert "CHGCAR is not this run's" in reason(run)


def test_asterisks_in_place_of_energies(run):
    edit(run / "vasprun.xml", r'"bandstr">[^<]*', '"bandstr">****************')
    record = read_run(run).record
    assert record["one_electron_energy_ev"] == -24  # OUTCAR has it
    (run / "OUTCAR").unlink()
    record = read_run(run).record
    assert record["one_electron_energy_ev"] is None
    assert "does not tell one_electron_energy_ev" in record["reason"]


def test_dispersion_corrections_enter_the_energy(run):
    """VASP adds them to the ionic step's free energy only."""
    text = (run / "vasprun.xml").read_text()
    end = text.rindex("</scstep>")
    free = text[end:].replace('"e_fr_energy">    -10.0', '"e_fr_energy">    -10.5', 1)
    (run / "vasprun.xml").write_text(text[:end] + free)
    assert read_run(run).record["total_energy_ev"] == pytest.approx(-10.5)


def test_locpots(run):
    edit(run / "vasprun.xml", r'"LVHAR"> T  ', '"LVHAR"> F  ')
    result = read_run(run)
    assert result.potential is None
    assert "LVHAR gives it without" in result.record["reason"]
    edit(run / "vasprun.xml", r'"LVHAR"> F  ', '"LVHAR"> T  ')
    text = (run / "LOCPOT").read_text()
    (run / "LOCPOT").write_text(text[: len(text) // 2])
    result = read_run(run)
    assert result.record["status"] == "ok"
    assert "no potential: LOCPOT is truncated" in result.record["reason"]


def test_origins_that_are_no_runs(tmp_path):
    for origin in (None, str(tmp_path), str(tmp_path / "nowhere"), "/dev/null"):
        result = outputs.calculate(replace(MGO, origin=origin), OutputsSpec(), tmp_path / "log")
        assert "no finished run at" in result.record["reason"]
        assert outputs.identity(replace(MGO, origin=origin), OutputsSpec())["files"] == []


def test_identity_follows_the_files(run):
    crystal = replace(MGO, origin=str(run))
    first = outputs.identity(crystal, OutputsSpec())
    assert [name for name, *_ in first["files"]] == [
        "CHGCAR", "LOCPOT", "OUTCAR", "POSCAR", "vasprun.xml",
    ]  # fmt: skip
    os.utime(run / "CHGCAR", (1, 1))
    assert outputs.identity(crystal, OutputsSpec()) != first


def test_readers_alone(run):
    whole, broken = read_vasprun(run / "vasprun.xml")
    assert not broken
    text = read_outcar(run / "OUTCAR")
    assert text.bands is not None
    assert whole.bands is not None
    np.testing.assert_allclose(text.bands.energies, whole.bands.energies)
    np.testing.assert_allclose(text.bands.occupations, whole.bands.occupations)
    with pytest.raises(DataError, match="cannot be read"):
        read_outcar(run / "nothing")
