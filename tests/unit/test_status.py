"""Where a run stands: each state of a job, each estimate, and files that are damaged or hostile."""

import json
import os
import shutil
import socket
import time
from base64 import urlsafe_b64encode
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rhoflow import io
from rhoflow.dft.shard import to_table
from rhoflow.status.files import Tree, clean, marked_outputs
from rhoflow.status.jobs import JobFiles, last_error
from rhoflow.status.read import Layout, Status, read
from rhoflow.status.render import duration, render, show
from rhoflow.tables import DFT_COST, DFT_RECORDS

NOW = 1_800_000_000.0
STAMP = "2027-01-15 08:00:00,000"
SIZE = 4


class Folder:
    """A folder with a run of one data set of four shards and one study of four trainings."""

    def __init__(self, top: Path, shards: int = 4, trainings: int = 4) -> None:
        self.top = top
        self.shards = [self.job("dft_run", f"oxides/{i:04d}", "dft") for i in range(shards)]
        arms = ["cnn", "ridge"]
        self.trainings = [
            self.job("model_train", f"paper/{arms[i % 2]}/gap/{i}-{i}", "predictions")
            for i in range(trainings)
        ]

    def job(self, rule: str, name: str, folder: str) -> JobFiles:
        return {
            "name": name,
            "rule": rule,
            "output": f"out/{folder}/{name}.parquet",
            "log": f"out/logs/{rule}/{name}.log",
            "benchmark": f"out/benchmarks/{rule}/{name}.tsv",
        }

    def layout(self, *, computes: bool = True) -> Layout:
        costs = {j["name"]: j["output"].replace(".parquet", ".cost.parquet") for j in self.shards}
        return {
            "snakemake": ".snakemake",
            "datasets": {
                "oxides": {
                    "size": SIZE * len(self.shards),
                    "shard_size": SIZE,
                    "structures": "out/structures.parquet",
                    "shards": self.shards,
                    "costs": costs if computes else None,
                }
            },
            "studies": {
                "paper": {
                    "trainings": [
                        {"arm": j["name"].split("/")[1], "job": j, "fits": 4}
                        for j in self.trainings
                    ],
                    "figures": {"parity": "out/parity.svg", "scan": "out/scan.svg"},
                    "report": "out/paper.html",
                }
            },
            "stages": {
                "soap_shard": {
                    "log": "out/logs/soap_shard/{descriptor}/{shard}.log",
                    "logs": r"out/logs/soap_shard/(?P<descriptor>soap)/(?P<shard>\d{4})\.log$",
                    "output": "out/{descriptor}/{shard}.npz",
                    "outputs": r"out/(?P<descriptor>soap)/(?P<shard>\d{4})\.npz$",
                },
                "report_make": {
                    "log": "out/logs/report_make.log",
                    "logs": r"out/logs/report_make\.log$",
                    "output": "out/report.html",
                    "outputs": r"out/report\.html$",
                },
            },
            "engine_logs": "out/done",
            "checkpoints": "out/training",
            "report": "out/report.html",
        }

    def write(self, path: str, content: str | bytes = "", ago: float = 0.0) -> Path:
        full = self.top / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(full, (NOW - ago, NOW - ago))
        return full

    def mark(self, job: JobFiles, ago: float = 0.0) -> None:
        """As Snakemake marks an output in progress: its name in base64, in pieces if long."""
        code = urlsafe_b64encode(job["output"].encode()).decode()
        pieces = [code[i : i + 254] for i in range(0, len(code), 254)]
        path = "/".join([*(f"@{p}" for p in pieces[:-1]), pieces[-1]])
        self.write(f".snakemake/incomplete/{path}", '{"external_jobid": "7"}', ago)

    def lock(self, ago: float) -> None:
        self.write(".snakemake/locks/0.input.lock", "x\n", ago)
        self.write(".snakemake/locks/0.output.lock", "x\n", ago)

    def finish(self, job: JobFiles, statuses: list[str], ago: float = 0.0, wall_s: float = 60.0):
        rows = [
            {"material_id": f"{job['name']}-{i}", "status": s, "reason": REASONS.get(s)}
            for i, s in enumerate(statuses)
        ]
        io.write_table(self.top / job["output"], to_table(rows, DFT_RECORDS), DFT_RECORDS)
        cost = [{"material_id": r["material_id"], "cpu_time_s": 900.0} for r in rows]
        path = self.top / job["output"].replace(".parquet", ".cost.parquet")
        io.write_table(path, to_table(cost, DFT_COST), DFT_COST)
        os.utime(self.top / job["output"], (NOW - ago, NOW - ago))
        self.measure(job, wall_s)

    def measure(self, job: JobFiles, wall_s: float) -> None:
        cpu = f"{wall_s / 2:.2f}"
        self.write(job["benchmark"], f"s\th:m:s\tmax_rss\tcpu_time\n{wall_s}\t0:01\t1.0\t{cpu}\n")

    def status(self, **options: Any) -> Status:
        return read(self.layout(**options), NOW)


