"""The profile on a real Slurm: from nothing to the report, jobs that ask for what they need."""

import subprocess
import sys
from pathlib import Path

import pytest

from rhoflow.slurm import end_leftovers, jobs_logging_below
from tests.slurm.cluster import Cluster, command, wait_for
from tests.slurm.conftest import MINI, ROOT, asked, on_slurm, rules_of_jobs, run, same


@pytest.fixture(scope="module")
def finished(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory):
    """The miniature config through Slurm, to its end; and what was printed."""
    folder = tmp_path_factory.mktemp("slurm")
    return folder, run(on_slurm(folder)).stderr


def test_it_ends_with_the_bytes_of_a_local_run(finished, undisturbed):
    same(undisturbed, finished[0])
    assert (finished[0] / "results/report.html").exists()


def test_networks_ask_for_a_gpu_and_nothing_else_does(finished):
    rules = rules_of_jobs(finished[1])
    with_gpu = {rule for job, rule in rules.items() if "gpu" in asked(job).get("TresPerNode", "")}
    assert with_gpu == {"model_train"}
    assert "model_fit" in rules.values()


def test_short_steps_share_jobs_and_light_ones_stay_here(finished):
    rules = rules_of_jobs(finished[1])
    grouped = [rule for rule in rules.values() if rule.startswith("shards_")]
    # Ten short steps of two shards.
    assert 1 <= len(grouped) <= 3
    assert any("density_shard" in rule and "r3dvs_shard" in rule for rule in grouped)
    submitted = " ".join(rules.values())
    for light in ("splits_make", "scores_collect", "figure_parity", "report_make"):
        assert light not in submitted
        assert f"localrule {light}:" in finished[1]


def test_jobs_ask_for_memory_and_time(finished):
    for job, rule in rules_of_jobs(finished[1]).items():
        known = asked(job)
        assert int(known["MinMemoryNode"].rstrip("MG")) > 0, rule
        assert known["TimeLimit"] != "UNLIMITED", rule


def test_a_second_run_submits_nothing(finished):
    done = run(on_slurm(finished[0]))
    assert "Nothing to be done" in done.stderr


def test_an_unknown_partition_is_named(cluster, computed, undisturbed):
    wrong = ["--default-resources", "slurm_partition=nowhere", "mem_mb=2000", "runtime=30"]
    target = "results/density/mini/0000.npz"
    failed = run(on_slurm(computed, *wrong, "--retries", "0", "--", target), ok=False)
    assert "slurm_partition: no partition 'nowhere'; valid are: gpu, main" in failed.stderr
    assert "Traceback" not in failed.stderr
    run(on_slurm(computed, "--", target))
    one, two = (folder / target for folder in (computed, undisturbed))
    assert one.read_bytes() == two.read_bytes()


def test_a_gpu_that_the_cluster_does_not_have_is_named(cluster, computed):
    wrong = ["--set-resources", "model_train:gres='gpu:h100:4'", "--retries", "0"]
    target = "results/predictions/tiny/r3dvs/band_gap_ev/0-0.parquet"
    failed = run(on_slurm(computed, *wrong, "--", target), ok=False)
    assert (
        "model_train asks for gres gpu:h100:4, but the default partition has nodes of"
        in failed.stderr
    )
    assert "gpu:2" in failed.stderr
    # The profile's way for a cluster without GPUs.
    run(on_slurm(computed, "--set-resources", "model_train:gres='none'", "--", target))


def test_jobs_of_a_killed_run_are_found_by_their_logs(cluster: Cluster, tmp_path: Path):
    folder = tmp_path / "slurm_logs"
    for number, where in enumerate((folder / "rule_x", tmp_path / "another")):
        where.mkdir(parents=True)
        subprocess.run(
            ["sbatch", f"--output={where}/%j.log", "--wrap=sleep 300", f"--job-name=j{number}"],
            check=True, capture_output=True,
        )  # fmt: skip
    ours = jobs_logging_below(folder)
    assert len(ours) == 1
    assert end_leftovers(folder) == ours
    assert jobs_logging_below(folder) == []
    other = jobs_logging_below(tmp_path / "another")
    assert len(other) == 1
    command("scancel", *other)
    wait_for("the end of the other", lambda: not jobs_logging_below(tmp_path))


def test_a_fresh_clone_runs_by_the_words_of_the_readme(cluster, tmp_path, undisturbed):
    """`snakemake --profile slurm` finds its profile, and nothing but the clone is needed."""
    clone = tmp_path / "rhoflow"
    run(["git", "clone", "--quiet", str(ROOT), str(clone)], cwd=tmp_path)
    config = clone / "config" / "test" / "mini.yaml"
    assert config.read_bytes() == MINI.read_bytes()
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    words = [snakemake, "--profile", "slurm", "--configfile", "config/test/mini.yaml"]
    done = run([*words, "--", "results/dft/mini/targets.parquet"], cwd=clone)
    assert "submitted with SLURM jobid" in done.stderr
    one, two = (f / "results/dft/mini/targets.parquet" for f in (clone, undisturbed))
    assert one.read_bytes() == two.read_bytes()
