"""Graphs in files and networks on them: order, errors, training, resumption, explanations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.conftest import make_crystal
from tests.physics.test_graph import CRYSTALS, FORMS, PEROVSKITE, ROCK_SALT

from rhoflow import io
from rhoflow.checkpoints import CheckpointStore, FileCheckpoint
from rhoflow.costs import fits, graphs, training
from rhoflow.crystal import Crystal
from rhoflow.descriptors.composition import CompositionSpec
from rhoflow.descriptors.graph import CrystalGraphSpec, GraphSet, crystal_graphs
from rhoflow.errors import ConfigError, DataError
from rhoflow.models import registry
from rhoflow.models.base import Start
from rhoflow.models.graph.elements import property_table
from rhoflow.models.graph.fit import FittedGraph, Range, fit
from rhoflow.models.graph.model import GraphNetwork, Lengths, OnGraphs
from rhoflow.models.graph.spec import GraphSpec
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.training import loop
from rhoflow.training.ensemble import seeded
from rhoflow.training.spec import OptimiserSpec

JOINED = CrystalGraphSpec()
QUICK = GraphSpec(width=8, depth=2, gaussians=9, dense=(8,), optimiser=OptimiserSpec(epochs=1))
PUBLISHED = GraphSpec(
    layer="graph_conv",
    nodes="published",
    width=128,
    depth=2,
    pooling="max",
    dense=(16,),
    dropout=0.4,
    output="sigmoid",
    optimiser=OptimiserSpec(epochs=600, batch_size=128, learning_rate=1e-4),
)
EVERY = pytest.mark.parametrize("form", list(FORMS))


def of_form(form: str, **changes) -> GraphSpec:
    return GraphSpec.model_validate({**QUICK.model_dump(), **FORMS[form], **changes})


def graphs_of(crystals: list[Crystal], spec: CrystalGraphSpec = JOINED) -> GraphSet:
    return crystal_graphs(crystals, spec)


def rock_salts(n: int) -> tuple[GraphSet, np.ndarray]:
    """Oxides of one structure; the target is the volume per atom, Å³."""
    rng = np.random.default_rng(0)
    metals = rng.choice(["Mg", "Ca", "Sr", "Ti", "Mn"], size=n)
    edges = rng.uniform(3.8, 5.4, size=n)
    cells = [edge / 2 * (np.ones((3, 3)) - np.eye(3)) for edge in edges]
    crystals = [
        make_crystal(cell, (metal, "O"), [[0, 0, 0], [0.5] * 3], f"m{i}")
        for i, (cell, metal) in enumerate(zip(cells, metals, strict=True))
    ]
    return graphs_of(crystals), edges[:, None] ** 3 / 8


def equal(some: GraphSet, other: GraphSet) -> bool:
    return some.ids == other.ids and some.fingerprint() == other.fingerprint()


# Graphs ------------------------------------------------------------------------------------


def test_graphs_keep_their_order_and_are_the_same_alone():
    together = graphs_of(CRYSTALS)
    assert together.ids == ("MgO", "SrTiO3", "triclinic")
    assert together.sizes.tolist() == [2, 5, 3]
    for i, crystal in enumerate(CRYSTALS):
        assert equal(together.take([i]), graphs_of([crystal]))
    assert equal(together.take([2, 0]), graphs_of([CRYSTALS[2], CRYSTALS[0]]))
    assert together.fingerprint() != together.take([1, 0, 2]).fingerprint()


def test_graphs_of_nothing_are_empty():
    nothing = graphs_of([])
    assert (len(nothing), nothing.edges.shape, nothing.vectors.shape) == (0, (2, 0), (0, 3))
    assert equal(graphs_of(CRYSTALS).take([]), nothing)


def test_an_atom_alone_in_its_cell_hears_its_own_images():
    alone = graphs_of([make_crystal(3 * np.eye(3), ("Po",), [[0.1, 0.2, 0.3]])])
    assert alone.edges.shape == (2, 18)  # 6 at 3 Å, then 12 at 4.24 Å
    assert not alone.edges.any()


def test_an_atom_without_neighbours_is_an_error_that_names_its_distance():
    far = make_crystal(np.diag([4.0, 4, 30]), ("Mg", "O", "Ar"),
                       [[0, 0, 0], [0.5, 0.5, 0], [0, 0, 0.5]], "slab")  # fmt: skip
    message = (
        r"slab: atom 3 \(Ar\) has no neighbour within cutoff_angstrom 3, its nearest is at 4\.00 Å"
    )
    with pytest.raises(DataError, match=message):
        graphs_of([ROCK_SALT, far], CrystalGraphSpec(cutoff_angstrom=3))
    for wrong in ({"cutoff_angstrom": 0.1}, {"max_neighbours": 0}, {"cutoff_angstrom": 1e9}):
        with pytest.raises(ValidationError):
            CrystalGraphSpec(**wrong)


def test_graphs_come_back_from_their_shards(tmp_path):
    spec = JOINED.model_dump(mode="json")
    parts = [graphs_of(CRYSTALS[:1]), graphs_of([]), graphs_of(CRYSTALS[1:])]
    paths = [tmp_path / f"{i}.npz" for i in range(3)]
    for path, part in zip(paths, parts, strict=True):
        io.write_graphs(path, part, spec=spec)
    found = io.read_descriptors(paths)
    assert isinstance(found, GraphSet)
    assert equal(found, graphs_of(CRYSTALS))
    io.write_graphs(paths[1], parts[1], spec={**spec, "cutoff_angstrom": 5.0})
    with pytest.raises(DataError, match="made with other settings"):
        io.read_graphs(paths)


# The network -------------------------------------------------------------------------------


def test_the_published_network_has_its_layers():
    network = GraphNetwork(PUBLISHED, 4, 1, Lengths(5.5, 0.7, 5.5))
    linear = [m for m in network.modules() if hasattr(m, "weight") and m.weight.ndim == 2]
    shapes = [tuple(m.weight.shape) for m in linear]
    assert shapes == [(128, 4), (128, 4), (128, 128), (128, 128), (16, 128), (1, 16)]


def test_numbers_of_elements_lie_between_0_and_1():
    for nodes, width in (("published", 4), ("properties", 10)):
        table = property_table(nodes)
        assert table.shape == (119, width)
        assert np.isnan(table[[0, 2, 10, 18, 95, 118]]).any(axis=1).all()
        known = np.delete(table[1:95], [1, 9, 17], axis=0)
        assert np.isfinite(known).all()
        np.testing.assert_allclose(
            [known.min(axis=0), known.max(axis=0)], [[0] * width, [1] * width]
        )
    oxygen, fluorine = property_table("properties")[[8, 9]]
    assert oxygen[2:6].tolist() == [0, 1, 0, 0]
    assert fluorine[6] == 1  # the most electronegative


@EVERY
def test_seeds_side_by_side_answer_as_one_after_the_other(form):
    """What a GPU runs, compared on the processor: answers and gradients."""
    spec = of_form(form)
    model = seeded(lambda: OnGraphs(GraphNetwork(spec, 10, 2, Lengths(8, 1.5, 4))), (1, 2))
    elements = FittedGraph(model, _Ten(), Range(np.eye(2)), 2)
    batch = elements.batcher(graphs_of(CRYSTALS)).batch(np.arange(3))
    found = []
    for forward in (model.one_by_one, model.side_by_side):
        model.zero_grad()
        answer = forward(batch)
        answer.square().sum().backward()
        found.append([answer.detach(), *(w.grad.clone() for w in model.weights)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class _Ten:
    """Ten numbers for any element."""

    def features(self, found: GraphSet) -> np.ndarray:
        return np.sin(np.outer(found.numbers, np.arange(1, 11))).astype(np.float32)


@EVERY
def test_a_prediction_does_not_depend_on_its_company(form):
    data, y = graphs_of(CRYSTALS), np.array([[1.0], [2.0], [4.0]])
    fitted = fit(of_form(form), JOINED, data, y, Start())
    together = fitted.predict(data)
    alone = [fitted.predict(data.take([i]))[:, 0] for i in range(3)]
    np.testing.assert_allclose(together, np.stack(alone, axis=1), rtol=1e-5, atol=1e-6)
    assert fitted.predict(data.take([])).shape == (1, 0, 1)


@pytest.mark.parametrize("form", ["cgcnn", "graph_conv"])
def test_the_network_learns_the_volume_from_distances(form):
    data, y = rock_salts(40)
    optimiser = OptimiserSpec(epochs=40, batch_size=8, learning_rate=1e-2)
    fitted = fit(of_form(form, optimiser=optimiser), JOINED, data.take(range(32)), y[:32], Start())
    error = np.abs(fitted.predict(data.take(range(32, 40)))[0] - y[32:]).mean()
    assert error < 0.2 * np.abs(y[32:] - y[:32].mean()).mean()


def test_a_sigmoid_ends_at_the_least_and_the_largest_of_the_training_set():
    y = np.array([[3.0, 5.0], [7.0, 5.0], [4.0, 5.0]])
    scale = Range(y)
    assert scale.forward(y).tolist() == [[0, 0], [1, 0], [0.25, 0]]
    np.testing.assert_allclose(scale.inverse(scale.forward(y)), y)
    fitted = fit(of_form("published"), JOINED, graphs_of(CRYSTALS), y, Start((0, 1)))
    found = fitted.predict(graphs_of(CRYSTALS))
    assert ((found[..., 0] > 3) & (found[..., 0] < 7)).all()


@pytest.mark.parametrize(
    ("nodes", "symbol", "message"),
    [
        ("element", "W", r"salt: nothing was trained for W; got a training set with O, Mg\. .* or"),
        ("properties", "Ar", "salt: nodes: properties has no numbers for Ar, expected an element"),
        ("published", "Am", "not beyond Pu; drop the structure"),
    ],
)
def test_an_element_that_the_network_cannot_know_is_an_error(nodes, symbol, message):
    salt = replace(ROCK_SALT, symbols=(symbol, "O"), material_id="salt")
    spec = QUICK.model_copy(update={"nodes": nodes})
    fitted = fit(spec, JOINED, graphs_of([ROCK_SALT]), np.ones((1, 1)), Start())
    with pytest.raises(DataError, match=message):
        fitted.predict(graphs_of([ROCK_SALT, salt]))
    if nodes != "element":
        with pytest.raises(DataError, match=message):
            fit(spec, JOINED, graphs_of([salt]), np.ones((1, 1)), Start())


def test_an_element_of_no_training_set_is_known_by_its_properties():
    fitted = fit(QUICK, JOINED, graphs_of([ROCK_SALT]), np.ones((1, 1)), Start())
    assert np.isfinite(fitted.predict(graphs_of([PEROVSKITE]))).all()


@EVERY
def test_a_training_that_was_killed_goes_on_to_the_same_bits(form, tmp_path, monkeypatch):
    spec = of_form(form, dropout=0.3, optimiser=OptimiserSpec(epochs=4, batch_size=3))
    data, y = rock_salts(7)
    pair = registry.PairSpec(descriptor=JOINED, model=spec)
    whole = registry.fit(pair, data, y, Start((1, 2))).predict(data)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    save = FileCheckpoint.save

    def killed(self, state):
        save(self, state)
        if len(state["history"]) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(FileCheckpoint, "save", killed)
    store = CheckpointStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        registry.fit(pair, data, y, Start((1, 2), store))
    monkeypatch.setattr(FileCheckpoint, "save", save)
    again = registry.fit(pair, data, y, Start((1, 2), store)).predict(data)
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("form", ["cgcnn", "published"])
def test_an_explainer_masks_the_edges_and_nodes_of_one_network(form):
    """It is called as PyTorch Geometric calls networks, and answers as in the ensemble."""
    from torch_geometric.explain import Explainer, GNNExplainer

    data, y = rock_salts(24)
    spec = of_form(form, optimiser=OptimiserSpec(epochs=20, batch_size=8, learning_rate=1e-2))
    fitted = fit(spec, JOINED, data, y, Start())
    network, batch = fitted.network(), fitted.batcher(data).batch(np.array([3]))
    with torch.no_grad():
        answer = network(*batch).double().numpy()
    np.testing.assert_allclose(fitted.targets.inverse(answer), fitted.predict(data)[0][[3]], 1e-5)
    explainer = Explainer(
        network,
        GNNExplainer(epochs=5),
        explanation_type="model",
        model_config={"mode": "regression", "task_level": "graph", "return_type": "raw"},
        node_mask_type="attributes",
        edge_mask_type="object",
    )
    torch.manual_seed(0)
    found = explainer(
        batch.x, batch.edge_index, edge_attr=batch.edge_attr, batch=batch.batch, size=batch.size
    )
    assert found.edge_mask.shape == batch.edge_attr.shape
    assert found.node_mask.shape == batch.x.shape
    assert found.edge_mask.std() > 0


# The registry and the costs ----------------------------------------------------------------


def test_only_graph_networks_read_graphs():
    assert registry.reads(GraphSpec()) == (registry.gives(JOINED),)
    assert registry.gives(JOINED) not in registry.reads(KRRSpec())
    assert registry.is_random(GraphSpec())
    assert not registry.can_be_kept(GraphSpec())
    pair = registry.PairSpec(descriptor=JOINED, model=KRRSpec())
    with pytest.raises(ConfigError, match="'krr' cannot read a descriptor of kind 'crystal_graph'"):
        registry.fit(pair, graphs_of(CRYSTALS), np.ones((3, 1)), Start())
    pair = registry.PairSpec(descriptor=CompositionSpec(), model=GraphSpec())
    with pytest.raises(ConfigError, match="'graph' cannot read a descriptor of kind 'composition'"):
        registry.fit(pair, graphs_of(CRYSTALS), np.ones((3, 1)), Start())


@EVERY
def test_operations_of_a_network_are_torchs_own(form):
    from torch.utils.flop_counter import FlopCounterMode

    spec = of_form(form)
    data = graphs_of(CRYSTALS)
    features = graphs.FEATURES[spec.nodes]
    network = GraphNetwork(spec, features, 6, Lengths(8, 1.5, 4))
    edges = torch.from_numpy(data.edges).long()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(10, features), edges, torch.from_numpy(data.distances))
    counted = graphs.network_flop(spec, 10, data.edges.shape[1], 6)
    assert counted == counter.get_total_flops()


def test_edges_of_an_oxide_are_about_those_of_the_archive():
    """276 oxides have 26,350 edges with 12 neighbours, 20,230 with 8, 109,018 within 5.5 Å."""
    within = CrystalGraphSpec(cutoff_angstrom=5.5, max_neighbours=None)
    for spec, found in ((JOINED, 26_350), (CrystalGraphSpec(max_neighbours=8), 20_230),
                        (within, 109_018)):  # fmt: skip
        assert graphs.edges(spec) == pytest.approx(found / 276, rel=0.15)


def test_a_training_asks_for_what_its_edges_take():
    def asked(**changes):
        arm = {"descriptor": {"kind": "crystal_graph", **changes}, "model": {"kind": "graph"}}
        spec = {"arm": arm, "targets": ["band_gap_ev"],
                "protocol": {"kind": "learning_curve", "train_sizes": [200]}}  # fmt: skip
        work = training.training_work(spec, "0-0")
        return work, training.training_resources(spec, "0-0", n_structures=680)

    (few, small), (many, large) = asked(), asked(cutoff_angstrom=8.0, max_neighbours=None)
    assert many.flop / few.flop == pytest.approx(
        graphs.edges(CrystalGraphSpec(max_neighbours=None)) / graphs.edges(JOINED), rel=0.1
    )
    assert few.steps == many.steps == 700
    assert 490 < small.memory_mb < large.memory_mb
    assert fits.vector_length(JOINED) == graphs.numbers(JOINED)
