"""The vasp engine: inputs, POTCARs, and what becomes of runs, played by a stand-in for VASP."""

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from tests.vasp_runs import MGO, environment, fake_command, make_potcars, vasp_spec

from rhoflow.crystal import Crystal
from rhoflow.dft import vasp, vasp_potcar
from rhoflow.dft.prepare import prepare_atoms, prepare_crystals
from rhoflow.dft.vasp import VaspSpec
from rhoflow.dft.vasp_inputs import crystal_inputs, element_order, kpoint_mesh
from rhoflow.dft.vasp_potcar import potcar_state
from rhoflow.errors import DataError, EngineError

needs_custodian = pytest.mark.skipif(
    importlib.util.find_spec("custodian") is None, reason="custodian is not installed"
)


@pytest.fixture(scope="module")
def potcars(tmp_path_factory) -> Path:
    return make_potcars(tmp_path_factory.mktemp("licensed"))


def mixed(seed: int = 0) -> Crystal:
    rng = np.random.default_rng(seed)
    lattice = 5 * np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    return Crystal("x", lattice, ("O", "Mg", "O", "Ti", "Mg"), rng.random((5, 3)))


# Inputs ------------------------------------------------------------------------------------


def test_inputs_are_what_pymatgen_reads(tmp_path):
    crystal = mixed()
    spec = VaspSpec(spin_polarised=True, initial_moments={"Ti": 2}, incar={"ENCUT": 520})
    prepare_crystals([crystal], spec, tmp_path)
    folder = tmp_path / "x"
    poscar = Poscar.from_file(folder / "POSCAR", check_for_potcar=False)
    order = element_order(crystal.symbols)
    assert order.tolist() == [0, 2, 1, 4, 3]
    written = poscar.structure
    np.testing.assert_allclose(written.frac_coords, crystal.frac_coords[order], atol=1e-15)
    np.testing.assert_allclose(written.lattice.matrix, crystal.lattice, atol=1e-15)
    assert poscar.site_symbols == ["O", "Mg", "Ti"]
    incar = Incar.from_file(folder / "INCAR")
    assert (incar["ENCUT"], incar["ISPIN"], incar["LREAL"]) == (520, 2, False)
    assert incar["MAGMOM"] == [0, 0, 0, 0, 2]
    assert incar["EDIFF"] == 1e-6
    assert not incar.check_params()
    assert Kpoints.from_file(folder / "KPOINTS").kpts == [kpoint_mesh(crystal.lattice, 3.0)]
    assert (folder / "POTCAR.spec").read_text() == "O\nMg\nTi_sv\n"
    assert not (folder / "POTCAR").exists()


def test_the_mesh_is_even_and_dense_enough():
    lattice = np.diag([4.0, 8.0, 40.0])
    assert kpoint_mesh(lattice, 3.0) == (6, 4, 2)
    for density in (0.5, 2.0, 7.0):
        mesh = np.array(kpoint_mesh(lattice, density))
        assert (mesh >= density * 2 * np.pi / np.diag(lattice) - 1e-6).all()
        assert (mesh % 2 == 0).all()


def test_a_left_handed_cell_is_written_as_its_mirror_image(tmp_path):
    crystal = replace(mixed(), lattice=mixed().lattice[[1, 0, 2]])
    assert np.linalg.det(crystal.lattice) < 0
    text = crystal_inputs(crystal, VaspSpec()).files["POSCAR"]
    structure = Poscar.from_str(text).structure
    assert np.linalg.det(structure.lattice.matrix) > 0
    metric = structure.lattice.matrix @ structure.lattice.matrix.T
    np.testing.assert_allclose(metric, crystal.lattice @ crystal.lattice.T)


def test_inputs_of_680_crystals_take_seconds(tmp_path):
    crystals = [replace(mixed(i), material_id=f"m{i}") for i in range(680)]
    start = time.perf_counter()
    prepare_crystals(crystals, VaspSpec(), tmp_path)
    assert time.perf_counter() - start < 20
    assert len(list(tmp_path.iterdir())) == 680


