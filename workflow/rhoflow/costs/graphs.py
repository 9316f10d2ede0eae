"""Size of crystal graphs, and arithmetic of the networks that read them."""

import math
from itertools import pairwise

from rhoflow.descriptors.graph import CrystalGraphSpec
from rhoflow.models.graph.spec import GraphSpec

# The 276 shipped oxides: 7.2 atoms in the mean, one in 12.8 Å³. Whole shells add to the neighbours
# that are asked for: 13.2 for 12, 10.2 for 8.
ATOMS = 7.2
VOLUME_ANGSTROM3 = 12.8
SHELLS = 1.15

# A number that a neighbour speaks, weighed and added up, in operations of the same rate as products
# of matrices: at 20e9 a second 1 ns (GraphConv of width 64, 54 neighbours an atom).
MESSAGE_FLOP = 20

# Numbers of an element that networks begin with: 4, 10, or as many as there are elements.
FEATURES = {"published": 4, "properties": 10, "element": 40}


def edges(graph: CrystalGraphSpec) -> float:
    """Edges of a crystal."""
    within = 4 / 3 * math.pi * graph.cutoff_angstrom**3 / VOLUME_ANGSTROM3
    most = math.inf if graph.max_neighbours is None else SHELLS * graph.max_neighbours
    return ATOMS * min(within, most)


def numbers(graph: CrystalGraphSpec) -> int:
    """Numbers that a crystal is kept as: of each edge both ends and a vector, of each atom one."""
    return round(ATOMS + 5 * edges(graph))


def network_flop(model: GraphSpec, n_atoms: float, n_edges: float, outputs: int) -> float:
    """Operations of one crystal's way forward: its products of matrices."""
    width, features = model.width, FEATURES[model.nodes]
    layers = [width, *model.dense, outputs]
    dense = 2.0 * sum(a * b for a, b in pairwise(layers))
    if model.layer == "cgcnn":
        gates = 4.0 * model.depth * n_edges * (2 * width + model.gaussians) * width
        return 2.0 * n_atoms * features * width + gates + dense
    into = features + (model.depth - 1) * width
    return 4.0 * n_atoms * into * width + dense


def flop(model: GraphSpec, graph: CrystalGraphSpec, outputs: int) -> float:
    """Operations of one crystal's way forward, what neighbours speak among them."""
    spoken = MESSAGE_FLOP * model.depth * edges(graph) * model.width
    return spoken + network_flop(model, ATOMS, edges(graph), outputs)


def numbers_kept(model: GraphSpec, graph: CrystalGraphSpec) -> float:
    """Numbers that the backward pass needs of one crystal.

    Of a layer cgcnn an edge's input, gate, message and both before their functions; of graph_conv
    its neighbour's numbers.
    """
    width = model.width
    each = 2 * width + model.gaussians + 5 * width if model.layer == "cgcnn" else 2 * width
    return model.depth * (edges(graph) * each + ATOMS * 4 * width)
