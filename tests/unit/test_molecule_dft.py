"""Molecules through the engines: jobs, workers that take several, records, orbitals, targets."""

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from rhoflow import io, molecule_tables, processes, tables
from rhoflow.dft import jobs, pyscf
from rhoflow.dft.atoms import run_atoms
from rhoflow.dft.base import (
    load_molecule_engine,
    molecule_from_json,
    molecule_to_json,
)
from rhoflow.dft.given import GivenSpec
from rhoflow.dft.jobs import Job, digest, run_jobs
from rhoflow.dft.molecules import molecule_jobs, molecule_targets, run_molecules
from rhoflow.dft.orbitals import read_orbitals, write_orbitals
from rhoflow.dft.pyscf import PySCFSpec
from rhoflow.errors import ConfigError, DataError
from rhoflow.molecule import Molecule

WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])
SMALL = PySCFSpec(basis="6-31g", grid_level=0)


def molecule(name, symbols="OHH", positions=WATER, **more):
    return Molecule(name, tuple(symbols), np.asarray(positions, dtype=float), **more)


def table(*molecules, known=None):
    return molecule_tables.molecules_to_table(
        molecules,
        source="test",
        source_ids=[m.material_id for m in molecules],
        known=known or [{}] * len(molecules),
    )


def test_molecules_survive_json():
    one = molecule("w", charge=-1, smiles="O")
    back = molecule_from_json(json.loads(json.dumps(molecule_to_json(one))))
    assert np.array_equal(back.positions, one.positions)
    assert (back.symbols, back.charge, back.smiles) == (one.symbols, -1, "O")


def test_an_engine_for_crystals_takes_no_molecules():
    assert load_molecule_engine("pyscf") is pyscf
    with pytest.raises(ConfigError, match="'gpaw' is no engine for molecules"):
        load_molecule_engine("gpaw")
    with pytest.raises(ConfigError, match="did you mean 'pyscf'"):
        load_molecule_engine("pyscff")


def test_the_digest_holds_what_decides_the_numbers():
    def of(one, spec=SMALL, known=None):
        return molecule_jobs(table(one, known=known), spec)[0].digest

    water = of(molecule("w"))
    assert of(molecule("other name", smiles="O")) == water
    assert of(molecule("w", positions=WATER + 1e-9)) == water
    assert of(molecule("w", positions=WATER + 1e-5)) != water
    assert of(molecule("w", charge=2)) != water
    assert of(molecule("w"), PySCFSpec()) != water
    assert of(molecule("w"), SMALL.model_copy(update={"time_limit_min": 5.0})) == water
    assert of(molecule("w"), known=[{"homo_ev": 1.0}]) == water
    given = of(molecule("w"), GivenSpec(), [{"homo_ev": 1.0}])
    assert of(molecule("w"), GivenSpec(), [{"homo_ev": 2.0}]) != given


def test_atoms_do_not_depend_on_the_polarizability():
    assert PySCFSpec(polarizability=True).atom_settings() == PySCFSpec().atom_settings()


@pytest.mark.parametrize("settings", [{"functional": "b3lyq"}, {"basis": "6-31g(2df,q)"}])
def test_unknown_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        PySCFSpec(**settings)


# The engine that takes what is known -------------------------------------------------------


def test_given_properties_become_records_and_targets(tmp_path):
    rows = table(
        molecule("a"),
        molecule("b"),
        molecule("c"),
        known=[
            {"homo_ev": -8.0, "lumo_ev": 1.5, "atomization_energy_ev": 9.8},
            {"total_energy_ev": -100.0},
            {},
        ],
    )
    shard = run_molecules(rows, GivenSpec(), done_folder=tmp_path / "never")

    assert list(shard.records.status) == ["ok", "ok", "failed"]
    assert list(shard.records.n_electrons) == [10, 10, 10]
    assert "tells no property" in shard.records.reason[2]
    assert shard.orbitals == {}
    assert not (tmp_path / "never").exists()
    atoms = run_atoms(["H", "O"], GivenSpec(), done_folder=tmp_path)
    assert list(atoms.status) == ["failed", "failed"]
    composition = {"O": 1, "H": 2}
    found = molecule_targets(shard.records, atoms, dict.fromkeys("abc", composition))
    assert found.atomization_energy_ev[0] == 9.8
    assert found.homo_lumo_gap_ev[0] == 9.5
    assert found.atomization_energy_ev[1:].isna().all()
    assert list(found.columns) == tables.TARGET_TABLE.names


