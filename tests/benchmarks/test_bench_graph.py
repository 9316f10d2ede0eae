"""Crystal graphs: making them, and what joining them to batches adds to a training step.

The structures are those of a shard of the shipped archive. What is compared gets the same ones on
one thread in the same run. ``extra_info`` holds seconds and ratios.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.neighborlist import neighbor_list
from pymatgen.core import Lattice, Structure
from tests.benchmarks.peers import compare, seconds

from rhoflow import io, tables
from rhoflow.crystal import Crystal
from rhoflow.descriptors.graph import CrystalGraphSpec, crystal_graphs
from rhoflow.models.graph.elements import Elements
from rhoflow.models.graph.fit import GraphBatcher
from rhoflow.models.graph.model import GraphNetwork, Lengths
from rhoflow.models.graph.spec import GraphSpec
from rhoflow.training.devices import make_deterministic

ARCHIVE = Path(__file__).parents[2] / "resources" / "oxides"
SPEC = CrystalGraphSpec()
ALL = CrystalGraphSpec(cutoff_angstrom=5.5, max_neighbours=None)
BATCH = 32
STEPS = {
    "cgcnn": (SPEC, GraphSpec()),
    "cgcnn, small": (SPEC, GraphSpec(width=32, depth=2, gaussians=21, dense=(64,))),
    "graph_conv, published": (
        ALL,
        GraphSpec(layer="graph_conv", nodes="published", width=128, depth=2, pooling="max",
                  dense=(16,), output="sigmoid"),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    make_deterministic()


@pytest.fixture(scope="module")
def crystals() -> list[Crystal]:
    parts = [io.read_archive_table(p) for p in sorted(ARCHIVE.glob("0*.parquet"))[:4]]
    return [c for part in parts for c in tables.table_to_crystals(part)]


@pytest.mark.parametrize("spec", [SPEC, ALL], ids=["12 neighbours", "within 5.5 Å"])
@pytest.mark.benchmark(group="graphs of the oxides of four shards")
def test_graphs_against_pymatgen_and_ase(benchmark, crystals, spec):
    """Peers find all neighbours within the cutoff; as CGCNN's code they sort and cut them."""
    cutoff, most = spec.cutoff_angstrom, spec.max_neighbours
    structures = [Structure(Lattice(c.lattice), list(c.symbols), c.frac_coords) for c in crystals]
    atoms = [c.to_ase() for c in crystals]

    def pymatgen() -> int:
        return sum(
            len(sorted(near, key=lambda n: n.nn_distance)[:most])
            for structure in structures
            for near in structure.get_all_neighbors(cutoff)
        )

    def pymatgen_arrays() -> int:
        return sum(len(structure.get_neighbor_list(cutoff)[0]) for structure in structures)

    def ase() -> int:
        return sum(len(neighbor_list("i", each, cutoff)) for each in atoms)

    graphs = benchmark(crystal_graphs, crystals, spec)
    within = crystal_graphs(crystals, spec.model_copy(update={"max_neighbours": None}))
    assert pymatgen_arrays() == ase() == within.edges.shape[1]
    assert pymatgen() <= graphs.edges.shape[1]
    print(f"{len(crystals)} crystals, {len(graphs.numbers)} atoms, {graphs.edges.shape[1]} edges")
    compare(benchmark, "pymatgen's get_all_neighbors", seconds(pymatgen, 2))
    compare(benchmark, "pymatgen's get_neighbor_list", seconds(pymatgen_arrays, 3))
    compare(benchmark, "ASE's neighbor_list", seconds(ase, 2))


@pytest.mark.parametrize("name", list(STEPS))
@pytest.mark.benchmark(group="joining 32 graphs against forward, backward and step on them")
def test_batches_and_the_step_that_reads_them(benchmark, crystals, name):
    """The bound: a step on a batch that lies ready on the device."""
    joined, model = STEPS[name]
    data = crystal_graphs(crystals, joined)
    elements = Elements(model.nodes, data.numbers.tolist())
    made = GraphBatcher(data, elements, torch.device("cpu"))
    chosen = np.random.default_rng(0).permutation(len(data))[:BATCH]
    lengths = Lengths(joined.cutoff_angstrom, *np.quantile(data.distances, [0, 1]).tolist())
    network = GraphNetwork(model, elements.n_features, 4, lengths)
    optimiser = torch.optim.AdamW(network.parameters())
    resident = made.batch(chosen)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        network(*resident).square().mean().backward()
        optimiser.step()

    step()
    step_s = seconds(step, 5)
    benchmark.pedantic(lambda: made.batch(chosen), warmup_rounds=1, rounds=20)
    ratio = compare(benchmark, f"step of {name}", step_s)
    print(f"{name}: {ratio / (1 + ratio):.1%} of a step's time is spent in the network")