def test_inputs_of_isolated_atoms(tmp_path):
    prepare_atoms(["O", "O", "Ti"], VaspSpec(), tmp_path)
    incar = Incar.from_file(tmp_path / "O" / "INCAR")
    assert (incar["ISPIN"], incar["MAGMOM"], incar["ISYM"]) == (2, [2], 0)
    structure = Poscar.from_file(tmp_path / "Ti" / "POSCAR", check_for_potcar=False).structure
    np.testing.assert_allclose(structure.lattice.abc, [12, 12.1, 12.2])
    assert Kpoints.from_file(tmp_path / "O" / "KPOINTS").kpts == [(1, 1, 1)]


@pytest.mark.parametrize(("element", "potcar"), [("Gd", "Gd_3"), ("Eu", "Eu_2"), ("Yb", "Yb_2")])
def test_atoms_with_f_electrons_in_the_core_have_no_known_moment(
    potcars, tmp_path, element, potcar
):
    row = vasp.atomic_reference(element, vasp_spec(potcars), tmp_path / "atom.txt")
    assert row["status"] == "failed"
    assert f"POTCAR {potcar} keeps f electrons in the core" in row["reason"]
    assert row["reason"].endswith("give atomic_energies_ev")
    given = vasp_spec(potcars, atomic_energies_ev={element: -1.5})
    assert vasp.atomic_reference(element, given, tmp_path / "atom.txt")["status"] == "ok"


def test_such_atoms_are_left_out_of_the_inputs_with_a_warning(tmp_path, caplog):
    prepare_atoms(["Gd", "O", "La"], VaspSpec(), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"O", "La"}
    assert "no inputs of the Gd atom: POTCAR Gd_3 keeps f electrons in the core" in caplog.text
    prepare_atoms(["Gd"], VaspSpec(potcar_symbols={"Gd": "Gd"}), tmp_path)
    assert (tmp_path / "Gd" / "INCAR").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\nb", "/abs"])
def test_names_never_leave_the_folder(tmp_path, name):
    with pytest.raises(DataError, match="cannot name a folder"):
        prepare_crystals([replace(MGO, material_id=name)], VaspSpec(), tmp_path / "in")


# Settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"preset": "pbee"}, "did you mean 'pbe'"),
        ({"incar": {"NSW": 5}}, "NSW is decided by other settings"),
        ({"incar": {"LHFCALC": True}}, "LHFCALC is decided"),
        ({"incar": {"encut": 5}}, "no INCAR tag"),
        ({"incar": {"ALGO": "Fast\nNSW = 5"}}, "no value of an INCAR tag"),
        ({"incar": {"ALGO": "Fast; NSW = 5"}}, "no value of an INCAR tag"),
        ({"incar": {"A\nNSW": 5}}, "no INCAR tag"),
        ({"incar": {"ENCUT": "high"}}, "expected a number in eV"),
        ({"potcar_symbols": {"Ti": "../../etc"}}, "no POTCAR of Ti"),
        ({"potcar_symbols": {"Ti": "O"}}, "no POTCAR of Ti"),
        ({"potcar_symbols": {"Qq": "Qq"}}, "not the symbol of an element"),
        ({"spin_polarised": True}, "go together"),
        ({"box_angstrom": 2}, "greater than or equal to 6"),
        ({"keep": ["WAVECAR"]}, "CHGCAR"),
        ({"nonsense": 1}, "Extra inputs"),
    ],
)
def test_settings_that_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said.replace("(", r"\(")):
        VaspSpec(**settings)


