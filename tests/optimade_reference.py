"""The OPTIMADE reference server of the optimade package, started on this machine."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests


def rocksalt_entry(cation: str, edge: float) -> dict[str, Any]:
    """An OPTIMADE entry: a rocksalt oxide in its primitive cell, ``edge`` in Å."""
    half = edge / 2
    return {
        "id": f"rocksalt-{cation}O",
        "type": "structures",
        "attributes": {
            "elements": sorted([cation, "O"]), "nelements": 2, "nsites": 2,
            "lattice_vectors": [[0, half, half], [half, 0, half], [half, half, 0]],
            "cartesian_site_positions": [[0, 0, 0], [half, half, half]],
            "species": [
                {"name": s, "chemical_symbols": [s], "concentration": [1.0]} for s in (cation, "O")
            ],
            "species_at_sites": [cation, "O"], "dimension_types": [1, 1, 1],
            "structure_features": [],
        },
    }  # fmt: skip


@contextmanager
def reference_server(
    folder: Path, entries: Sequence[dict[str, Any]] | None = None
) -> Iterator[str]:
    """Run the server and give its address; without entries it serves the package's own.

    The package's own structures are random: all atoms of a cell stand in one place.
    """
    if not all(find_spec(name) for name in ("optimade", "uvicorn", "mongomock")):
        pytest.skip("the optimade package's server is not installed")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    settings: dict[str, Any] = {
        "base_url": f"http://127.0.0.1:{port}", "database_backend": "mongomock",
        "log_dir": str(folder), "insert_test_data": entries is None,
    }  # fmt: skip
    if entries is None:
        settings["aliases"] = {"structures": {"id": "task_id"}}
    else:
        lines = [{"x-optimade": {"meta": {"api_version": "1.1.0"}}}, *entries]
        (folder / "entries.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
        settings["insert_from_jsonl"] = str(folder / "entries.jsonl")
    (folder / "config.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "uvicorn", "optimade.server.main:app", "--port", str(port)]
    environment = {**os.environ, "OPTIMADE_CONFIG_FILE": str(folder / "config.json")}
    with (folder / "log").open("w") as log, subprocess.Popen(
        command, stdout=log, stderr=log, cwd=folder, env=environment
    ) as process:  # fmt: skip
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/v1/structures?page_limit=1", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_until_up(url: str, process: subprocess.Popen) -> None:
    limit = time.monotonic() + 60
    while time.monotonic() < limit and process.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    pytest.fail("the reference server did not start")
