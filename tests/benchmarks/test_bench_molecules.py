"""Molecules to a selection, and small molecules through PySCF, beside a peer in one run.

    pytest tests/benchmarks/test_bench_molecules.py -o addopts="--import-mode=importlib"

``extra_info`` holds the peer's time over ours. The peer of the runner is one process a molecule.
RHOFLOW_SHARED may name a folder with ``data/qm9/qm9_noF_128k.npz``: then its 128,742 molecules are
selected; the peer there is ASE's table of distances alone, made for every tenth molecule.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols
from tests.benchmarks.peers import seconds

from rhoflow import tables
from rhoflow.dft import pyscf
from rhoflow.dft.molecules import run_molecules
from rhoflow.molecule import Molecule
from rhoflow.structures.molecule_candidates import MoleculeCandidate
from rhoflow.structures.molecule_enumerated import EnumeratedSource, read_enumerated
from rhoflow.structures.molecule_select import MoleculeSelectionSpec, select_molecules

QM9 = Path(os.environ.get("RHOFLOW_SHARED", "/nowhere")) / "data/qm9/qm9_noF_128k.npz"


@pytest.fixture(scope="module")
def small():
    """Twelve molecules of up to three heavy atoms."""
    candidates = read_enumerated(EnumeratedSource(heavy_atoms=3))
    spec = MoleculeSelectionSpec(size=12)
    return select_molecules(candidates, spec, source="enumerated").structures


@pytest.mark.benchmark(group="twelve small molecules through PySCF")
def test_several_a_process(benchmark, small, tmp_path, monkeypatch):
    folders = (tmp_path / str(n) for n in range(100))

    def run():
        return run_molecules(small, pyscf.PySCFSpec(), done_folder=next(folders))

    result = benchmark.pedantic(run, rounds=2)
    assert set(result.records.status) == {tables.STATUS_OK}
    monkeypatch.setattr(pyscf, "SEVERAL_A_PROCESS", False)
    benchmark.extra_info["one_process_each_over_several"] = (
        seconds(run, rounds=2) / benchmark.stats["min"]
    )


@pytest.fixture(scope="module")
def qm9():
    with np.load(QM9) as file:
        data = {name: file[name] for name in file.files}
    symbols = np.array(chemical_symbols)[data["Z"]].tolist()
    positions = data["pos"].astype(np.float64)
    found = []
    for i, number in enumerate(data["qm9_index"].tolist()):
        begin, end = data["ptr"][i : i + 2].tolist()
        molecule = Molecule(f"{number}", tuple(symbols[begin:end]), positions[begin:end])
        found.append(MoleculeCandidate(f"{number}", molecule))
    return found


@pytest.mark.skipif(not QM9.exists(), reason="RHOFLOW_SHARED names no folder with QM9")
@pytest.mark.benchmark(group="128,742 molecules to a selection of 15,000")
def test_all_of_qm9(benchmark, qm9):
    def run():
        return select_molecules(qm9, MoleculeSelectionSpec(size=15_000), source="qm9")

    result = benchmark.pedantic(run, rounds=1)
    assert result.funnel.remaining.iloc[0] == len(qm9)

    def distances_alone():
        for candidate in qm9[::10]:
            assert candidate.molecule is not None
            symbols, positions = candidate.molecule.symbols, candidate.molecule.positions
            Atoms(symbols=list(symbols), positions=positions).get_all_distances()

    peer = 10 * seconds(distances_alone, rounds=1)
    benchmark.extra_info["ase_distances_over_selection"] = peer / benchmark.stats["min"]