def test_settings_survive_json_and_the_rules():
    spec = VaspSpec(
        command="srun --ntasks 4 'vasp std'", incar={"LREAL": "Auto", "NCORE": 4, "ADDGRID": True}
    )
    assert spec.command == ("srun", "--ntasks", "4", "vasp std")
    for settings in (spec.crystal_settings(), spec.atom_settings()):
        # Where the licence lies and how VASP is started decides no number.
        assert not set(settings) & {"command", "potcar_folder", "keep", "max_errors"}
        merged = {**settings, **spec.site_settings()}
        again = VaspSpec.model_validate(json.loads(json.dumps(merged)))
        assert again.incar == spec.incar
        assert again.command == spec.command
    assert "box_angstrom" not in spec.crystal_settings()
    assert "atoms_path" not in spec.crystal_settings()
    assert "kpoint_density" not in spec.atom_settings()


# POTCARs -----------------------------------------------------------------------------------


def test_layouts_of_licensed_folders(potcars, tmp_path):
    content = (potcars / "potpaw_PBE" / "O" / "POTCAR").read_bytes()
    for i, place in enumerate(
        ["potpaw_PBE/O/POTCAR", "POT_GGA_PAW_PBE/O/POTCAR.gz", "O/POTCAR", "POTCAR.O.gz",
         "POT_GGA_PAW_PBE/POTCAR.O.gz", "potpaw_PBE.54/O/POTCAR"]
    ):  # fmt: skip
        path = tmp_path / str(i) / place
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(content) if place.endswith("gz") else content)
        assert vasp_potcar.potcar(tmp_path / str(i), "O", "PAW_PBE") == content


def test_files_of_compress(potcars, tmp_path):
    if shutil.which("compress") is None:
        pytest.skip("the program compress is not installed")
    place = tmp_path / "potpaw_PBE" / "O"
    place.mkdir(parents=True)
    shutil.copy(potcars / "potpaw_PBE" / "O" / "POTCAR", place)
    subprocess.run(["compress", "-f", str(place / "POTCAR")], check=True)
    assert b"PAW_PBE O" in vasp_potcar.potcar(tmp_path, "O", "PAW_PBE")


def test_potcars_that_are_refused(potcars, tmp_path):
    with pytest.raises(DataError, match="no POTCAR of Zr in the licensed folder"):
        vasp_potcar.potcar(potcars, "Zr", "PAW_PBE")
    with pytest.raises(DataError, match="expected 'PAW O'"):
        vasp_potcar.potcar(potcars, "O", "PAW")
    for name, content in {"Ca": "not a potcar", "Sr": "TITEL  = PAW_PBE Ba x\n", "Z": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "POTCAR").write_text(content)
        with pytest.raises(DataError):
            vasp_potcar.potcar(tmp_path, name, "PAW_PBE")
    (tmp_path / "Y").mkdir()
    (tmp_path / "Y" / "POTCAR.Z").write_bytes(b"\x1f\x9dgarbage")
    with pytest.raises(DataError, match="cannot be unpacked"):
        vasp_potcar.potcar(tmp_path, "Y", "PAW_PBE")


def test_identity_holds_the_potcars(potcars, tmp_path):
    first = vasp.identity(MGO, vasp_spec(potcars))
    assert first == vasp.identity(replace(MGO, material_id="other"), vasp_spec(potcars))
    other = Path(shutil.copytree(potcars, tmp_path / "other"))
    path = other / "potpaw_PBE" / "O" / "POTCAR"
    path.write_text(path.read_text().replace("0.0\n", "0.1\n"))
    assert vasp.identity(MGO, vasp_spec(other)) != first
    unknown = replace(MGO, symbols=("O", "Zr"))
    assert vasp.identity(unknown, vasp_spec(potcars))["potcars"]["Zr_sv"] is None


