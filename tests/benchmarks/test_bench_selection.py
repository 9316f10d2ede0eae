"""A table of oxides to structures, and structures to a selection, beside pymatgen in one run.

    pytest tests/benchmarks/test_bench_selection.py -o addopts="--import-mode=importlib"

The oxides are prototypes that ship, in cells twice as large as need be, as databases hold them now
and then. ``extra_info`` holds pymatgen's best time over ours. RHOFLOW_SHARED may name a folder with
``data/oxides/oxides_lt50.csv.gz``: then its 8,540 structures are read and selected too.
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from tests.benchmarks.peers import seconds

from rhoflow.structures.candidates import Candidate
from rhoflow.structures.prototypes import PrototypesSource, read_prototypes
from rhoflow.structures.select import SelectionSpec, select
from rhoflow.structures.table import TableSource, read_table

PROTOTYPES = Path(__file__).parents[2] / "resources" / "prototypes.yaml"
OXIDES = Path(os.environ.get("RHOFLOW_SHARED", "/nowhere")) / "data/oxides/oxides_lt50.csv.gz"


@pytest.fixture(scope="module")
def structures() -> dict[str, Structure]:
    spec = PrototypesSource(per_prototype=4)
    found = {c.source_id: c.structure for c in read_prototypes(spec, PROTOTYPES)}
    doubled = {}
    for name, structure in found.items():
        assert structure is not None
        doubled[name] = structure.copy()
        doubled[name].make_supercell([2, 1, 1])
    return doubled


@pytest.fixture(scope="module")
def table(structures, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("table") / "oxides.csv.gz"
    rows = [
        {
            "material_id": name,
            "lattice": json.dumps(s.lattice.matrix.tolist()),
            "species": json.dumps([e.symbol for e in s.species]),
            "frac_coords": json.dumps(s.frac_coords.tolist()),
        }
        for name, s in structures.items()
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def read(path: Path) -> list[Candidate]:
    return list(read_table(TableSource(path=str(path))))


def read_with_pandas(path: Path) -> list[Structure]:
    return [
        Structure(json.loads(row.lattice), json.loads(row.species), json.loads(row.frac_coords))
        for row in pd.read_csv(path).itertuples()
    ]


@pytest.mark.benchmark(group="table to structures")
def test_table_rhoflow(benchmark, table, structures):
    candidates = benchmark(read, table)
    for candidate in candidates[::20]:
        assert candidate.structure is not None
        assert np.allclose(
            candidate.structure.frac_coords, structures[candidate.source_id].frac_coords
        )
    theirs = seconds(lambda: read_with_pandas(table), rounds=3)
    benchmark.extra_info["pandas_over_rhoflow"] = theirs / benchmark.stats["min"]


def choose(structures: dict[str, Structure]) -> set[str]:
    candidates = [Candidate(name, s) for name, s in structures.items()]
    spec = SelectionSpec(size=len(candidates), min_size=1)
    return set(select(candidates, spec, source="benchmark").structures.source_id)


def choose_with_pymatgen(structures: dict[str, Structure]) -> int:
    """Primitive cells of standard form, and groups of equal ones."""
    cells = [
        SpacegroupAnalyzer(s, symprec=0.01).get_primitive_standard_structure()
        for s in structures.values()
    ]
    return len(StructureMatcher(primitive_cell=False).group_structures(cells))


@pytest.mark.benchmark(group="structures to selection")
def test_selection_rhoflow(benchmark, structures):
    chosen = benchmark.pedantic(choose, (structures,), rounds=3)
    assert 0.9 * len(structures) < len(chosen) <= len(structures)
    theirs = seconds(lambda: choose_with_pymatgen(structures), rounds=2)
    benchmark.extra_info["pymatgen_over_rhoflow"] = theirs / benchmark.stats["min"]


@pytest.mark.skipif(not OXIDES.exists(), reason="RHOFLOW_SHARED names no folder with the oxides")
@pytest.mark.benchmark(group="8,540 oxides to a selection of 40")
def test_all_oxides(benchmark):
    def run():
        return select(read(OXIDES), SelectionSpec(size=40), source="table")

    result = benchmark.pedantic(run, rounds=1)
    assert result.funnel.remaining.iloc[0] == 8540
