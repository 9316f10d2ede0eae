"""The voxel-descriptor study in miniature, from the archive: every kind of arm and figure."""

import base64
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "test" / "r3dvs.yaml"
TARGETS = ("cohesive_energy_ev_per_atom", "band_gap_ev")
FIGURES = {
    "r3dvs": ("concept", "architecture", "hartree", "learning_curves", "parity"),
    "rotations": ("classification",),
    "scans": ("scan",),
    "tasks": ("score_table", "added_tasks", "task_similarity"),
}

pytestmark = pytest.mark.workflow


def command(folder: Path, *arguments: str, config: Path = CONFIG) -> list[str]:
    return [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(folder), "--configfile", str(config), "--cores", "2", *arguments,
    ]  # fmt: skip


def snakemake(folder: Path, *arguments: str, config: Path = CONFIG) -> str:
    done = subprocess.run(
        command(folder, *arguments, config=config),
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def changed(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    raw = yaml.safe_load(CONFIG.read_text())
    edit(raw)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run of the study by its name, on one shard of the archive as it grows."""
    folder = tmp_path_factory.mktemp("r3dvs")
    archive = folder / "resources" / "oxides"
    archive.mkdir(parents=True)
    shipped = ROOT / "resources" / "oxides"
    for path in (shipped / "atoms.parquet", *shipped.glob("0023.*")):
        shutil.copy2(path, archive)
    snakemake(folder, "r3dvs")
    return folder


@pytest.fixture(scope="module")
def results(finished) -> Path:
    return finished / "results"


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished run, times and Snakemake's records included."""
    return Path(shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copy2))


def test_every_arm_predicts_what_it_learns(results):
    table = pd.read_parquet(results / "scores/r3dvs/predictions.parquet")
    assert table["y_pred"].notna().all()
    assert table["pose_std"].isna().all()
    # 2 sizes, 2 redraws and 3 test structures, and so many seeds.
    seeds = dict.fromkeys(("voxels", "fields", "images", "graph", "dense", "stack"), 2) | {
        "soap": 1
    }
    learned = dict.fromkeys(seeds, TARGETS) | {"dense": TARGETS[1:], "stack": TARGETS[:1]}
    sizes = table.groupby(["arm", "target"]).size().to_dict()
    assert sizes == {
        (arm, target): n * 2 * 2 * 3 for arm, n in seeds.items() for target in learned[arm]
    }
    scores = pd.read_csv(results / "scores/r3dvs/scores.csv")
    assert len(scores) == 2 * 12
    assert (scores["n_redraws"] == 2).all()
    (claim,) = pd.read_csv(results / "scores/r3dvs/claims.csv").to_dict("records")
    assert (claim["verdict"], claim["study"]) == ("not testable", "r3dvs")


def test_answers_of_a_classification_are_judged(results):
    answers = pd.read_parquet(results / "classifications/rotations/voxels/0-2.parquet")
    assert len(answers) == 3 * 2 * 3
    known = set(pd.read_parquet(results / "dft/oxides/records.parquet")["material_id"])
    assert set(answers["material_id"]) | set(answers["predicted_id"]) <= known
    assert answers["probability"].between(0, 1).all()
    accuracies = pd.read_csv(results / "scores/rotations/accuracies.csv")
    assert len(accuracies) == 3 * 2
    right = answers["material_id"] == answers["predicted_id"]
    assert accuracies["accuracy"].sum() * 3 == pytest.approx(right.sum())
    claims = pd.read_csv(results / "scores/rotations/claims.csv")
    assert claims["verdict"].isin(["holds", "does not hold", "undecided", "not testable"]).all()
    assert claims["verdict"][1] == "not testable"
    with np.load(results / "classifications/rotations/voxels/0-2.npz") as file:
        assert file["2"].shape == (3, 4, 4 * 2**3)


def test_a_scan_has_an_arm_for_every_value(results):
    table = pd.read_parquet(results / "figures/scans/scan.parquet")
    assert table[["arm", "key", "value"]].to_numpy().tolist() == [
        ["voxels", "descriptor.deposit", "nearest"],
        ["voxels", "descriptor.deposit", "linear"],
        ["voxels", "model.optimiser.epochs", "1"],
        ["soap", "model.ridge", "1.0"],
    ]
    assert ((table["pose_std"] > 0) == (table["arm"] == "voxels")).all()
    predicted = pd.read_parquet(results / "scores/scans/predictions.parquet")
    # The varied arm stands for the value that it has anyway; nothing is trained twice.
    assert set(predicted["arm"]) == {
        "voxels", "voxels__deposit_linear", "voxels__epochs_1", "soap", "soap__ridge_1_0",
    }  # fmt: skip
    splits = pd.read_parquet(results / "splits/scans.parquet")
    structures = pd.read_parquet(results / "structures/oxides/structures.parquet")
    formula = structures.set_index("material_id")["formula"]
    sides = [
        set(splits[splits["part"] == p]["material_id"].map(formula)) for p in ("train", "test")
    ]
    assert sides[0].isdisjoint(sides[1])


def test_targets_learned_beside_are_not_judged(results):
    predicted = pd.read_parquet(results / "scores/tasks/predictions.parquet")
    judged = predicted.groupby("arm")["target"].unique().map(set).to_dict()
    assert judged == {
        "alone": {"band_gap_ev"},
        "alone__beside_cohesive_energy_ev_per_atom": {"band_gap_ev"},
        "grouped": set(TARGETS),
    }
    changes = pd.read_parquet(results / "figures/tasks/added_tasks.parquet")
    assert changes[["arm", "target", "beside"]].to_numpy().tolist() == [
        ["alone", "band_gap_ev", "cohesive_energy_ev_per_atom"]
    ]
    assert np.isfinite(changes["change_percent"]).all()
    table = pd.read_parquet(results / "figures/tasks/score_table.parquet")
    assert sorted(zip(table["arm"], table["target"], strict=True)) == [
        ("alone", "band_gap_ev"), ("grouped", "band_gap_ev"),
        ("grouped", "cohesive_energy_ev_per_atom"), ("grouped", "mean"),
    ]  # fmt: skip
    (claim,) = pd.read_csv(results / "scores/tasks/claims.csv").to_dict("records")
    assert claim["target"] == ", ".join(TARGETS)
    assert claim["verdict"] == "not testable"


def test_spots_carry_three_fields(results):
    with np.load(results / "descriptors/fields/oxides/0000.npz") as file:
        amplitude, offsets = file["amplitude"], file["offsets"]
    assert amplitude.shape == (3, offsets[-1])
    assert len(offsets) == 13
    assert (amplitude.max(axis=1) > 0).all()


def test_every_figure_and_table_is_in_the_report(results):
    report = (results / "reports/r3dvs.html").read_text()
    for study, names in FIGURES.items():
        for name in names:
            svg = (results / f"figures/{study}/{name}.svg").read_bytes()
            assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
            assert base64.b64encode(svg).decode() in report, f"{study} {name}"
    layers = pd.read_csv(results / "figures/r3dvs/architecture.csv")
    hartree = pd.read_csv(results / "figures/r3dvs/hartree.csv")
    oxides = pd.read_csv(results / "dft/oxides/oxides.csv")
    assert len(oxides) == 12
    assert oxides["hartree_energy_ev_per_atom"].notna().all()
    assert len(hartree) > 4
    for title, table in (
        ("Layers of the network", layers),
        ("Hartree energy from voxels", hartree),
        ("Structures of the data set", oxides),
    ):
        assert f"{title} ({len(table)} rows)" in report
    for text in ("Voxels in miniature", "Originals recognised", "SOAP → R3DVS", "ZrO2"):
        assert text in report
    # Figures of the data set: funnel and known oxides.
    assert report.count("data:image/svg+xml;base64,") == 10 + 2
    assert "http://" not in report.replace("http://www.w3.org", "")


def test_the_layers_are_those_of_the_network(results):
    layers = pd.read_csv(results / "figures/r3dvs/architecture.csv")
    # 27·2 + 2, 27·2·4 + 4, 4·2³·4 + 4 and 4 + 1 weights of one density and one target.
    assert layers["parameters"].sum() == 56 + 220 + 132 + 5


def test_a_second_run_does_nothing_and_leaves_no_training_behind(finished):
    assert "Nothing to be done" in snakemake(finished, "r3dvs")
    assert not list((finished / "results/training").glob("*"))


def test_predictions_do_not_depend_on_the_number_of_jobs(finished, copy):
    def edit(raw):
        raw["studies"]["r3dvs"]["protocol"]["redraws_per_job"] = 1
        raw["studies"]["rotations"]["protocol"]["repeats_per_job"] = 2

    arms = [
        f"results/predictions/r3dvs/{arm}" for arm in ("fields/together", f"stack/{TARGETS[0]}")
    ]
    files = [f"{arm}/{redraw}-{redraw}.parquet" for arm in arms for redraw in (0, 1)]
    accuracies = "results/scores/rotations/accuracies.csv"
    snakemake(copy, *files, accuracies, config=changed(copy, edit))
    assert (copy / accuracies).read_bytes() == (finished / accuracies).read_bytes()
    for arm in arms:
        whole = pd.read_parquet(finished / arm / "0-1.parquet")
        parts = [pd.read_parquet(copy / arm / name) for name in ("0-0.parquet", "1-1.parquet")]
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_exact=True)


