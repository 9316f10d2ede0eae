"""Maps from potentials to densities, from the archive to pictures and runs that start there."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ase.io import read
from pymatgen.io.vasp import Chgcar

from rhoflow import io, tables
from rhoflow.crystal import elements_of

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "test" / "fields.yaml"
UNSEEN = {"Sr", "Ba", "Cu"}

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    words = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory",
        str(folder), "--configfile", str(CONFIG), "--cores", "2", "--", "hohenberg_kohn",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "results"


def test_elements_apart_are_tested_and_never_trained_on(results):
    structures = io.read_table(results / "structures/oxides/structures.parquet", tables.STRUCTURES)
    formulas = dict(zip(structures["material_id"], structures["formula"], strict=True))
    splits = io.read_table(results / "splits/hohenberg_kohn.parquet", tables.SPLITS)
    for part, ids in splits.groupby("part")["material_id"]:
        apart = {not UNSEEN.isdisjoint(elements_of(formulas[name])) for name in ids}
        assert apart == {part == "unseen"}
    scores = pd.read_csv(results / "scores/hohenberg_kohn/scores.csv")
    assert set(scores["part"]) == {"test", "unseen"}


def test_every_arm_predicts_the_electrons_and_fitted_atoms_err_less(results):
    scores = pd.read_csv(results / "scores/hohenberg_kohn/scores.csv")
    electrons = scores[scores["target"] == "electrons_per_atom"]
    assert set(electrons["arm"]) == {"spectral", "ions", "convolution", "fitted", "free"}
    assert (electrons["mae_mean"] < 1e-4).all()
    claims = pd.read_csv(results / "scores/hohenberg_kohn/claims.csv")
    assert len(claims) == 2
    assert "elements that were not trained on" in claims["scale"].iloc[1]
    errors = scores[scores["target"] == "density_error_percent"]
    errors = errors[(errors["train_size"] == 8) & (errors["part"] == "test")]
    by_arm = errors.set_index("arm")["mae_mean"]
    assert 0 < by_arm["fitted"] < by_arm["free"] < 20


def test_predicted_densities_open_elsewhere(results):
    table = io.read_table(
        results / "densities/hohenberg_kohn/spectral.parquet", tables.PREDICTED_DENSITIES
    )
    known = table.set_index("material_id")
    assert known.loc[known["part"] == "unseen", "flag"].str.contains("not trained on").all()
    assert known.loc[known["part"] == "test", "flag"].isna().any()
    files = sorted((results / "densities/hohenberg_kohn/spectral").glob("*.CHGCAR"))
    assert len(files) == 4
    for path in files:
        chgcar = Chgcar.from_file(path)
        electrons = chgcar.data["total"].mean() / len(chgcar.structure)
        assert electrons == pytest.approx(known.loc[path.stem, "electrons_per_atom"], rel=1e-5)
        atoms = read(path.with_suffix(".cube"))
        assert sorted(atoms.numbers) == sorted(chgcar.structure.atomic_numbers)


def test_runs_start_from_predicted_densities(results):
    runs = io.read_table(results / "starts/hohenberg_kohn.parquet", tables.START_RUNS)
    assert runs["start"].tolist() == ["superposed atoms", "predicted", "converged"]
    assert set(runs["status"]) == {"ok"}
    assert runs["total_energy_ev"].max() - runs["total_energy_ev"].min() < 0.1
    table = pd.read_csv(results / "figures/hohenberg_kohn/scf_starts.csv")
    assert (table[["superposed atoms", "predicted", "converged"]] > 1).all(axis=None)


def test_pictures_stand_in_the_report(results):
    for name in ("learning_curves", "unseen", "slices", "scf_starts"):
        assert "<svg" in (results / f"figures/hohenberg_kohn/{name}.svg").read_text()
    page = (results / "figures/hohenberg_kohn/isosurface.html").read_text()
    assert "http" not in page.split("<body", 1)[1].split("<script", 1)[0]
    report = (results / "reports/hohenberg_kohn.html").read_text()
    assert 'sandbox="allow-scripts"' in report
    assert "Runs from predicted densities" in report
