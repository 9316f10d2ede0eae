"""Real files of VASP, which other projects published and this one does not ship.

RHOFLOW_SHARED names the folder that holds ``data/vasp``; without it these tests are skipped.
"""

import gzip
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.io.vasp.outputs import Chgcar, Outcar, Vasprun
from tests.vasp_runs import finished_run, make_potcars

from rhoflow.density.spectrum import COULOMB_EV_ANGSTROM
from rhoflow.dft import outputs
from rhoflow.dft.outputs import OutputsSpec
from rhoflow.structures.outputs import OutputsSource, read_outputs
from rhoflow.vasp.folders import find_runs
from rhoflow.vasp.run import crystal_of

DATA = Path(os.environ.get("RHOFLOW_SHARED", "/nowhere")) / "data" / "vasp"
pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="RHOFLOW_SHARED names no folder with VASP's files"
)


def unpacked(path: Path) -> str:
    with gzip.open(path, "rt") as file:
        return file.read()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "log.txt"
    found = {}
    for run in find_runs(DATA):
        crystal = replace(crystal_of(run), material_id=run.name, origin=str(run.origin))
        found[run.name] = outputs.calculate(crystal, OutputsSpec(), log)
    return found


def test_every_run_is_found_and_read(results):
    names = [c.source_id for c in read_outputs(OutputsSource(path=str(DATA)))]
    assert names == [
        "Ni_loose/CHGCAR_ncl.gz", "Ni_loose/CHGCAR_no_spin.gz", "Ni_loose/CHGCAR_spin.gz",
        "Si_relax", "Si_static",
    ]  # fmt: skip
    assert set(results) == set(names)
    assert {r.record["status"] for r in results.values()} == {"ok"}


@pytest.mark.parametrize("name", ["Si_static", "Si_relax"])
def test_energy_terms_are_those_that_vasp_prints(results, name):
    record = results[name].record
    peer = Vasprun(DATA / name / "vasprun.xml.gz", parse_potcar_file=False)
    last = peer.ionic_steps[-1]["electronic_steps"][-1]
    assert record["hartree_energy_ev"] == pytest.approx(-last["hartreedc"], abs=2.5e-3)
    assert record["ion_energy_ev"] == pytest.approx(last["ewald"], rel=1.5e-5)
    assert record["one_electron_energy_ev"] == last["bandstr"]
    assert record["total_energy_ev"] == pytest.approx(last["e_0_energy"], abs=1e-6)
    assert record["fermi_level_ev"] == peer.efermi
    levels = np.concatenate([v.reshape(-1, 2) for v in peer.eigenvalues.values()])
    # pymatgen's own gap takes a smeared conduction band for a filled one (Si_relax: 0.006 eV).
    top, bottom = levels[levels[:, 1] > 0.5, 0].max(), levels[levels[:, 1] < 0.5, 0].min()
    assert record["band_gap_ev"] == pytest.approx(bottom - top, abs=1e-6)
    assert record["valence_band_maximum_ev"] == pytest.approx(top, abs=1e-6)
    assert record["n_kpoints"] == len(peer.actual_kpoints)
    assert record["volume_angstrom3"] == pytest.approx(peer.final_structure.volume, rel=1e-6)


@pytest.mark.parametrize("name", ["Si_static", "Si_relax"])
def test_one_electron_energies_are_the_eigenvalues(results, name):
    """EBANDS against Σ w f ε; five digits of energies, three or more of the weights."""
    peer = Vasprun(DATA / name / "vasprun.xml.gz", parse_potcar_file=False)
    total, weights = 0.0, np.array(peer.actual_kpoints_weights)
    for levels in peer.eigenvalues.values():  # (k, bands, 2)
        total += float(np.einsum("kb,kb,k->", levels[..., 0], levels[..., 1], weights))
    total *= 2 / len(peer.eigenvalues)
    assert results[name].record["one_electron_energy_ev"] == pytest.approx(total, abs=2e-3)


@pytest.mark.parametrize("name", ["Si_static", "Si_relax"])
def test_outcar_alone_says_the_same(results, name, tmp_path):
    (tmp_path / "CHGCAR").write_bytes(unpacked(DATA / name / "CHGCAR.gz").encode())
    text = unpacked(DATA / name / "OUTCAR.gz")
    (tmp_path / "OUTCAR").write_text(text)
    crystal = replace(results[name].crystal, origin=str(tmp_path))
    spec = OutputsSpec(accept_unconverged=True)
    record = outputs.calculate(crystal, spec, tmp_path / "log.txt").record
    assert record["status"] == "ok"
    for column, value in results[name].record.items():
        if isinstance(value, float):
            assert record[column] == pytest.approx(value, rel=1e-5, abs=1e-4), column
    peer = Outcar(str(tmp_path / "OUTCAR"))
    assert record["total_energy_ev"] == pytest.approx(peer.final_energy_wo_entrp, abs=1e-5)


