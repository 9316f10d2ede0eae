"""A data set computed, packed as an archive, used from it and held against a live run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.workflow

ENGINE = {
    "kind": "gpaw",
    "cutoff_ev": 300,
    "kpoint_density": 0.8,
    "equation_of_state": {"step": 0.06},
}
DENSITY = {"g_store": 7.0}
COMPUTED = {
    "datasets": {
        "mini": {
            "source": {"kind": "prototypes", "prototypes": ["rocksalt"], "cations": ["Mg", "Ca"]},
            "selection": {"size": 2},
            "engine": "gpaw",
            "shard_size": 1,
        }
    },
    "engines": {"gpaw": ENGINE},
    "density": DENSITY,
}


def taken(archive: Path) -> dict[str, Any]:
    """A config that takes two structures from an archive and computes one of them again."""
    source = {"kind": "archive", "path": str(archive)}
    return {
        "datasets": {
            "kept": {"source": source, "selection": {"size": 2}, "engine": "archive"},
            "live": {"source": source, "selection": {"size": 1}, "engine": "gpaw"},
        },
        # At the volume that the archive found, so that every number must come out again.
        "engines": {"archive": source, "gpaw": {**ENGINE, "equation_of_state": None}},
        "density": DENSITY,
        "comparisons": {"again": {"dataset": "live", "reference": "kept"}},
    }


def run(folder: Path, settings: dict[str, Any], *targets: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(folder), "--configfile", str(folder / "config.yaml"),
        "--cores", "2", *targets,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_an_archive_gives_back_what_was_computed_and_a_live_run_agrees(tmp_path):
    run(tmp_path / "first", COMPUTED, "archives", "data")
    archive = tmp_path / "first" / "results" / "archives" / "mini"
    run(tmp_path / "second", taken(archive))
    first, second = (tmp_path / name / "results" for name in ("first", "second"))
    computed = pd.read_parquet(first / "dft/mini/targets.parquet")
    kept = pd.read_parquet(second / "dft/kept/targets.parquet")
    by_id = computed.set_index("material_id").sort_index()
    pd.testing.assert_frame_equal(kept.set_index("material_id").sort_index(), by_id)
    # At this cutoff no bulk modulus to be proud of, but one.
    assert (by_id["bulk_modulus_gpa"] > 0).all()
    assert by_id["cohesive_energy_ev_per_atom"].notna().all()
    again = pd.read_parquet(second / "comparisons/again.parquet").set_index("target")
    assert "bulk_modulus_gpa" not in again.index
    assert abs(again.loc["volume_angstrom3_per_atom", "difference"]) < 1e-6
    assert abs(again.loc["band_gap_ev", "difference"]) < 0.01
    assert abs(again.loc["cohesive_energy_ev_per_atom", "difference"]) < 0.001
    assert abs(again.loc["hartree_energy_ev_per_atom", "difference"]) < 0.1
    report = (second / "report.html").read_text()
    for heading in ("Comparison again", "Data set kept", "Data set live"):
        assert heading in report
    with np.load(second / "density/kept/0000.potential.npz", allow_pickle=False) as file:
        assert len(file["material_id"]) == 2
    assert "Nothing to be done" in run(tmp_path / "second", taken(archive))


def test_free_atoms_are_packed_with_an_archive_and_taken_from_one(tmp_path):
    run(tmp_path / "first", COMPUTED, "results/archives/mini/atom_densities.parquet")
    packed = tmp_path / "first/results/archives/mini/atom_densities.parquet"
    made = pd.read_parquet(packed).set_index("element")
    assert list(made["n_valence_electrons"]) == pytest.approx([10, 10, 6])  # Ca, Mg, O
    settings = taken(ROOT / "resources" / "oxides")
    run(tmp_path / "second", settings, "results/dft/kept/atom_densities.parquet")
    kept = pd.read_parquet(tmp_path / "second/results/dft/kept/atom_densities.parquet")
    oxygen = kept.set_index("element").loc["O", "form_factor"]
    # Neither cutoff nor k-points touch a free atom.
    np.testing.assert_allclose(oxygen, made.loc["O", "form_factor"], atol=1e-9)
