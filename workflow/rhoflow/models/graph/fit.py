"""Training on graphs, and prediction."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from rhoflow.descriptors.base import taken_rows
from rhoflow.descriptors.graph import CrystalGraphSpec, GraphSet
from rhoflow.models.base import Standardiser, Start
from rhoflow.models.graph.elements import Elements
from rhoflow.models.graph.model import GraphNetwork, Graphs, Lengths, OnGraphs
from rhoflow.models.graph.spec import GraphSpec
from rhoflow.models.qdf.targets import by_size, epoch_order
from rhoflow.training import distributed
from rhoflow.training.devices import make_deterministic, pick_device
from rhoflow.training.ensemble import Ensemble, seeded
from rhoflow.training.loop import Batch, train
from rhoflow.training.losses import sum_of_mean_squares

# Edges of a batch in prediction.
PREDICT_EDGES = 100_000


class GraphBatcher:
    """Graphs on a device, ready to be joined to batches.

    Args:
        graphs: their atoms and edges.
        elements: what an atom is at first.
        device: where batches are made.

    Raises:
        DataError: an element has no such numbers.
    """

    def __init__(self, graphs: GraphSet, elements: Elements, device: torch.device) -> None:
        self.offsets, self.edge_offsets, self.device = graphs.offsets, graphs.edge_offsets, device
        self.x = torch.from_numpy(elements.features(graphs)).to(device)
        self.edges = torch.from_numpy(graphs.edges).long().to(device)
        self.distances = torch.from_numpy(graphs.distances).to(device)

    def batch(self, chosen: NDArray[np.int64]) -> Graphs:
        """The graphs at some positions of the set, one after the other."""
        offsets, atoms = taken_rows(self.offsets, chosen)
        edge_offsets, edges = taken_rows(self.edge_offsets, chosen)
        before = np.repeat(offsets[:-1], np.diff(edge_offsets))  # (edges,) atoms of earlier graphs
        owner = np.repeat(np.arange(len(chosen)), np.diff(offsets))
        taken = self._put(edges)
        return Graphs(
            self.x[self._put(atoms)],
            self.edges[:, taken] + self._put(before),
            self.distances[taken],
            self._put(owner),
            len(chosen),
        )

    def _put(self, values: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)


class Range:
    """Targets from 0 to 1, to be put back after prediction.

    Args:
        y: (n, targets) of the training set.
    """

    def __init__(self, y: NDArray[np.float64]) -> None:
        self.least = y.min(axis=0)
        span = y.max(axis=0) - self.least
        self.span = np.where(span > 0, span, 1.0)

    def forward(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Targets between 0 and 1 over the training set."""
        return (y - self.least) / self.span

    def inverse(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, targets) back to the original units."""
        return z * self.span + self.least


class FittedGraph:
    """Trained networks of one architecture.

    Args:
        model: the networks, on their device.
        elements: what an atom is at first.
        targets: between targets and what networks learn.
        n_targets: properties of a crystal.
    """

    def __init__(
        self, model: Ensemble, elements: Elements, targets: Standardiser | Range, n_targets: int
    ) -> None:
        self.model, self.elements, self.targets = model, elements, targets
        self.n_targets = n_targets

    def batcher(self, inputs: GraphSet) -> GraphBatcher:
        """The graphs as the networks read them, on their device."""
        return GraphBatcher(inputs, self.elements, self.model.weights[0].device)

    def predict(self, inputs: GraphSet) -> NDArray[np.float64]:
        """(seeds, n, targets) in the units of the targets.

        Raises:
            DataError: a structure holds an element that the networks do not know.
        """
        self.model.eval()
        made = self.batcher(inputs)
        answers = np.empty((self.model.n_networks, len(inputs), self.n_targets))
        for chosen in by_size(np.diff(inputs.edge_offsets), PREDICT_EDGES):
            with torch.no_grad():
                answers[:, chosen] = self.model(made.batch(chosen)).cpu().numpy()
        return self.targets.inverse(answers)

    def network(self, index: int = 0) -> GraphNetwork:
        """One network by itself; its answers are those before ``targets.inverse``."""
        member = self.model.network(index).eval()
        assert isinstance(member, OnGraphs)
        return member.network


def fit(
    spec: GraphSpec,
    joined: CrystalGraphSpec,
    inputs: GraphSet,
    y: NDArray[np.float64],
    start: Start,
) -> FittedGraph:
    """Train one network a seed.

    Args:
        spec: network and training.
        joined: which atoms are joined.
        inputs: n training structures.
        y: (n, targets) in their own units.
        start: seeds of the networks, and where they keep their state.

    Raises:
        DataError: an element has none of the numbers that the spec asks for.
        TrainingError: the loss is not finite.
    """
    device = pick_device()
    make_deterministic()
    elements = Elements(spec.nodes, inputs.numbers.tolist())
    targets = Range(y) if spec.output == "sigmoid" else Standardiser(y)
    z = torch.from_numpy(targets.forward(y)).float().to(device)
    distances = inputs.distances
    lengths = Lengths(joined.cutoff_angstrom, float(distances.min()), float(distances.max()))
    model = seeded(
        lambda: OnGraphs(GraphNetwork(spec, elements.n_features, y.shape[1], lengths)), start.seeds
    ).to(device)
    made = GraphBatcher(inputs, elements, device)
    group = distributed.group(spec.optimiser.devices)

    def batches(epoch: int) -> Iterator[Batch]:
        for whole in epoch_order(len(y), spec.optimiser.batch_size, start.seeds[0], epoch):
            mine = group.share(len(whole))
            chosen = whole[mine.rows]
            answers = z[torch.from_numpy(chosen).to(device)]
            yield Batch(made.batch(chosen), answers, mine.weight)

    train(
        model,
        batches,
        sum_of_mean_squares,
        spec.optimiser,
        seed=start.seeds[0],
        checkpoint=start.checkpoint((spec, joined), inputs, y),
        group=group,
    )
    return FittedGraph(model, elements, targets, y.shape[1])