def test_the_density_is_that_of_pymatgens_reader(results):
    for run in find_runs(DATA):
        spectrum = results[run.name].spectrum
        peer = Chgcar.from_file(run.chgcar)
        waves = np.fft.fftn(peer.data["total"]) / peer.data["total"].size / peer.structure.volume
        expected = waves[tuple(spectrum.hkl.T.astype(int))]
        np.testing.assert_allclose(spectrum.coefficients, expected, atol=2e-7)


def test_locpot_is_electrostatic(results):
    """Where the atoms' structure factor vanishes, Poisson's equation gives the potential alone."""
    result = results["Si_static"]
    density, potential = result.spectrum, result.potential
    waves = np.exp(-2j * np.pi * density.hkl @ result.crystal.frac_coords.T).sum(axis=1)
    g2 = (density.g_vectors() ** 2).sum(axis=1)
    dark = (np.abs(waves) < 1e-9) & (np.abs(density.coefficients) > 1e-3)
    assert dark.any()
    np.testing.assert_array_equal(density.hkl, potential.hkl)
    poisson = 4 * np.pi * COULOMB_EV_ANGSTROM * density.coefficients[dark] / g2[dark]
    np.testing.assert_allclose(potential.coefficients[dark], poisson, rtol=0.015)


def test_moments(results):
    moment = {n: r.record["magnetic_moment_bohr"] for n, r in results.items()}
    assert moment["Ni_loose/CHGCAR_no_spin.gz"] is None
    assert abs(moment["Ni_loose/CHGCAR_spin.gz"]) < 1e-6
    assert moment["Ni_loose/CHGCAR_ncl.gz"] == pytest.approx(0.6884, abs=1e-3)
    # Collinear and non-magnetic: one density, one energy.
    a, b = (results[f"Ni_loose/CHGCAR_{n}.gz"].record for n in ("spin", "no_spin"))
    assert a["xc_energy_ev"] == pytest.approx(b["xc_energy_ev"], abs=0.01)


def skeleton(text: str) -> str:
    """Text with every digit as 9 and no signs: the layout alone."""
    return re.sub(r"\d", "9", text.replace("-", " ")).strip()


def lines_with(path: Path, *words: str) -> set[str]:
    text = unpacked(path) if path.suffix == ".gz" else path.read_text()
    lines = [line for line in text.splitlines() if all(w in line for w in words)]
    return {re.sub(r"\s+", " ", skeleton(line)) for line in lines}


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> Path:
    potcars = make_potcars(tmp_path_factory.mktemp("licensed"))
    folder = tmp_path_factory.mktemp("runs") / "MgO"
    return finished_run(folder, potcars, spin_polarised=True, initial_moments={"Mg": 1})


def test_the_stand_in_writes_chgcar_as_vasp_does(stand_in):
    real = unpacked(DATA / "Si_static" / "CHGCAR.gz").splitlines()
    fake = (stand_in / "CHGCAR").read_text().splitlines()
    for number in (1, 2, 3, 4, 7, 8, 9, 11, 12):  # the head, the grid's size, its first numbers
        shapes = [[skeleton(word) for word in lines[number].split()] for lines in (real, fake)]
        if number == 12:  # the digit before the point gives way to a sign
            shapes = [[len(word) for word in lines[number].split()] for lines in (real, fake)]
        assert shapes[0] == shapes[1], number
    counts = [sum(line.startswith("augmentation") for line in lines) for lines in (real, fake)]
    assert counts == [4, 4]


@pytest.mark.parametrize("word", ["TEWEN", "DENC", "EBANDS", "energy(sigma->0)", "aborting loop"])
def test_the_stand_in_writes_outcar_as_vasp_does(stand_in, word):
    def shape(path: Path) -> set[str]:
        return {re.sub(r"9+\.9+", "#", line) for line in lines_with(path, word)}

    real, fake = shape(DATA / "Si_static" / "OUTCAR.gz"), shape(stand_in / "OUTCAR")
    assert fake
    assert fake <= real


def test_the_stand_in_writes_vasprun_as_vasp_does(stand_in):
    peer = Vasprun(stand_in / "vasprun.xml", parse_potcar_file=False)
    assert peer.converged
    assert peer.final_energy == pytest.approx(-10)
    real = unpacked(DATA / "Si_static" / "vasprun.xml.gz")
    for tag in set(re.findall(r"<(\w+)", (stand_in / "vasprun.xml").read_text())):
        assert f"<{tag}" in real
