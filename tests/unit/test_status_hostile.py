"""Where a run stands where files are damaged or hostile; and the page that says it."""

import json
import os
import socket
import time
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.status_folder import NOW, STAMP, Folder, lines_of

from rhoflow import io
from rhoflow.status.files import Tree, clean
from rhoflow.status.read import read
from rhoflow.status.render import duration, render, show


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


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