REASONS = {"failed": "worker ended with code 137: killed", "not_converged": "333 iterations"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


def lines_of(*outcomes: str, found: int = 0) -> str:
    head = f"{STAMP} {found} of {SIZE} found in /x/done\n" if found else ""
    rows = (f"{STAMP} [{i}/{SIZE - found}] mp-{i} {o}\n" for i, o in enumerate(outcomes, 1 + 0))
    return head + "".join(rows)


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


# hostile files -----------------------------------------------------------------------------


def test_damaged_tables_are_named_and_the_rest_is_counted(folder):
    cut, garbage, pipe, loop = folder.shards
    folder.finish(cut, ["ok"] * 4)
    path = folder.top / cut["output"]
    path.write_bytes(path.read_bytes()[:-20])
    folder.write(garbage["output"], b"\x00\xff" * 500)
    os.mkfifo(folder.top / pipe["output"])
    (folder.top / loop["output"]).symlink_to(folder.top / loop["output"])
    folder.write("out/structures.parquet", "no table")
    status = folder.status()
    assert status.datasets["oxides"].shards.failed == 2
    assert {Path(p).name for p in status.unreadable} == {
        "0000.parquet", "0001.parquet", "0002.parquet", "0003.parquet", "structures.parquet",
    }  # fmt: skip
    page = render(status)
    assert f"{cut['output']}: truncated or corrupt" in page
    assert "delete it and run snakemake again" in " ".join(page.split())


def test_a_table_without_the_columns_is_damaged(folder):
    io.write_table(Path(folder.shards[0]["output"]), pd.DataFrame({"material_id": ["a"]}))
    assert folder.status().datasets["oxides"].shards.failed == 1


def test_links_to_nowhere_sockets_and_folders_are_no_files(folder, monkeypatch):
    for job in folder.shards:
        (folder.top / job["output"]).parent.mkdir(parents=True, exist_ok=True)
    (folder.top / folder.shards[0]["output"]).symlink_to("nowhere")
    (folder.top / folder.shards[1]["output"]).mkdir()
    monkeypatch.chdir(folder.top / "out/dft/oxides")  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("0002.parquet")
    monkeypatch.chdir(folder.top)
    for i in range(4):
        (folder.top / folder.shards[i]["log"]).mkdir(parents=True)
    shards = folder.status().datasets["oxides"].shards
    assert (shards.done, shards.failed) == (0, 1)


def test_folders_that_must_not_be_read_are_named(folder, monkeypatch):
    folder.finish(folder.shards[0], ["ok"] * 4)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("out/dft/oxides"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    page = render(folder.status())
    assert "out/dft/oxides: Permission denied" in page


def test_rubbish_in_logs_never_reaches_the_terminal(folder):
    job = folder.shards[0]
    text = f"{STAMP} [1/4] \x1b[2Jmp\x07-1 failed 1.0 s: \x1b]52;c;eA==\x07odd \x9b31m\x00name\r\n"
    folder.write(job["log"], text.encode() + b"\xff\xfe\x1b[\x00")
    folder.write(folder.trainings[0]["log"], b"\nrhoflow: \x1b[31m\xff\xfe\x08bad\n")
    page = render(folder.status())
    assert all(c == "\n" or c.isprintable() for c in page)
    assert "odd name" in page
    assert "(e.g. mp -1)" in page


def test_a_huge_log_is_read_from_its_end_alone(folder):
    job = folder.shards[0]
    path = folder.write(job["log"], "")
    with path.open("r+b") as stream:
        stream.truncate(10**11)  # no room is taken, but reading it would last for hours
        stream.seek(0, os.SEEK_END)
        stream.write(f"\n{lines_of('ok 1.0 s', 'ok 1.0 s')}".encode())
    began = time.monotonic()
    assert folder.status().datasets["oxides"].structures.done == 2
    assert time.monotonic() - began < 5


def test_rubbish_among_markers_locks_and_checkpoints(folder):
    for name in ("migration_underway", "@@@@", "not base64 ✓", "AAAA=A", "____"):
        folder.write(f".snakemake/incomplete/{name}", b"\xff")
    folder.write(".snakemake/incomplete/@aa/@bb/cc", "")
    folder.lock(ago=10)
    folder.mark(folder.trainings[0], ago=5)
    folder.write(folder.trainings[0]["log"], "", ago=1)
    for name, content in {"a": b"", "b": b"PK\x03\x04", "c": json.dumps({}).encode()}.items():
        folder.write(f"out/training/{name}.npz", content)
    np.savez("out/training/d.npz", history=np.float64(3))
    np.savez("out/training/e.npz", other=np.zeros(3))
    status = folder.status()
    assert status.epochs == ()
    assert status.studies["paper"].trainings.running == 1


def test_files_from_the_future_are_said_and_tell_no_rate(folder):
    folder.lock(ago=-500)
    for job in folder.shards[:3]:
        folder.finish(job, ["ok"] * 4, ago=-86_400)
    folder.mark(folder.shards[3], ago=-600)
    folder.write(folder.shards[3]["log"], lines_of("ok 1.0 s"), ago=-700)
    status = folder.status()
    assert status.datasets["oxides"].rest.hours is None
    assert "a clock was wrong" in " ".join(render(status).split())


def test_a_file_that_is_removed_while_it_is_looked_at_is_absent(folder):
    folder.write("out/x", "content")
    tree = Tree()
    tree.folder("out")
    (folder.top / "out/x").unlink()
    assert tree.mtime("out/x") is None
    assert tree.tail("out/x") == ""


# the page ----------------------------------------------------------------------------------


def test_the_page_fits_80_columns_with_every_column_and_large_numbers(folder):
    layout = folder.layout()
    data, paper = layout["datasets"]["oxides"], layout["studies"]["paper"]
    layout["datasets"] = {"d" * 40: {**data, "size": 150_000, "shard_size": 40_000}}
    layout["studies"] = {"s" * 40: paper}
    a, b, c, d = folder.shards
    folder.lock(ago=3600)
    folder.finish(a, ["ok", "not_converged"])
    folder.mark(b, ago=10)
    folder.write(b["log"], lines_of(), ago=1)
    folder.mark(c, ago=10)
    folder.write(d["log"], lines_of("ok 1.0 s"), ago=1)
    page = render(read(layout, NOW))
    assert max(len(line) for line in page.splitlines()) <= 80
    header = page.splitlines()[2].split()
    assert " ".join(header[2:]) == "all done not conv. failed running queued stopped waiting"
    starts = [
        line for line in page.splitlines() if line.lstrip().startswith(("structures", "shards"))
    ]
    assert len({len(line) for line in starts}) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"), (12.4, "12 s"), (59.9, "60 s"), (61, "1 min"), (3599, "1 h"),
        (7800, "2 h 10 min"), (48 * 3600, "2 d"), (100 * 3600, "4 d 4 h"),
    ],
)  # fmt: skip
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_a_stream_that_cannot_write_a_letter_gets_a_question_mark():
    raw = BytesIO()
    stream = TextIOWrapper(raw, encoding="ascii")
    show("Å and ok\n", stream)
    assert raw.getvalue() == b"? and ok\n"
    stream.close()


def test_escapes_of_every_kind_are_stripped():
    for escape in (
        "\x1b[1;31m",
        "\x1b]0;t\x07",
        "\x1b]8;;x\x1b\\",
        "\x1bPq\x1b\\",
        "\x9b2J",
        "\x1bc",
    ):
        assert clean(f"a{escape}b") == "ab", repr(escape)
    assert clean("a\r\n\tb\u2066c") == "a b c"
