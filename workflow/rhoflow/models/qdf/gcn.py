"""A graph convolution over atoms, of which one linear layer is an LCAO at the nuclei.

Tsubaki and Mizoguchi, NeurIPS 2020 (arXiv 2011.07929). The value at nucleus i of an orbital made
of s functions is the sum over nuclei j of c_j exp(-zeta_j d_ij²): rows of weights exp(-zeta d²)
times rows of coefficients, which is a graph convolution without a non-linearity. What follows it
here is the quantum deep field's own functional, so that the two differ in their points alone:
nuclei here, a field around them there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.models.base import Start, part
from rhoflow.models.qdf.field import centred, filled
from rhoflow.models.qdf.model import Functional
from rhoflow.models.qdf.orbitals import TINY, check_elements, electrons, norms
from rhoflow.models.qdf.pooled import FittedPooled, Task, learn
from rhoflow.models.qdf.spec import GCNSpec
from rhoflow.models.qdf.targets import by_size, epoch_order
from rhoflow.training import distributed
from rhoflow.training.devices import pick_device
from rhoflow.training.ensemble import Ensemble, rebuilt
from rhoflow.training.loop import Batch

# Atoms of a batch in prediction.
PREDICT_ATOMS = 4096


class Graph(NamedTuple):
    """What the network reads of a batch of molecules, filled up to equal sizes.

    Attributes:
        squared: (batch, atoms, atoms) squared distances, Å².
        elements: (batch, atoms) int64 positions among the training set's elements.
        weights: (batch, atoms) 1, or 0 for atoms that fill up.
        electrons: (batch,).
        share: (batch, targets) factor of a sum over atoms: 1, or 1 over the number of atoms.
    """

    squared: torch.Tensor
    elements: torch.Tensor
    weights: torch.Tensor
    electrons: torch.Tensor
    share: torch.Tensor


class Convolution(nn.Module):
    """One layer: messages of atoms, added up with Gaussians of their distances as weights.

    Args:
        spec: functions, exponents and non-linearity.
        n_elements: elements of the training set.
    """

    def __init__(self, spec: GCNSpec, n_elements: int) -> None:
        super().__init__()
        self.message = nn.Linear(spec.dimension, spec.functions * spec.dimension)
        self.spec = spec
        if spec.learned_exponents:
            self.zeta = nn.Embedding(n_elements, spec.functions)
            nn.init.ones_(self.zeta.weight)

    def adjacency(self, graph: Graph, function: int) -> torch.Tensor:
        """(batch, atoms, atoms) exp(-zeta_j d_ij²), each column over its norm.

        The diagonal is 1 before that: an atom is its own neighbour. The norm of a column is that
        of an atomic orbital over the points where it is evaluated.
        """
        exponent: torch.Tensor | float = 1.0
        if self.spec.learned_exponents:
            exponent = self.zeta(graph.elements)[:, None, :, function]
        pairs = graph.weights[:, :, None] * graph.weights[:, None]
        near = torch.exp(-graph.squared * exponent) * pairs
        return near * near.square().sum(dim=1, keepdim=True).clamp_min(TINY).rsqrt()

    def forward(self, features: torch.Tensor, graph: Graph) -> torch.Tensor:
        """(batch, atoms, dimension) to the same."""
        messages = self.message(features)
        if self.spec.nonlinear:
            messages = torch.relu(messages)
        each = messages.split(self.spec.dimension, dim=-1)
        parts = [torch.bmm(self.adjacency(graph, k), m) for k, m in enumerate(each)]
        return torch.stack(parts).sum(dim=0)


class GraphConvolution(nn.Module):
    """Molecules to their targets.

    Args:
        spec: sizes and switches.
        n_elements: elements of the training set.
        n_targets: properties of a molecule.
    """

    def __init__(self, spec: GCNSpec, n_elements: int, n_targets: int) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(n_elements, spec.dimension)
        self.layers = nn.ModuleList([Convolution(spec, n_elements) for _ in range(spec.depth)])
        self.functional = Functional(spec.dimension, spec.functional_layers, n_targets)

    def features(self, graph: Graph) -> torch.Tensor:
        """(batch, atoms, dimension) of all convolutions; 0 for atoms that fill up."""
        values = self.embedding(graph.elements)
        for layer in self.layers:
            values = layer(values, graph)
            if self.spec.normalise:
                values = values * norms(values, graph.weights, graph.electrons)[:, None]
        return values

    def descriptor(self, graph: Graph) -> torch.Tensor:
        """(batch, dimension) sums over atoms before the last layer."""
        return self.functional.pooled(self.features(graph).flatten(0, 1), _pool(graph))

    def forward(self, graph: Graph) -> torch.Tensor:
        """(batch, targets)."""
        return self.functional(self.features(graph).flatten(0, 1), _pool(graph), graph.share)


def _pool(graph: Graph) -> torch.Tensor:
    """(batch, batch · atoms) 1 for a molecule's own atoms, 0 elsewhere."""
    batch = len(graph.weights)
    own = torch.eye(batch, device=graph.weights.device)[:, :, None] * graph.weights
    return own.flatten(1)