def test_the_atomization_energy_from_isolated_atoms():
    records = pd.DataFrame(
        [
            {"material_id": "a", "status": "ok", "total_energy_ev": -110.0},
            {"material_id": "b", "status": "not_converged", "total_energy_ev": -110.0},
            {"material_id": "c", "status": "ok", "total_energy_ev": -50.0},
        ]
    ).reindex(columns=tables.MOLECULE_RECORDS.names)
    atoms = pd.DataFrame(
        {"element": ["H", "O", "F"], "status": ["ok", "ok", "failed"],
         "energy_ev": [-10.0, -80.0, np.nan]}
    )  # fmt: skip
    water, fluoride = {"O": 1, "H": 2}, {"F": 1, "H": 1}
    found = molecule_targets(records, atoms, {"a": water, "b": water, "c": fluoride})
    assert found.atomization_energy_ev[0] == pytest.approx(10.0)
    assert found.atomization_energy_ev[1:].isna().all()


def test_a_gap_that_the_source_tells_counts_and_needs_no_levels(tmp_path):
    told = [{"homo_lumo_gap_ev": 6.5}, {"homo_ev": -8.0, "lumo_ev": 1.0, "homo_lumo_gap_ev": 8.9}]
    rows = table(molecule("a"), molecule("b"), known=told)
    records = run_molecules(rows, GivenSpec(), done_folder=tmp_path).records
    atoms = pd.DataFrame({"element": [], "status": [], "energy_ev": []})
    water = {"O": 1, "H": 2}
    found = molecule_targets(records, atoms, {"a": water, "b": water})
    assert found.homo_lumo_gap_ev.tolist() == [6.5, 8.9]
    assert found.lumo_ev.isna().tolist() == [True, False]


def test_ids_must_differ(tmp_path):
    with pytest.raises(DataError, match="occur twice"):
        run_molecules(table(molecule("a"), molecule("a")), SMALL, done_folder=tmp_path)


# Orbitals ----------------------------------------------------------------------------------


def test_orbitals_of_several_shards(tmp_path):
    rng = np.random.default_rng(0)
    first = {"a": rng.normal(size=(5, 2)), "b": rng.normal(size=(7, 3))}
    write_orbitals(tmp_path / "1.npz", first, spec={"basis": "x"})
    write_orbitals(tmp_path / "2.npz", {}, spec={"basis": "x"})
    write_orbitals(tmp_path / "3.npz", {"c": np.ones((1, 1))}, spec={"basis": "x"})

    found = read_orbitals([tmp_path / f"{n}.npz" for n in (1, 2, 3)])

    assert list(found) == ["a", "b", "c"]
    for name, expected in first.items():
        assert found[name].dtype == np.float32
        assert np.allclose(found[name], expected, atol=1e-6)
    write_orbitals(tmp_path / "4.npz", {}, spec={"basis": "y"})
    with pytest.raises(DataError, match="other settings"):
        read_orbitals([tmp_path / "1.npz", tmp_path / "4.npz"])
    io.write_arrays(tmp_path / "5.npz", {"x": np.zeros(1)})
    with pytest.raises(DataError, match="no orbitals"):
        read_orbitals([tmp_path / "5.npz"])


# Workers that take several jobs -------------------------------------------------------------

# As rhoflow.dft.worker with "several": does its first job, then those named on stdin.
STAYING = """
import json, os, sys, time
from pathlib import Path
import numpy as np
def do(path):
    job = json.loads(Path(path).read_text())
    with open(job["trace"], "a") as trace:
        trace.write(f"{os.getpid()} {job['name']}\\n")
    if job["do"] == "crash": os._exit(3)
    if job["do"] == "sleep": time.sleep(60)
    folder = Path(job["folder"])
    np.savez(folder / "arrays.npz", x=np.arange(3))
    content = {"record": {"status": "ok"}, "crystal": None, "cost": {"cpu_time_s": 1.0}}
    (folder / "tmp").write_text(json.dumps(content))
    (folder / "tmp").rename(folder / "result.json")
    if job["do"] == "leave": os._exit(0)
do(sys.argv[1])
for line in sys.stdin: do(line.rstrip("\\n"))
"""