def test_the_state_of_potcars_follows_their_files(potcars, tmp_path):
    folder = Path(shutil.copytree(potcars, tmp_path / "licensed"))
    spec = vasp_spec(folder)
    first = potcar_state(spec)
    assert len(first) == 64
    assert potcar_state(spec) == first
    assert potcar_state(spec, ["O", "Mg"]) == potcar_state(spec, ["Mg", "O", "O"]) != first
    oxygen = potcar_state(spec, ["O"])
    os.utime(folder / "potpaw_PBE" / "Mg" / "POTCAR", (1, 1))
    assert potcar_state(spec) != first
    assert potcar_state(spec, ["O"]) == oxygen
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert potcar_state(vasp_spec(moved)) == potcar_state(spec)
    assert potcar_state(vasp_spec(folder, potcar_symbols={"O": "O_s"}), ["O"]) != oxygen
    assert potcar_state(VaspSpec()) == ""
    assert potcar_state(VaspSpec(potcar_folder=str(tmp_path / "nowhere"))) == ""


def test_a_packed_potcar_without_folder_counts_too(potcars, tmp_path):
    content = (potcars / "potpaw_PBE" / "O" / "POTCAR").read_bytes()
    empty = potcar_state(vasp_spec(tmp_path))
    (tmp_path / "POTCAR.O.gz").write_bytes(gzip.compress(content))
    assert potcar_state(vasp_spec(tmp_path)) != empty


def test_a_dispersion_correction_of_the_settings_is_demanded():
    assert VaspSpec().demands().functional == "PBE"
    assert VaspSpec(incar={"IVDW": 12}).demands().functional == "PBE+D"
    assert VaspSpec(incar={"IVDW": 0}).demands().functional == "PBE"


def test_what_befalls_every_structure_is_an_engine_error(potcars, tmp_path):
    log = tmp_path / "log.txt"
    with pytest.raises(EngineError, match=r"engines\.NAME\.potcar_folder is .*target inputs"):
        vasp.identity(MGO, VaspSpec())
    with pytest.raises(EngineError, match=r"engines\.NAME\.potcar_folder: '.*' is not a folder"):
        vasp.identity(MGO, VaspSpec(potcar_folder=str(tmp_path / "nowhere")))
    with pytest.raises(EngineError, match=r"engines\.NAME\.command is not set"):
        vasp.calculate(MGO, VaspSpec(potcar_folder=str(potcars)), log)
    nowhere = VaspSpec(potcar_folder=str(potcars), command="no_such_vasp -x")
    with pytest.raises(EngineError, match="no program 'no_such_vasp'"):
        vasp.calculate(MGO, nowhere, log)
    with pytest.raises(EngineError, match="no program 'no_such_vasp'"):
        vasp.atomic_reference("O", nowhere, log)


# Runs --------------------------------------------------------------------------------------


def calculate(potcars: Path, folder: Path, mode: str, crystal: Crystal = MGO, **settings) -> Any:
    return vasp.calculate(crystal, vasp_spec(potcars, mode, **settings), folder / "run.txt")


@needs_custodian
def test_a_run_becomes_a_record(potcars, tmp_path):
    crystal = replace(mixed(), lattice=mixed().lattice[[1, 0, 2]])
    result = calculate(potcars, tmp_path, "none", crystal)
    assert result.record["status"] == "ok"
    assert result.record["reason"] is None
    assert result.record["engine"] == "vasp"
    assert result.record["n_valence_electrons"] == 28
    assert result.crystal is None
    np.testing.assert_array_equal(result.spectrum.lattice, crystal.lattice)
    assert result.spectrum.n_electrons == pytest.approx(28, abs=1e-4)
    # The density lies at the atoms of the crystal, in whatever order VASP had them.
    hkl, s = result.spectrum.hkl[1:4], result.spectrum.coefficients[1:4] * crystal.volume
    valences = np.array([{"O": 6, "Mg": 2, "Ti": 12}[e] for e in crystal.symbols])
    g2 = (result.spectrum.g_vectors()[1:4] ** 2).sum(axis=1)
    waves = np.exp(-2j * np.pi * hkl @ crystal.frac_coords.T) @ valences
    np.testing.assert_allclose(s, waves * np.exp(-0.5 * 0.55**2 * g2), atol=2e-4)
    kept = {p.name for p in (tmp_path / "run.vasp").iterdir()}
    assert kept == {
        "INCAR", "POSCAR", "KPOINTS", "POTCAR.spec", "custodian.json", "OUTCAR.gz",
        "vasprun.xml.gz",
    }  # fmt: skip


