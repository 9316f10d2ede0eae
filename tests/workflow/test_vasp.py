"""Finished VASP runs, VASP itself (a stand-in) and its inputs, each through the real rules."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from tests.vasp_runs import ROOT, fake_command, finished_atom, finished_run, make_potcars

SHARED = Path(os.environ.get("RHOFLOW_SHARED", "/nowhere")) / "data" / "vasp"

pytestmark = pytest.mark.workflow


def config(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config" / "test" / f"{name}.yaml").read_text())


def snakemake(folder: Path, settings: dict[str, Any], *targets: str) -> tuple[int, str]:
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--configfile", str(folder / "config.yaml"),
            "--cores", "2", *targets,
        ],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def results(folder: Path, dataset: str) -> pd.DataFrame:
    records = pd.read_parquet(folder / f"results/dft/{dataset}/records.parquet")
    targets = pd.read_parquet(folder / f"results/dft/{dataset}/targets.parquet")
    return records.merge(targets, on="material_id", suffixes=("", "_target")).set_index(
        "material_id"
    )


def test_finished_runs(tmp_path):
    potcars = make_potcars(tmp_path / "licensed")
    runs = tmp_path / "runs"
    finished_run(runs / "good", potcars)
    finished_run(runs / "a" / "b" / "deep", potcars, spin_polarised=True, initial_moments={"O": 1})
    finished_run(runs / "cut", potcars, mode="truncated")
    finished_run(runs / "slow", potcars, mode="unconverged")
    for element in ("O", "Mg"):
        finished_atom(element, tmp_path / "atoms" / element, potcars)
    settings = config("outputs")
    settings["engines"]["outputs"] = {
        "kind": "outputs", "atoms_path": "atoms", "min_ok_fraction": 0.5,
    }  # fmt: skip
    code, output = snakemake(
        tmp_path, settings, "results/dft/runs/targets.parquet", "results/density/runs/0000.npz"
    )
    assert code == 0, output
    table = results(tmp_path, "runs")
    assert table["status"].to_dict() == {
        "good": "ok", "a-b-deep": "ok", "cut": "failed", "slow": "not_converged",
    }  # fmt: skip
    assert "CHGCAR is truncated" in table.loc["cut", "reason"]
    assert table.loc["a-b-deep", "magnetic_moment_bohr"] == pytest.approx(1.0)
    assert table.loc["good", "cohesive_energy_ev_per_atom"] == pytest.approx(0.0)
    assert table.loc["good", "band_gap_ev"] == 5
    assert "Nothing to be done" in snakemake(
        tmp_path, settings, "results/dft/runs/targets.parquet"
    )[1]  # fmt: skip


@pytest.mark.skipif(not SHARED.exists(), reason="RHOFLOW_SHARED names no folder with VASP's files")
def test_real_runs(tmp_path):
    (tmp_path / "runs").symlink_to(SHARED)
    code, output = snakemake(
        tmp_path, config("outputs"), "results/dft/runs/targets.parquet",
        "results/density/runs/0000.npz",
    )  # fmt: skip
    assert code == 0, output
    table = results(tmp_path, "runs")
    assert (table["status"] == "ok").all()
    assert len(table) == 5
    assert table.loc["Si_static", "hartree_energy_ev"] == pytest.approx(15.1875, abs=1e-3)
    loose = table.filter(like="Ni_loose", axis=0)
    assert loose["total_energy_ev"].isna().all()
    assert loose["hartree_energy_ev"].notna().all()


def test_vasp_from_structures_to_targets(tmp_path):
    make_potcars(tmp_path / "licensed")
    settings = config("vasp")
    settings["engines"]["vasp"] |= {"potcar_folder": "licensed", "command": list(fake_command())}
    code, output = snakemake(
        tmp_path, settings, "results/dft/oxides/targets.parquet",
        "results/density/oxides/0000.npz",
    )  # fmt: skip
    assert code == 0, output
    table = results(tmp_path, "oxides")
    assert table["status"].tolist() == ["ok"]
    assert table["engine_version"].tolist() == ["VASP 5.4.4"]
    assert table["cohesive_energy_ev_per_atom"].tolist() == [0.0]
    assert not list((tmp_path / "results").rglob("POTCAR"))


def test_vasp_without_a_licence_writes_inputs_and_runs_nothing(tmp_path):
    settings = config("vasp")
    folder = "results/dft/oxides/inputs"
    code, output = snakemake(tmp_path, settings, f"{folder}/0000", f"{folder}/atoms")
    assert code == 0, output
    (place,) = (tmp_path / folder / "0000").glob("*/")
    assert {p.name for p in place.iterdir()} == {"INCAR", "POSCAR", "KPOINTS", "POTCAR.spec"}
    assert (tmp_path / folder / "atoms" / "O" / "INCAR").exists()
    code, output = snakemake(tmp_path, settings, "results/dft/oxides/targets.parquet")
    assert code != 0
    assert "engines.NAME.potcar_folder is not set" in output
