"""The network: convolutions over edges, a mean over atoms, dense layers.

Its layers are PyTorch Geometric's, and it is called as theirs are, so that their explainers can
mask its nodes and edges.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import CGConv, GraphConv, global_max_pool, global_mean_pool

from rhoflow.models.graph.spec import GraphSpec


class Graphs(NamedTuple):
    """A batch of graphs, one after the other.

    Attributes:
        x: (atoms, features) of the elements.
        edge_index: (2, edges) int64, neighbour and atom that it is a neighbour of.
        edge_attr: (edges,) distances, Å.
        batch: (atoms,) int64, which graph an atom belongs to, ascending.
        size: graphs.
    """

    x: torch.Tensor
    edge_index: torch.Tensor
    edge_attr: torch.Tensor
    batch: torch.Tensor
    size: int


class Lengths(NamedTuple):
    """Distances that a network knows, Å.

    Attributes:
        cutoff: up to which neighbours are sought.
        shortest: of the training set.
        longest: of the training set.
    """

    cutoff: float
    shortest: float
    longest: float


class GraphNetwork(nn.Module):
    """Graphs to their targets.

    Args:
        spec: sizes and switches.
        n_features: numbers that an atom is at first.
        n_targets: properties of a crystal.
        lengths: what distances are measured by.
    """

    def __init__(self, spec: GraphSpec, n_features: int, n_targets: int, lengths: Lengths) -> None:
        super().__init__()
        self.spec, self.lengths = spec, lengths
        widths = [n_features, *[spec.width] * spec.depth]
        if spec.layer == "cgcnn":
            self.embedding = nn.Linear(n_features, spec.width)
            layers = [
                CGConv(spec.width, spec.gaussians, aggr=spec.aggregate) for _ in range(spec.depth)
            ]
        else:
            self.embedding = nn.Identity()
            layers = [GraphConv(a, b, aggr=spec.aggregate) for a, b in pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.LayerNorm(spec.width) for _ in layers)
        self.dense = dense_layers(spec, n_targets)

    def edges(self, distances: torch.Tensor) -> torch.Tensor:
        """What layers read of distances (edges,) in Å: (edges, gaussians), or weights (edges,)."""
        spec, cutoff = self.spec, self.lengths.cutoff
        if spec.layer == "cgcnn":
            step = cutoff / (spec.gaussians - 1)
            centres = step * torch.arange(spec.gaussians, device=distances.device)
            return torch.exp(-(((distances[:, None] - centres) / step) ** 2))
        if spec.weight == "near":
            return (1 + torch.cos(math.pi * (distances / cutoff).clamp(max=1))) / 2
        _, shortest, longest = self.lengths
        return (distances - shortest) / max(longest - shortest, 1e-6)

    def forward(
        self,
        x: torch.Tensor,
        edge_index: torch.Tensor,
        edge_attr: torch.Tensor,
        batch: torch.Tensor | None = None,
        size: int | None = None,
    ) -> torch.Tensor:
        """(graphs, targets); the arguments are those of ``Graphs``."""
        edges, values = self.edges(edge_attr), self.embedding(x)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            values = functional.relu(norm(layer(values, edge_index, edges)))
        pool = global_mean_pool if self.spec.pooling == "mean" else global_max_pool
        answers = self.dense(pool(values, batch, size))
        return answers.sigmoid() if self.spec.output == "sigmoid" else answers


def dense_layers(spec: GraphSpec, n_targets: int) -> nn.Sequential:
    """From a crystal's numbers to its targets."""
    layers: list[nn.Module] = [nn.Dropout(spec.dropout)]
    width = spec.width
    for units in spec.dense:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, n_targets))


class OnGraphs(nn.Module):
    """A network that takes a batch as one argument, as those of an ensemble do."""

    def __init__(self, network: GraphNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, graphs: Graphs) -> torch.Tensor:
        """(graphs, targets)."""
        return self.network(*graphs)
