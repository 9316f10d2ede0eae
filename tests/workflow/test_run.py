"""The workflow itself, on the miniature config: run, rerun, change, kill, resume, break."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
MINI = ROOT / "config" / "test" / "mini.yaml"
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]

pytestmark = [pytest.mark.workflow, pytest.mark.dft]


def command(folder: Path, *arguments: str, config: Path = MINI) -> list[str]:
    return [
        *SNAKEMAKE, "--directory", str(folder), "--configfile", str(config), "--cores", "2",
        *arguments,
    ]  # fmt: skip


def snakemake(folder: Path, *arguments: str, config: Path = MINI, ok: bool = True):
    done = subprocess.run(
        command(folder, *arguments, config=config), capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


def jobs(folder: Path, config: Path = MINI) -> set[str]:
    """Rules that would run."""
    text = snakemake(folder, "--dry-run", "--quiet", "host", config=config).stdout
    return {
        line.split()[0]
        for line in text.split("Job stats:")[-1].splitlines()
        if len(line.split()) == 2 and line.split()[1].isdigit() and line.split()[0] != "total"
    }


def changed(folder: Path, edit) -> Path:
    raw = yaml.safe_load(MINI.read_text())
    edit(raw)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run of the miniature config."""
    folder = tmp_path_factory.mktemp("run")
    snakemake(folder)
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished run, times and Snakemake's records included."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    return folder


def test_the_run_ends_with_its_report_and_tables(finished):
    report = (finished / "results" / "report.html").read_text()
    assert "Miniature" in report
    assert "not testable" in report
    assert report.count("data:image/svg+xml;base64,") == 5
    assert "http://" not in report.replace("http://www.w3.org", "")
    records = pd.read_parquet(finished / "results/dft/mini/records.parquet")
    assert len(records) == 4
    assert (records["status"] == "ok").all()
    predictions = pd.read_parquet(finished / "results/scores/tiny/predictions.parquet")
    # 4 arms, 2 targets, 2 sizes, 2 redraws, 1 test structure; only the network has 2 seeds.
    assert len(predictions) == (2 + 1 + 1 + 1) * 2 * 2 * 2
    assert predictions["y_pred"].notna().all()


def test_a_second_run_does_nothing(finished):
    assert "Nothing to be done" in snakemake(finished).stderr


def test_a_changed_descriptor_reruns_only_what_depends_on_it(copy):
    def edit(raw):
        raw["descriptors"]["soap"]["n_max"] = 4

    config = changed(copy, edit)
    assert jobs(copy, config) == {
        "soap_shard", "model_fit", "scores_collect",
        "figure_learning_curves", "figure_parity", "report_make", "all",
    }  # fmt: skip
    dry = snakemake(copy, "--dry-run", config=config).stdout
    trained = {
        line.split()[-1] for line in dry.splitlines() if "output: results/predictions" in line
    }
    assert {path.split("/")[3] for path in trained} == {"soap"}


def test_how_spots_become_voxels_does_not_touch_the_spots(copy):
    def edit(raw):
        raw["descriptors"]["r3dvs"]["deposit"] = "linear"

    rerun = jobs(copy, changed(copy, edit))
    assert "r3dvs_shard" not in rerun
    assert "dft_run" not in rerun
    assert {"model_train", "figure_concept"} <= rerun


@pytest.mark.parametrize(
    ("key", "value"),
    [("min_ok_fraction", 0.5), ("time_limit_min", 60), ("boxed_atoms", ["O", "N"])],
)
def test_what_decides_no_density_recomputes_none(copy, key, value):
    def edit(raw):
        raw["engines"]["gpaw"][key] = value

    rerun = jobs(copy, changed(copy, edit))
    assert not {"dft_run", "density_shard", "r3dvs_shard"} & rerun
    assert ("dft_collect" in rerun) == (key != "time_limit_min")


