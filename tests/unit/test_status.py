"""Where a run stands: each state of a job, failures, and each estimate."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.status_folder import NOW, STAMP, Folder, lines_of

from rhoflow import io
from rhoflow.status.files import Tree, marked_outputs
from rhoflow.status.jobs import last_error
from rhoflow.status.render import render


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


# states ------------------------------------------------------------------------------------


def test_nothing_at_all_is_a_page_and_writes_nothing(folder):
    status = folder.status()
    page = render(status)
    assert "No run holds this folder." in page
    assert "oxides: not selected yet, 16 asked" in page
    assert "no estimate yet: oxides (4 shards), paper (4 trainings)" in page
    assert "report of the default run: not yet" in page
    assert status.datasets["oxides"].structures.waiting == 16
    assert not list(folder.top.iterdir())


def test_each_state_of_a_shard_and_its_structures(folder):
    done, running, queued, waiting = folder.shards
    folder.lock(ago=3600)
    folder.finish(done, ["ok", "failed", "not_converged", "ok"], ago=600)
    folder.mark(running, ago=300)
    folder.write(running["log"], lines_of("ok 9.5 s", "failed 3.0 s: no (log: /x)", found=1), 60)
    folder.mark(queued, ago=300)
    status = folder.status()
    data = status.datasets["oxides"]
    assert status.run == "on"
    assert status.silent_s == 60
    shards = data.shards
    assert (shards.all, shards.done, shards.running, shards.queued, shards.waiting) == (
        4,
        1,
        1,
        1,
        1,
    )
    n = data.structures
    assert (n.all, n.done, n.failed, n.not_converged) == (16, 4, 2, 1)
    assert (n.running, n.queued, n.waiting, n.stopped) == (1, 4, 4, 0)
    assert [u.progress for u in status.under_way] == ["3 of 4 structures"]
    assert {(r.text, r.count) for r in status.reasons} == {
        ("worker ended with code 137: killed", 1),
        ("333 iterations", 1),
        ("no", 1),
    }
    assert waiting["name"] not in render(status)


def test_the_last_shard_is_smaller_and_a_short_selection_counts(folder):
    io.write_table(Path("out/structures.parquet"), pd.DataFrame({"material_id": list("abcde")}))
    data = folder.status().datasets["oxides"]
    assert (data.selected, data.structures.all) == (5, 5)
    assert "oxides: 5 selected, 16 asked" in render(folder.status())


def test_a_retried_job_is_queued_until_its_log_is_younger_than_its_marker(folder):
    job = folder.shards[0]
    folder.lock(ago=3600)
    folder.write(job["log"], f"{lines_of('ok 1.0 s')}\nrhoflow: broken\n\n", ago=300)
    folder.mark(job, ago=60)
    assert folder.status().datasets["oxides"].shards.queued == 1
    folder.write(job["log"], lines_of(), ago=10)
    assert folder.status().datasets["oxides"].shards.running == 1


@pytest.mark.parametrize(
    ("locked", "marked", "logged", "run", "state"),
    [
        (3600.0, 300.0, 60.0, "on", "running"),
        (3600.0, 3000.0, 2000.0, "unsure", "running"),  # killed, or a long calculation
        (100.0, 3000.0, 2000.0, "on", "stopped"),  # what an earlier run left
        (None, 3000.0, 2000.0, "off", "stopped"),
        (None, 3000.0, 60.0, "unsure", "running"),  # outlived its Snakemake
        (None, 3000.0, None, "off", "stopped"),
    ],
)
def test_running_is_told_from_interrupted(folder, locked, marked, logged, run, state):
    job = folder.shards[1]
    if locked:
        folder.lock(locked)
    folder.mark(job, marked)
    if logged is not None:
        folder.write(job["log"], lines_of("ok 2.0 s"), logged)
    status = folder.status()
    assert status.run == run
    assert getattr(status.datasets["oxides"].shards, state) == 1
    assert status.datasets["oxides"].structures.done == (0 if logged is None else 1)


def test_a_silent_run_says_what_is_not_known(folder):
    folder.lock(ago=9000)
    folder.mark(folder.shards[0], ago=8000)
    folder.write(folder.shards[0]["log"], lines_of(), ago=7200)
    page = render(folder.status())
    assert "Locked for 2 h 30 min, its jobs last wrote 2 h ago: running or interrupted." in page
    assert "snakemake --unlock" in page
    assert "running?" in page
    folder.write("out/done/abc.txt", "iteration", ago=30)  # the engine's own log grows
    assert "its jobs last wrote 30 s ago" in render(folder.status())


def test_a_marker_of_a_long_path_is_read_from_its_pieces(folder):
    name = "/".join(["a" * 200, "b" * 200, "c.npz"])
    folder.mark({**folder.shards[0], "output": name}, ago=5)
    assert marked_outputs(Tree(), ".snakemake/incomplete") == {name: NOW - 5}


def test_an_output_with_a_marker_is_not_done(folder):
    folder.finish(folder.shards[0], ["ok"] * 4, ago=500)
    folder.mark(folder.shards[0], ago=600)
    assert folder.status().datasets["oxides"].shards.stopped == 1


def test_trainings_tell_how_far_they_are(folder):
    first, second, third, _ = folder.trainings
    folder.lock(ago=1000)
    folder.mark(first, ago=900)
    log = "".join(f"{STAMP} redraw 0, {n} training structures: done\n" for n in (10, 20, 20))
    folder.write(first["log"], log, ago=20)
    io.write_arrays(Path("out/training/new.npz"), {"history": np.zeros(37)})
    io.write_arrays(Path("out/training/old.npz"), {"history": np.zeros(99)})
    os.utime("out/training/new.npz", (NOW - 10, NOW - 10))
    os.utime("out/training/old.npz", (NOW - 5000, NOW - 5000))
    folder.write(second["output"], "x", ago=100)
    folder.write(third["log"], f"{STAMP} redraw 0\n", ago=300)
    folder.write("out/predictions/other/arm/gap/0-0.parquet", "of another config")
    folder.write("out/parity.svg", "x")
    status = folder.status()
    n = status.studies["paper"].trainings
    assert (n.all, n.done, n.running, n.stopped, n.waiting) == (4, 1, 1, 1, 1)
    page = render(status)
    assert "model_train paper/cnn/gap/0-0  2 of 4 fits, 20 s ago" in page
    assert "by their checkpoints: after epoch 37\n" in page
    assert "paper: 1 of 2 figures (not yet scan), no report" in page


# failures ----------------------------------------------------------------------------------

TRACE = "Traceback (most recent call last):\n  File x\n    f()\nValueError: wrong\n  at a note\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ""),
        (f"{STAMP} fine\n", ""),
        (f"{STAMP} x\n\nrhoflow: a file: is damaged\n  more of it\n\n", "a file: is damaged"),
        (f"{STAMP} x\n{TRACE}", "ValueError: wrong"),
        (f"{TRACE}\nDuring handling another exception occurred:\n\n{TRACE}", "ValueError: wrong"),
        (f"{TRACE}{STAMP} it went on\n", ""),
        ("Traceback (most recent call last):\n  File cut", "File cut"),
        ("rhoflow: \x1b[31mred\x1b[0m \x1b]0;title\x07and\x00 \u202eodd\n", "red and odd"),
    ],
)
def test_the_error_that_a_log_ends_with(text, error):
    assert last_error(text) == error


def test_failed_jobs_of_every_rule_show_their_log_and_error(folder):
    folder.write(folder.shards[2]["log"], f"{STAMP} x\n\nrhoflow: no licence\n\n")
    folder.write(folder.trainings[0]["log"], TRACE)
    folder.write("out/logs/soap_shard/soap/0001.log", "\nrhoflow: no atoms\n")
    folder.write("out/logs/soap_shard/other/0001.log", "\nrhoflow: of another config\n")
    folder.write("out/logs/report_make.log", "\nrhoflow: no template\n")
    page = render(folder.status())
    assert "Failed jobs: 4" in page
    for line in (
        "  dft_run oxides/0002\n    out/logs/dft_run/oxides/0002.log\n    no licence\n",
        "    out/logs/model_train/paper/cnn/gap/0-0.log\n    ValueError: wrong\n",
        "  soap_shard soap/0001\n    out/logs/soap_shard/soap/0001.log\n    no atoms\n",
        "    no template\n",
    ):
        assert line in page
    assert "another config" not in page


def test_what_a_killed_job_cannot_say_its_snakemake_does(folder):
    job = folder.shards[0]
    folder.write(job["log"], lines_of("ok 1.0 s"))
    told = "SLURM-job '9' failed, SLURM status is: 'OUT_OF_MEMORY'. For further error details see"
    folder.write(
        ".snakemake/log/2027-01-15T080000.000000.snakemake.log",
        "Error in rule dft_run:\n"
        f"    message: {told} the log.\n"
        f"    jobid: 4\n    log: {job['log']}, /x/slurm.log (check log file(s) for details)\n",
    )
    page = render(folder.status())
    assert "SLURM status is: 'OUT_OF_MEMORY'.; see /x/slurm.log" in " ".join(page.split())
    assert "For further" not in page
    data = folder.status().datasets["oxides"]
    assert (data.shards.failed, data.structures.done, data.structures.stopped) == (1, 1, 3)


def test_the_last_word_of_snakemake_counts_and_says_nothing_where_it_knows_nothing(folder):
    logs = [job["log"] for job in folder.shards]
    for day, lines in (
        (14, [f"    message: first\n    log: {logs[0]} (check log file(s))"]),
        (15, [f"    message: None\n    log: {logs[0]}", f"    log: {logs[1]}", "    output: x"]),
    ):
        text = "".join(f"  Error in rule dft_run:\n{line}\n\n" for line in lines)
        folder.write(f".snakemake/log/2027-01-{day}T080000.000000.snakemake.log", text)
    failed = {job.files["name"]: job.error for job in folder.status().failed}
    told = "the job, or another one of its group, failed; its log does not say why"
    assert failed == {"oxides/0000": told, "oxides/0001": told}
    folder.mark(folder.shards[0])  # a new attempt
    folder.finish(folder.shards[1], ["ok"] * 4)
    assert folder.status().failed == ()


def test_while_a_run_goes_on_what_failed_before_it_is_tried_again(folder):
    by_log, by_snakemake = folder.shards[:2]
    told = f"Error in rule dft_run:\n    message: OUT_OF_MEMORY\n    log: {by_snakemake['log']}\n"
    folder.write(".snakemake/log/2027-01-14T080000.000000.snakemake.log", told, ago=7200)
    folder.write(by_log["log"], f"{STAMP} x\n\nrhoflow: no licence\n\n", ago=7200)
    assert [job.files["name"] for job in folder.status().failed] == ["oxides/0000", "oxides/0001"]
    folder.lock(ago=3600)
    assert folder.status().failed == ()
    # It fails again in the run that goes on.
    folder.write(by_log["log"], f"{STAMP} x\n\nrhoflow: no licence\n\n", ago=60)
    folder.write(".snakemake/log/2027-01-15T080000.000000.snakemake.log", told, ago=60)
    assert [job.files["name"] for job in folder.status().failed] == ["oxides/0000", "oxides/0001"]


def test_the_most_frequent_reasons_come_first_and_the_rest_is_counted(folder):
    for i, job in enumerate(folder.shards):
        rows = [f"failed 1.0 s: energy off by {i}.{k} eV (log: /x/y)" for k in range(2)]
        folder.write(job["log"], lines_of(*rows, *[f"failed 1.0 s: {c * 5}" for c in "abcd"[i:]]))
    page = render(folder.status())
    assert "      8  energy off by 0.0 eV (e.g. mp-1)\n" in page  # numbers and logs differ
    assert page.index("energy off") < page.index("ddddd") < page.index("ccccc")
    folder.write(folder.shards[0]["log"], lines_of(*[f"not_converged 1.0 s: {c}" for c in "stuv"]))
    assert "  and 3 more reasons, 3 calculations\n" in render(folder.status())


def test_long_lists_are_cut_and_say_how_many_more(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path, shards=30)
    for job in folder.shards:
        folder.write(job["log"], "\nrhoflow: broken\n")
    page = render(folder.status())
    assert "Failed jobs: 30" in page
    assert page.count("broken") == 5
    assert "  and 25 more\n" in page


# the expected rest -------------------------------------------------------------------------


def test_the_rest_follows_from_costs_and_the_rate_of_this_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path, shards=10)
    folder.lock(ago=3600)
    for i, job in enumerate(folder.shards[:6]):
        # Four of this run within its hour, two of an earlier one: these tell no rate.
        folder.finish(job, ["ok"] * 4, ago=3000 - 700 * i if i < 4 else 90_000, wall_s=1000)
    rest = folder.status().datasets["oxides"].rest
    assert rest.jobs == 4
    assert rest.core_hours == pytest.approx(16 * 900 / 3600)
    assert rest.hours == pytest.approx(16 / (16 / 3600) / 3600)
    assert "oxides: 4 shards, 4 core-hours, 1 h at the present rate" in render(folder.status())
    shutil.rmtree(".snakemake/locks")
    assert folder.status().datasets["oxides"].rest.hours is None


def test_an_engine_that_looks_up_costs_what_its_jobs_take(folder):
    for job in folder.shards[:2]:
        folder.finish(job, ["ok"] * 4, wall_s=8.0)
    rest = folder.status(computes=False).datasets["oxides"].rest
    assert rest.core_hours == pytest.approx(8 * (4.0 / 4) / 3600)


def test_arms_without_a_finished_training_are_named_and_not_estimated(folder):
    first = folder.trainings[0]
    folder.write(first["output"], "x")
    folder.measure(first, 7200.0)
    rest = folder.status().studies["paper"].rest
    assert rest.core_hours == pytest.approx(1.0)
    assert rest.unknown == ("ridge",)
    page = render(folder.status())
    assert "paper: 3 trainings, at least 1 core-hours; no estimate yet for ridge" in page


@pytest.mark.parametrize(
    "table", ["", "s\tcpu_time\n", "s\tcpu_time\nNA\tNA\n", "nan\ninf", "s\n-1\n", b"\xff\x00"]
)
def test_a_benchmark_that_measures_nothing_is_left_aside(folder, table):
    folder.write(folder.trainings[0]["output"], "x")
    folder.write(folder.trainings[0]["benchmark"], table)
    assert folder.status().studies["paper"].rest.core_hours is None


def test_a_finished_run_has_no_rest(folder):
    for job in folder.shards:
        folder.finish(job, ["ok"] * 4)
    for job in folder.trainings:
        folder.write(job["output"], "x")
    assert "Expected rest: no calculation, no training" in render(folder.status())