@pytest.fixture
def staying(tmp_path):
    script = tmp_path / "staying.py"
    script.write_text(STAYING)
    return [sys.executable, str(script)]


def several(tmp_path, name, do="ok", size=0):
    task = {"name": name, "do": do, "trace": str(tmp_path / "trace")}
    return Job(digest({"name": name}), name, task, size, several=True)


def trace(tmp_path):
    lines = (tmp_path / "trace").read_text().splitlines()
    return [tuple(line.split()) for line in lines]


def test_a_process_takes_several_jobs(tmp_path, staying):
    todo = [several(tmp_path, str(n)) for n in range(6)]
    outcomes = run_jobs(todo, done_folder=tmp_path / "done", workers=2, worker=staying)
    assert all(o.record["status"] == "ok" for o in outcomes.values())
    assert len(trace(tmp_path)) == 6
    assert len({pid for pid, _ in trace(tmp_path)}) == 2
    assert len(list((tmp_path / "done").glob("*.npz"))) == 6


def test_a_crash_costs_one_job_and_the_others_go_on(tmp_path, staying):
    todo = [several(tmp_path, "a", size=3), several(tmp_path, "b", "crash", size=2),
            several(tmp_path, "c", size=1)]  # fmt: skip
    outcomes = run_jobs(todo, done_folder=tmp_path / "done", worker=staying)
    a, b, c = (outcomes[job.digest].record for job in todo)
    assert (a["status"], c["status"]) == ("ok", "ok")
    assert b["status"] == "failed"
    assert "worker ended with code 3" in b["reason"]
    pids = [pid for pid, _ in trace(tmp_path)]
    assert pids[0] == pids[1] != pids[2]


def test_a_process_that_ends_after_its_job_loses_none(tmp_path, staying):
    todo = [several(tmp_path, "a", "leave", size=1), several(tmp_path, "b")]
    outcomes = run_jobs(todo, done_folder=tmp_path / "done", worker=staying)
    assert [outcomes[job.digest].record["status"] for job in todo] == ["ok", "ok"]


def test_a_job_past_its_time_is_ended_and_the_others_go_on(tmp_path, staying):
    todo = [several(tmp_path, "a", "sleep", size=1), several(tmp_path, "b")]
    started = time.monotonic()
    outcomes = run_jobs(todo, done_folder=tmp_path / "done", worker=staying, time_limit_s=2)
    assert time.monotonic() - started < 20
    assert "time limit" in outcomes[todo[0].digest].record["reason"]
    assert outcomes[todo[1].digest].record["status"] == "ok"


def water_job(tmp_path, name, several):
    folder = tmp_path / name
    folder.mkdir()
    job = {
        "engine": "given", "spec": GivenSpec().model_dump(mode="json"),
        "molecule": molecule_to_json(molecule(name)), "known": {"homo_ev": -1.0},
        "log": str(folder / "log.txt"), "folder": str(folder), "stop_with_parent": True,
        "several": several,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def test_the_worker_itself_stays_until_stdin_closes(tmp_path):
    first, second = (water_job(tmp_path, name, several=True) for name in ("a", "b"))
    with subprocess.Popen(
        [*jobs.WORKER, str(first / "job.json")], stdin=subprocess.PIPE, env=processes.environment()
    ) as process:
        assert process.stdin is not None
        process.stdin.write(f"{second / 'job.json'}\n".encode())
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not (second / "result.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == 0
    for folder in (first, second):
        content = json.loads((folder / "result.json").read_text())
        assert content["record"]["homo_ev"] == -1.0
        assert content["cost"]["peak_memory_mb"] > 1
    later = json.loads((second / "result.json").read_text())["cost"]
    assert (
        later["cpu_time_s"] < json.loads((first / "result.json").read_text())["cost"]["cpu_time_s"]
    )
