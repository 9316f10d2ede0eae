"""What jobs would ask a cluster for, as a dry run shows it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MINI = ROOT / "config" / "test" / "mini.yaml"
VASP = ROOT / "config" / "test" / "vasp.yaml"

pytestmark = pytest.mark.workflow


def asked(folder: Path, config: Path, edit, *arguments: str) -> dict[str, list[dict[str, str]]]:
    """Resources of all jobs by rule."""
    raw = yaml.safe_load(config.read_text())
    edit(raw)
    changed = folder / "changed.yaml"
    changed.write_text(yaml.safe_dump(raw))
    words = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dry-run",
        "--directory", str(folder), "--configfile", str(changed), *arguments,
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[dict[str, str]]] = {}
    for rule, line in re.findall(r"rule (\w+):\n(?:    .*\n)*?    resources: (.*)\n", done.stdout):
        pairs = dict(part.split("=", 1) for part in line.split(", ") if "=" in part)
        found.setdefault(rule, []).append(pairs)
    return found


def minutes(jobs: list[dict[str, str]]) -> int:
    return sum(int(job["runtime"]) for job in jobs)


def test_a_training_asks_for_a_gpu_a_device(tmp_path):
    def edit(raw):
        raw["models"]["cnn"]["optimiser"]["devices"] = 2

    one, two = asked(tmp_path, MINI, lambda raw: None), asked(tmp_path, MINI, edit)
    assert {job["gres"] for job in one["model_train"]} == {"gpu:1"}
    assert {job["gres"] for job in two["model_train"]} == {"gpu:2"}
    assert "gres" not in two["model_fit"][0]


def test_a_longer_training_asks_for_more_time_and_most_without_a_gpu(tmp_path):
    def edit(raw):
        raw["models"]["cnn"]["optimiser"]["epochs"] = 100_000

    none = ["--set-resources", "model_train:gres='none'"]
    short = asked(tmp_path, MINI, lambda raw: None)["model_train"]
    long = asked(tmp_path, MINI, edit)["model_train"]
    on_cores = asked(tmp_path, MINI, edit, *none)["model_train"]
    assert minutes(short) < minutes(long) < minutes(on_cores)


def test_vasp_asks_for_its_mpi_tasks(tmp_path):
    def edit(raw):
        engine = next(e for e in raw["engines"].values() if e["kind"] == "vasp")
        engine.update(tasks=64, nodes=2)

    single = asked(tmp_path, VASP, lambda raw: None)["dft_run"]
    several = asked(tmp_path, VASP, edit)["dft_run"]
    assert not {"mpi", "tasks", "nodes"} & set(single[0])
    assert {(j["tasks"], j["nodes"], j["mpi"]) for j in several} == {("64", "2", "srun")}