class Graphs:
    """Makes graphs of molecules on a device.

    Args:
        molecules: whose elements are all among these.
        elements: atomic numbers of the training set.
        reads_sum: (targets,) which of them read a sum over atoms.
        device: where graphs are made.
    """

    def __init__(
        self,
        molecules: MoleculeSet,
        elements: Sequence[int],
        reads_sum: Sequence[bool],
        device: torch.device,
    ) -> None:
        self.sizes, self.starts, self.device = molecules.sizes, molecules.offsets[:-1], device
        self.positions = torch.from_numpy(centred(molecules)).float().to(device)
        element = np.searchsorted(elements, molecules.numbers)
        self.elements = torch.from_numpy(element).to(device)
        self.electrons = torch.from_numpy(electrons(molecules, valence=False)).to(device)
        self.reads_sum = torch.tensor(reads_sum, dtype=torch.bool, device=device)

    def batch(self, chosen: NDArray[np.int64]) -> Graph:
        """The graphs of the molecules at some positions of the set."""
        numbers, present = filled(self.starts[chosen], self.sizes[chosen])
        atoms = torch.from_numpy(numbers).to(self.device)
        real = torch.from_numpy(present).float().to(self.device)
        at = self.positions[atoms]
        mean = 1 / real.sum(dim=1, keepdim=True)
        return Graph(
            (at[:, :, None] - at[:, None]).square().sum(dim=-1),
            self.elements[atoms],
            real,
            self.electrons[torch.from_numpy(chosen).to(self.device)],
            torch.where(self.reads_sum, torch.ones_like(mean), mean),
        )


class FittedGCN(FittedPooled):
    """Trained networks of one architecture.

    Args:
        spec: the architecture.
        model: the networks, on their device.
        task: what they were trained on.
    """

    def __init__(self, spec: GCNSpec, model: Ensemble, task: Task) -> None:
        super().__init__(model, task, spec.dimension)
        self.spec = spec

    def batches(self, inputs: MoleculeSet) -> Iterator[tuple[NDArray[np.int64], Graph]]:
        """Graphs of molecules of like size; see the base."""
        check_elements(inputs, self.task.elements)
        device = self.model.weights[0].device
        graphs = Graphs(inputs, self.task.elements, self.task.reads_sum, device)
        for chosen in by_size(inputs.sizes, PREDICT_ATOMS):
            yield chosen, graphs.batch(chosen)

    def reader(self) -> Callable[[Graph], torch.Tensor]:
        """The descriptor of a batch."""
        return self.first().descriptor

    def first(self) -> GraphConvolution:
        """The first network by itself, for reading."""
        network = self.model.network(0).eval()
        assert isinstance(network, GraphConvolution)
        return network.requires_grad_(requires_grad=False)


def fit(spec: GCNSpec, inputs: MoleculeSet, y: NDArray[np.float64], start: Start) -> FittedGCN:
    """Train on n molecules and (n, targets) in their own units.

    Raises:
        TrainingError: the loss is not finite.
    """
    task = Task.of(spec, inputs, y, start)
    z = task.learned(y, inputs)
    graphs = Graphs(inputs, task.elements, task.reads_sum, z.device)
    group = distributed.group(spec.optimiser.devices)

    def batches(epoch: int) -> Iterator[Batch]:
        for whole in epoch_order(len(y), spec.optimiser.batch_size, start.seeds[0], epoch):
            mine = group.share(len(whole))
            chosen = whole[mine.rows]
            answers = z[torch.from_numpy(chosen).to(z.device)]
            yield Batch(graphs.batch(chosen), answers, mine.weight)

    model = learn(spec, partial(_network, spec, task), batches, inputs, y, start, group)
    return FittedGCN(spec, model, task)


def restore(spec: GCNSpec, arrays: Mapping[str, NDArray[Any]]) -> FittedGCN:
    """The networks that ``FittedGCN.arrays`` tells.

    Raises:
        DataError: they are those of other settings.
    """
    task = Task.known(part(arrays, "task"))
    model = rebuilt(partial(_network, spec, task), part(arrays, "weights"))
    return FittedGCN(spec, model.to(pick_device()), task)


def _network(spec: GCNSpec, task: Task) -> GraphConvolution:
    """One network with new weights."""
    return GraphConvolution(spec, len(task.elements), len(task.reads_sum))