def scripts_of(process: subprocess.Popen, rule: str) -> list[psutil.Process]:
    """Python processes below Snakemake that run a rule's script."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            words = child.cmdline()
        except psutil.NoSuchProcess:
            continue
        if words and "python" in Path(words[0]).name and words[-1].endswith(f"{rule}.py"):
            found.append(child)
    return found


def test_a_training_that_is_killed_is_resumed_and_ends_with_the_same_bytes(copy, tmp_path):
    """Four trainings; killed when the first has left its state."""

    def edit(raw):
        raw["models"]["cnn"]["optimiser"]["epochs"] = 150

    config = changed(tmp_path, edit)
    target = "results/predictions/r3dvs/voxels/band_gap_ev/0-1.parquet"
    other = Path(shutil.copytree(copy, tmp_path / "killed", copy_function=shutil.copy2))
    snakemake(copy, target, config=config)

    process = subprocess.Popen(
        command(other, target, config=config),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((other / "results/training").glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running = scripts_of(process, "model_train")
    assert len(running) == 1, "the training was over before it could be killed"
    running[0].kill()
    assert process.wait() != 0
    assert not (other / target).exists()
    kept = list((other / "results/training").glob("*.npz"))
    assert kept

    snakemake(other, target, config=config)
    assert (other / target).read_bytes() == (copy / target).read_bytes()
    log = other / "results/logs/model_train/r3dvs/voxels/band_gap_ev/0-1.log"
    assert "training goes on after epoch 150" in log.read_text()
    assert not list((other / "results/training").glob("*"))
