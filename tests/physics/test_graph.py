"""Crystal graphs and the layers that read them: known crystals, symmetries, formulas by hand."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from scipy.spatial.distance import cdist
from tests.conftest import CENTRES, LATTICE, make_crystal

from rhoflow.crystal import Crystal
from rhoflow.descriptors.graph import (
    SHELL_ANGSTROM,
    CrystalGraphSpec,
    GraphSet,
    crystal_graphs,
)
from rhoflow.models.base import Start
from rhoflow.models.graph.fit import FittedGraph, fit
from rhoflow.models.graph.model import GraphNetwork, Lengths
from rhoflow.models.graph.spec import GraphSpec
from rhoflow.training.spec import OptimiserSpec

EDGE = 4.21
ROCK_SALT = make_crystal(
    EDGE / 2 * (np.ones((3, 3)) - np.eye(3)), ("Mg", "O"), [[0, 0, 0], [0.5] * 3], "MgO"
)
# Oxygen has 2 Ti, then 4 Sr and 8 O all at a/√2: a twelfth neighbour among equals.
PEROVSKITE = make_crystal(
    3.9 * np.eye(3),
    ("Sr", "Ti", "O", "O", "O"),
    [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    "SrTiO3",
)
TRICLINIC = make_crystal(LATTICE, ("Mg", "Ti", "O"), CENTRES.tolist(), "triclinic")
CRYSTALS = [ROCK_SALT, PEROVSKITE, TRICLINIC]
SHEAR = np.array([[1, 2, 0], [0, 1, 0], [1, -1, 1]])
SPECS = [CrystalGraphSpec(), CrystalGraphSpec(cutoff_angstrom=5.5, max_neighbours=None)]


def rotation(seed: int = 3) -> np.ndarray:
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return turned * np.sign(np.linalg.det(turned))


def in_cell(crystal: Crystal, axes: np.ndarray) -> Crystal:
    """The same crystal in a cell whose vectors are integer combinations (rows) of its own."""
    span = range(-3, 4)
    lattice = axes @ crystal.lattice
    atoms = []
    for symbol, at in zip(crystal.symbols, crystal.frac_coords, strict=True):
        for cell in product(span, span, span):
            inside = (at + cell) @ np.linalg.inv(axes)
            if (inside > -1e-9).all() and (inside < 1 - 1e-9).all():
                atoms.append((symbol, inside))
    assert len(atoms) == round(abs(np.linalg.det(axes))) * crystal.n_atoms
    symbols, coords = zip(*atoms, strict=True)
    return make_crystal(lattice, symbols, np.array(coords).tolist(), crystal.material_id)


def permuted(crystal: Crystal) -> Crystal:
    order = np.random.default_rng(1).permutation(crystal.n_atoms)
    return replace(
        crystal,
        symbols=tuple(crystal.symbols[i] for i in order),
        frac_coords=crystal.frac_coords[order],
    )


SAME = {
    "turned": lambda c: replace(c, lattice=c.lattice @ rotation()),
    "mirrored": lambda c: replace(c, lattice=c.lattice * [1, 1, -1]),
    "shifted": lambda c: replace(c, frac_coords=c.frac_coords + np.array([0.37, -1.2, 3.05])),
    "reordered": permuted,
    "sheared": lambda c: replace(
        c, lattice=SHEAR @ c.lattice, frac_coords=c.frac_coords @ np.linalg.inv(SHEAR)
    ),
    "left-handed": lambda c: replace(
        c, lattice=c.lattice[[1, 0, 2]], frac_coords=c.frac_coords[:, [1, 0, 2]]
    ),
    "supercell": lambda c: in_cell(c, np.diag([2, 1, 3])),
    "skew supercell": lambda c: in_cell(c, np.array([[1, 1, 0], [-1, 1, 0], [0, 1, 2]])),
}


def surroundings(graphs: GraphSet) -> dict[tuple, float]:
    """What each atom is joined to, and the share of atoms of which this holds."""
    found: dict[int, list] = {i: [] for i in range(len(graphs.numbers))}
    for (other, atom), distance in zip(graphs.edges.T, graphs.distances, strict=True):
        found[atom].append((int(graphs.numbers[other]), round(float(distance), 3)))
    counted = Counter(
        (int(graphs.numbers[i]), *sorted(Counter(near).items())) for i, near in found.items()
    )
    return {key: n / len(graphs.numbers) for key, n in counted.items()}


def assert_same_rows(some: np.ndarray, others: np.ndarray) -> None:
    """In any order; the order of neighbours at one distance follows from rounding."""
    assert some.shape == others.shape
    apart = cdist(some, others)
    assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 1e-5


def joined(crystal: Crystal, **changes) -> GraphSet:
    return crystal_graphs([crystal], CrystalGraphSpec(**changes))


# Graphs ------------------------------------------------------------------------------------


def test_rock_salt_has_six_neighbours_at_half_the_edge_and_twelve_at_the_next_distance():
    graphs = joined(ROCK_SALT, cutoff_angstrom=4.0, max_neighbours=None)
    for atom in range(2):
        mine = graphs.edges[1] == atom
        near, distance = graphs.edges[0][mine], graphs.distances[mine]
        assert len(near) == 6 + 12 + 8
        assert (near[:6] == 1 - atom).all()
        assert (near[6:18] == atom).all()
        np.testing.assert_allclose(distance[:6], EDGE / 2, rtol=1e-6)
        np.testing.assert_allclose(distance[6:18], EDGE / 2**0.5, rtol=1e-6)
        np.testing.assert_allclose(distance[18:], EDGE / 2 * 3**0.5, rtol=1e-6)
        octahedron = {tuple(v) for v in np.rint(graphs.vectors[mine][:6] * 2 / EDGE).astype(int)}
        assert octahedron == {tuple(s * np.eye(3, dtype=int)[i]) for i in range(3) for s in (-1, 1)}


@pytest.mark.parametrize(("asked", "got"), [(1, 6), (6, 6), (7, 18), (18, 18), (19, 26)])
def test_a_shell_is_taken_as_a_whole(asked, got):
    graphs = joined(ROCK_SALT, max_neighbours=asked)
    assert np.bincount(graphs.edges[1]).tolist() == [got, got]


def test_neighbours_that_rounding_splits_are_one_shell():
    """Coordinates of four digits: the six of an octahedron lie within SHELL_ANGSTROM."""
    for shift, got in ((0.2 * SHELL_ANGSTROM, 6), (2 * SHELL_ANGSTROM, 1)):
        off = np.array([[0, 0, 0], [shift, 0, 0]]) @ np.linalg.inv(ROCK_SALT.lattice)
        moved = replace(ROCK_SALT, frac_coords=ROCK_SALT.frac_coords + off)
        assert np.bincount(joined(moved, max_neighbours=1).edges[1]).tolist() == [got, got]


def test_neighbours_at_the_cutoff_count():
    for crystal in (ROCK_SALT, replace(ROCK_SALT, lattice=ROCK_SALT.lattice @ rotation())):
        graphs = joined(crystal, cutoff_angstrom=EDGE / 2**0.5, max_neighbours=None)
        assert graphs.edges.shape == (2, 2 * 18)


def test_neighbours_are_those_of_pymatgen():
    for crystal in CRYSTALS:
        structure = Structure(
            Lattice(crystal.lattice), list(crystal.symbols), crystal.frac_coords.tolist()
        )
        graphs = joined(crystal, cutoff_angstrom=6.3, max_neighbours=None)
        for atom, near in enumerate(structure.get_all_neighbors(6.3)):
            theirs = np.array([[n.index, *(n.coords - structure[atom].coords)] for n in near])
            mine = graphs.edges[1] == atom
            assert_same_rows(np.column_stack([graphs.edges[0], graphs.vectors])[mine], theirs)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("change", list(SAME))
@pytest.mark.parametrize("crystal", CRYSTALS, ids=lambda c: c.material_id)
def test_the_graph_is_that_of_the_crystal_not_of_its_cell(crystal, change, spec):
    expected = surroundings(crystal_graphs([crystal], spec))
    found = surroundings(crystal_graphs([SAME[change](crystal)], spec))
    assert found == pytest.approx(expected)


def test_vectors_turn_with_the_crystal():
    turned = rotation()
    before = joined(TRICLINIC)
    after = joined(replace(TRICLINIC, lattice=TRICLINIC.lattice @ turned))
    rows = [np.column_stack([*g.edges, v]) for g, v in
            ((before, before.vectors @ turned), (after, after.vectors))]  # fmt: skip
    assert_same_rows(*rows)


# Layers ------------------------------------------------------------------------------------

FORMS = {
    "cgcnn": {"layer": "cgcnn"},
    "cgcnn, max": {"layer": "cgcnn", "pooling": "max", "nodes": "element"},
    "graph_conv": {"layer": "graph_conv", "weight": "near", "aggregate": "mean"},
    "published": {
        "layer": "graph_conv",
        "nodes": "published",
        "pooling": "max",
        "output": "sigmoid",
        "depth": 2,
        "dense": (16,),
    },
}


def trained(form: str, spec: CrystalGraphSpec) -> FittedGraph:
    """One epoch on three crystals; what is asked holds for any weights."""
    model = GraphSpec(
        **{"width": 8, "gaussians": 9, **FORMS[form]}, optimiser=OptimiserSpec(epochs=1)
    )
    return fit(
        model, spec, crystal_graphs(CRYSTALS, spec), np.arange(6.0).reshape(3, 2), Start((1, 2))
    )


@pytest.mark.parametrize("form", list(FORMS))
def test_a_prediction_is_that_of_the_crystal_not_of_its_cell(form):
    for spec in SPECS:
        fitted = trained(form, spec)
        expected = fitted.predict(crystal_graphs(CRYSTALS, spec))  # (seeds, crystals, targets)
        assert np.ptp(expected, axis=1).min() > 1e-4
        for change in SAME.values():
            found = fitted.predict(crystal_graphs([change(c) for c in CRYSTALS], spec))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def graph_of(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two graphs of 3 and 2 atoms with 10 features, their edges in any order."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(5, 10, generator=generator)
    edges = torch.tensor([[0, 1, 2, 2, 1, 0, 3, 4, 3], [1, 0, 0, 1, 2, 0, 4, 3, 3]])
    return x, edges, 1 + 4 * torch.rand(9, generator=generator), torch.tensor([0, 0, 0, 1, 1])


def network(spec: GraphSpec, n_targets: int = 2) -> GraphNetwork:
    torch.manual_seed(0)
    return GraphNetwork(spec, 10, n_targets, Lengths(cutoff=6.0, shortest=1.5, longest=4.5)).eval()


def by_hand(values: np.ndarray, model: GraphNetwork) -> np.ndarray:
    """Normalised atoms (5, width), their mean over each graph, and dense layers."""
    norm, dense = model.norms[0], model.dense
    centred = values - values.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + norm.eps)
    atoms = np.maximum(scaled * array(norm.weight) + array(norm.bias), 0)
    graphs = np.stack([atoms[:3].mean(axis=0), atoms[3:].mean(axis=0)])
    hidden = np.maximum(graphs @ array(dense[1].weight).T + array(dense[1].bias), 0)
    return hidden @ array(dense[3].weight).T + array(dense[3].bias)


def array(values: torch.Tensor) -> np.ndarray:
    return values.detach().double().numpy()


@pytest.mark.parametrize("aggregate", ["add", "mean"])
@pytest.mark.parametrize("weight", ["distance", "near"])
def test_graph_conv_is_its_formula(weight, aggregate):
    """x'_i = W1 x_i + W2 Σ_j w_ij x_j + b, equation of arXiv 1810.02244 with weighted edges."""
    model = network(
        GraphSpec(
            layer="graph_conv", width=6, depth=1, dense=(4,), weight=weight, aggregate=aggregate
        )
    )
    x, edges, distances, batch = graph_of()
    d, layer = array(distances), model.layers[0]
    w = {"distance": (d - 1.5) / 3, "near": (1 + np.cos(np.pi * d / 6)) / 2}[weight]
    heard = np.zeros((5, 10))
    for (other, atom), each in zip(edges.T.tolist(), w, strict=True):
        heard[atom] += each * array(x)[other]
    if aggregate == "mean":
        heard /= np.bincount(edges[1].numpy())[:, None]
    values = heard @ array(layer.lin_rel.weight).T + array(layer.lin_rel.bias)
    values += array(x) @ array(layer.lin_root.weight).T
    answer = model(x, edges, distances, batch)
    np.testing.assert_allclose(array(answer), by_hand(values, model), rtol=1e-4, atol=1e-6)


