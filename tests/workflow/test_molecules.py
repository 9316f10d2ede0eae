"""Molecules from nothing: PySCF live, a quantum deep field, its density and its descriptor."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.io import read
from ase.units import Bohr

from rhoflow import io, tables

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "test" / "molecules.yaml"

pytestmark = pytest.mark.workflow


def snakemake(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--configfile", str(CONFIG), "--cores", "2", *arguments,
        ],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("molecules")
    snakemake(folder)
    return folder / "results"


def test_every_molecule_is_computed_and_bound(results):
    for name, n in (("small", 14), ("others", 8)):
        records = io.read_table(results / f"dft/{name}/records.parquet", tables.MOLECULE_RECORDS)
        assert len(records) >= n
        assert set(records["status"]) == {"ok"}
        targets = io.read_table(results / f"dft/{name}/targets.parquet", tables.TARGET_TABLE)
        assert (targets["atomization_energy_ev"] > 3).all()
        assert (targets["homo_lumo_gap_ev"] > 3).all()
        assert targets["band_gap_ev"].isna().all()


def test_larger_molecules_are_tested_and_never_trained_on(results):
    structures = io.read_table(results / "structures/small/structures.parquet", tables.MOLECULES)
    size = structures.set_index("material_id")["n_atoms"]
    splits = io.read_table(results / "splits/field.parquet", tables.SPLITS)
    parts = splits.groupby("part")["material_id"].apply(lambda ids: set(size[ids] > 6))
    assert dict(parts) == {"larger": {True}, "test": {False}, "train": {False}}
    scores = pd.read_csv(results / "scores/field/scores.csv")
    assert set(scores["part"]) == {"test", "larger"}
    assert set(scores["arm"]) == {"qdf", "gcn", "dense", "counts"}
    assert np.isfinite(scores["mae_mean"]).all()


@pytest.mark.parametrize("name", ["model", "engine"])
def test_cube_files_open_in_ase_with_the_electrons_of_the_molecule(results, name):
    with (results / f"figures/field/{name}.cube").open() as stream:
        content = read(stream, format="cube", read_data=True, full_output=True)
    density, atoms = content["data"], content["atoms"]
    voxel = abs(np.linalg.det(content["spacing"])) / Bohr**3  # values are per cubic bohr
    assert density.sum() * voxel == pytest.approx(atoms.numbers.sum(), rel=2e-3)


def test_descriptors_of_a_kept_network_differ_by_network_and_molecule(results):
    deep, dense = (
        io.read_vectors([results / f"descriptors/{name}/others/0000.parquet"])
        for name in ("deep", "dense")
    )
    assert deep.ids == dense.ids
    assert len(set(deep.ids)) == 8
    # Targets that read sums and targets that read means: both, side by side.
    assert deep.values.shape == (8, 24)
    assert dense.values.shape == (8, 8)
    assert len(np.unique(deep.values.round(9), axis=0)) == 8


def test_figures_and_report_are_there_and_a_second_run_does_nothing(results):
    for figure in ("learning_curves", "parity", "extrapolation", "density_map"):
        assert (results / f"figures/field/{figure}.svg").stat().st_size > 10_000
    report = (results / "report.html").read_text()
    assert "Quantum deep field" in report
    assert "PySCF" in report or "pyscf" in report
    assert "Nothing to be done" in snakemake(results.parent)


def test_status_counts_molecules_and_kept_networks(results):
    page = snakemake(results.parent, "status")
    assert "small" in page
    assert "field: 4 of 4 figures" in page
    assert "no calculation, no training" in " ".join(page.split())