@needs_custodian
def test_custodian_corrects_and_the_record_says_so(potcars, tmp_path):
    result = calculate(potcars, tmp_path, "edddav")
    assert result.record["status"] == "ok"
    assert result.record["reason"] == "custodian corrected: edddav"
    assert "ALGO = All" in (tmp_path / "run.vasp" / "INCAR").read_text()


@needs_custodian
@pytest.mark.parametrize(
    ("mode", "status", "said"),
    [
        ("unconverged", "not_converged", "not self-consistent: 120 electronic steps"),
        ("stubborn", "failed", "custodian gave up after 2 corrections: edddav"),
        ("crash", "failed", "VASP ended with 3: forrtl: severe (174)"),
        ("killed", "failed", "VASP was killed by signal 9"),
        ("truncated", "failed", "CHGCAR is truncated: "),
        ("silent", "failed", "VASP wrote no output"),
    ],
)
def test_runs_that_go_wrong(potcars, tmp_path, mode, status, said):
    result = calculate(potcars, tmp_path, mode, max_errors=2)
    assert result.record["status"] == status
    assert said in result.record["reason"]
    assert "\n" not in result.record["reason"]
    assert result.spectrum is None
    left = {p.name for p in (tmp_path / "run.vasp").iterdir()}
    assert "vasp.out" in left
    assert not left & {"POTCAR", "CHGCAR", "WAVECAR"}


def test_an_element_without_potcar_is_a_failed_record(potcars, tmp_path):
    result = calculate(potcars, tmp_path, "none", replace(MGO, symbols=("O", "Zr")))
    assert result.record["status"] == "failed"
    assert "no POTCAR of Zr_sv in the licensed folder" in result.record["reason"]
    assert str(potcars) not in result.record["reason"]


def test_a_potcar_harder_than_the_cutoff(potcars, tmp_path):
    result = calculate(potcars, tmp_path, "none", incar={"ENCUT": 350})
    assert "POTCAR of O needs a cutoff of 400 eV, ENCUT is 350 eV" in result.record["reason"]


@needs_custodian
def test_isolated_atoms(potcars, tmp_path):
    row = vasp.atomic_reference("O", vasp_spec(potcars), tmp_path / "O.txt")
    assert (row["status"], row["energy_ev"], row["method"]) == ("ok", -5, "boxed atom")
    given = vasp_spec(potcars, atomic_energies_ev={"O": -1.5})
    assert vasp.atomic_reference("O", given, tmp_path / "O.txt")["energy_ev"] == -1.5
    bad = vasp.atomic_reference("O", vasp_spec(potcars, "crash"), tmp_path / "O.txt")
    assert bad["status"] == "failed"
    missing = vasp.atomic_reference("Zr", vasp_spec(potcars), tmp_path / "Zr.txt")
    assert "no POTCAR of Zr_sv" in missing["reason"]


def test_the_stand_in_says_what_it_is(tmp_path):
    done = subprocess.run(
        fake_command("silent"), cwd=tmp_path, env=environment(), capture_output=True, check=True
    )
    assert b"STAND-IN FOR TESTS: not VASP" in done.stdout


def test_reading_needs_no_heavy_library():
    """The config imports the spec, and every worker the engine."""
    code = (
        "import sys, rhoflow.dft.outputs, rhoflow.dft.vasp; "
        "heavy = {'pandas', 'pymatgen.io', 'custodian', 'gpaw', 'torch'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    package = Path(vasp.__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(package)}
    )