def test_cgcnn_is_its_formula():
    """v'_i = v_i + Σ_j σ(z W_f + b_f) g(z W_s + b_s), equation 5 of Xie and Grossman."""
    model = network(GraphSpec(width=6, depth=1, gaussians=4, dense=(4,)))
    x, edges, distances, batch = graph_of()
    layer, d = model.layers[0], array(distances)
    v = array(x) @ array(model.embedding.weight).T + array(model.embedding.bias)
    told = np.exp(-(((d[:, None] - np.array([0.0, 2, 4, 6])) / 2) ** 2))
    values = v.copy()
    for (other, atom), u in zip(edges.T.tolist(), told, strict=True):
        z = np.concatenate([v[atom], v[other], u])
        gate = array(layer.lin_f.weight) @ z + array(layer.lin_f.bias)
        core = array(layer.lin_s.weight) @ z + array(layer.lin_s.bias)
        values[atom] += np.log1p(np.exp(core)) / (1 + np.exp(-gate))
    answer = model(x, edges, distances, batch)
    np.testing.assert_allclose(array(answer), by_hand(values, model), rtol=1e-4, atol=1e-6)


def test_weights_of_neighbours_end_where_they_should():
    ends = torch.tensor([1.5, 4.5])
    published = network(GraphSpec(layer="graph_conv"))
    assert published.edges(ends).tolist() == [0, 1]
    near = network(GraphSpec(layer="graph_conv", weight="near"))
    assert near.edges(torch.tensor([0.0, 3.0, 6.0])).tolist() == pytest.approx([1, 0.5, 0])
    assert near.edges(torch.tensor([6.000006])).tolist() == [0]  # a neighbour on the rim