def test_a_changed_structure_file_is_read_again(tmp_path):
    source = tmp_path / "source" / "inner"
    source.mkdir(parents=True)
    for metal in ("Mg", "Ca", "Sr"):
        rows = [metal, "1.0", "5 0 0", "0 5 0", "0 0 5", f"{metal} O", "1 1", "Direct"]
        (source / f"{metal}.vasp").write_text("\n".join([*rows, "0 0 0", "0.5 0.5 0.5"]) + "\n")

    def edit(raw):
        raw["datasets"]["mini"]["source"] = {"kind": "files", "path": str(source.parent)}
        raw["datasets"]["mini"]["selection"] = {"size": 3}
        raw["studies"]["tiny"]["protocol"].update(train_sizes=[2], test_size=1)

    config = changed(tmp_path, edit)
    target = "results/structures/mini/structures.parquet"
    snakemake(tmp_path, target, config=config)
    assert "Nothing to be done" in snakemake(tmp_path, target, config=config).stderr
    (source / "Sr.vasp").write_text((source / "Sr.vasp").read_text().replace("Sr", "Ba"))
    snakemake(tmp_path, target, config=config)
    table = pd.read_parquet(tmp_path / target)
    assert sorted(table["formula"]) == ["BaO", "CaO", "MgO"]


def test_another_sample_computes_only_new_structures(copy):
    """Finished calculations are found by their content, whatever shard they are in."""

    def edit(raw):
        raw["datasets"]["mini"]["shard_size"] = 2

    before = {p.name: p.stat().st_mtime_ns for p in (copy / "results/dft/done").iterdir()}
    snakemake(copy, "--until", "dft_collect", config=changed(copy, edit))
    after = {p.name: p.stat().st_mtime_ns for p in (copy / "results/dft/done").iterdir()}
    assert before == after


def test_killed_in_the_dft_stage_it_resumes_and_ends_with_the_same_bytes(finished, tmp_path):
    folder = tmp_path / "killed"
    folder.mkdir()
    process = subprocess.Popen(
        command(folder, "--cores", "1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    done = folder / "results" / "dft" / "done"
    deadline = time.monotonic() + 120
    while not list(done.glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {p: p.stat().st_mtime_ns for p in done.glob("*.npz")}
    assert kept, "nothing was finished before the kill"
    assert not (folder / "results/report.html").exists()
    snakemake(folder, "--unlock")
    snakemake(folder, "--rerun-incomplete")
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "a finished structure was recomputed"
    for table in (
        "dft/mini/records.parquet",
        "dft/mini/targets.parquet",
        "density/mini/0000.npz",
        "descriptors/soap/mini/0001.parquet",
        "scores/tiny/predictions.parquet",
        "scores/tiny/scores.csv",
        "figures/tiny/learning_curves.svg",
    ):
        one, two = (f / "results" / table for f in (finished, folder))
        assert one.read_bytes() == two.read_bytes(), table


def test_a_corrupt_shard_is_named_and_nothing_else_is_lost(copy):
    shard = copy / "results/density/mini/0000.npz"
    stamp = shard.stat()
    shard.write_bytes(shard.read_bytes()[:100])
    os.utime(shard, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    spots = copy / "results/descriptors/r3dvs/mini/0000.npz"
    spots.unlink()
    target = str(spots.relative_to(copy))
    failed = snakemake(copy, target, ok=False)
    assert "results/density/mini/0000.npz: cannot be read" in failed.stdout + failed.stderr
    shard.unlink()
    again = snakemake(copy, target)
    assert spots.exists()
    assert "dft_run" not in again.stderr


def test_a_misspelt_key_stops_before_anything_runs(tmp_path):
    def edit(raw):
        raw["descriptors"]["soap"]["nmax"] = 4

    failed = snakemake(tmp_path, config=changed(tmp_path, edit), ok=False)
    text = failed.stdout + failed.stderr
    assert "descriptors.soap.nmax: unknown key 'nmax'; did you mean 'n_max'?" in text
    assert "Traceback" not in text
    assert not (tmp_path / "results").exists()


def test_too_few_structures_say_so(tmp_path):
    def edit(raw):
        raw["datasets"]["mini"]["selection"]["size"] = 400

    failed = snakemake(
        tmp_path, "--until", "structures_select", config=changed(tmp_path, edit), ok=False
    )
    text = failed.stdout + failed.stderr
    assert "400" in text
    assert "size" in text
    assert "Traceback" not in text


def test_lint_is_clean():
    done = subprocess.run(
        [*SNAKEMAKE, "--lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
