"""Maps from potentials to densities of molecules, from PySCF to pictures and files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.io.cube import read_cube_data
from ase.units import Bohr

from rhoflow import io, tables

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "test" / "fields_molecules.yaml"

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fields_molecules")
    words = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory",
        str(folder), "--configfile", str(CONFIG), "--cores", "2", "--", "maps",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "results"


def molecules(results: Path) -> pd.DataFrame:
    table = io.read_table(results / "structures/small/structures.parquet", tables.MOLECULES)
    return table.set_index("material_id")


def test_every_molecule_has_a_box_and_its_valence_electrons(results):
    spectra = io.read_spectra(results / "density/small/0000.npz")
    known = molecules(results)
    assert set(spectra) == set(known.index)
    records = io.read_table(results / "dft/small/records.parquet", tables.MOLECULE_RECORDS)
    electrons = records.set_index("material_id")["n_electrons"]
    for name, spectrum in spectra.items():
        cores = 2 * sum(symbol != "H" for symbol in known.loc[name, "symbols"])
        assert spectrum.n_electrons == pytest.approx(electrons[name] - cores, abs=1e-4)
        assert spectrum.n_atoms == known.loc[name, "n_atoms"]


def test_free_atoms_are_those_of_pyscf(results):
    atoms = io.read_table(results / "dft/small/atom_densities.parquet", tables.ATOM_DENSITIES)
    electrons = atoms.set_index("element")["n_valence_electrons"]
    known = {"C": 4, "F": 7, "H": 1, "N": 5, "O": 6}
    assert dict(electrons) == pytest.approx({e: known[e] for e in electrons.index})


def test_every_arm_predicts_the_electrons_of_larger_molecules_too(results):
    scores = pd.read_csv(results / "scores/maps/scores.csv")
    electrons = scores[scores["target"] == "electrons_per_atom"]
    assert set(electrons["arm"]) == {"spectral", "ions", "fitted", "free"}
    assert set(electrons["part"]) == {"test", "larger"}
    assert (electrons["mae_mean"] < 1e-4).all()
    errors = scores[scores["target"] == "density_error_percent"]
    errors = errors[errors["train_size"] == 6].set_index(["part", "arm"])["mae_mean"]
    for part in ("test", "larger"):
        assert 0 < errors[part, "fitted"] < errors[part, "free"] < 40


def test_predicted_densities_open_as_cube_files(results):
    table = io.read_table(results / "densities/maps/spectral.parquet", tables.PREDICTED_DENSITIES)
    files = sorted((results / "densities/maps/spectral").glob("*.cube"))
    assert 2 <= len(files) <= 4
    known, predicted = molecules(results), table.set_index("material_id")
    for path in files:
        data, atoms = read_cube_data(path)
        assert sorted(atoms.symbols) == sorted(known.loc[path.stem, "symbols"])
        # One molecule, not torn apart by the faces of the box.
        apart = np.asarray(known.loc[path.stem, "positions_angstrom"]).reshape(-1, 3)
        assert np.ptp(atoms.get_all_distances()) == pytest.approx(
            np.linalg.norm(apart[:, None] - apart, axis=2).max(), abs=1e-4
        )
        electrons = data.mean() * atoms.cell.volume / Bohr**3
        per_atom = predicted.loc[path.stem, "electrons_per_atom"]
        assert electrons / len(atoms) == pytest.approx(per_atom, rel=1e-4)


def test_pictures_stand_in_the_report(results):
    for name in ("learning_curves", "extrapolation", "slices"):
        assert "<svg" in (results / f"figures/maps/{name}.svg").read_text()
    report = (results / "reports/maps.html").read_text()
    assert "Densities of molecules of" in report
    assert "Densities of crystals" not in report
    assert 'sandbox="allow-scripts"' in report
