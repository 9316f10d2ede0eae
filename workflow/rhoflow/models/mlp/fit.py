"""The network, its training and prediction."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rhoflow.descriptors.base import VectorSet
from rhoflow.models.base import Standardiser, Start, nested, part
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.training import distributed
from rhoflow.training.devices import make_deterministic, pick_device
from rhoflow.training.ensemble import Ensemble, rebuilt, seeded
from rhoflow.training.loop import Batch, train
from rhoflow.training.losses import sum_of_mean_squares


def dense_network(spec: MLPSpec, n_inputs: int, n_outputs: int) -> nn.Sequential:
    """Linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    width = n_inputs
    for units in spec.hidden:
        layers += [nn.Linear(width, units), nn.SiLU(), nn.Dropout(spec.dropout)]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, n_outputs))


# Standard deviations of the training set beyond which an input counts as so many: a component that
# was all but constant in training would answer alone for a structure in which it is not.
FARTHEST = 10.0


def scaled(scale: Standardiser, inputs: VectorSet) -> torch.Tensor:
    """(n, d) inputs in standard deviations of the training set."""
    values = torch.from_numpy(scale.forward(inputs.values)).float()
    return values.clamp(-FARTHEST, FARTHEST)


class FittedMLP:
    """Trained networks with the scales of their inputs and targets."""

    def __init__(self, model: Ensemble, inputs: Standardiser, targets: Standardiser) -> None:
        self.model, self.inputs, self.targets = model, inputs, targets

    def predict(self, inputs: VectorSet) -> NDArray[np.float64]:
        """(seeds, n, targets) in the units of the targets."""
        device = self.model.weights[0].device
        self.model.eval()
        with torch.no_grad():
            x = scaled(self.inputs, inputs).to(device)
            return self.targets.inverse(self.model(x).cpu().numpy().astype(np.float64))

    @property
    def vector_length(self) -> int:
        """Numbers of a structure in ``features``."""
        return int(self.model.weights[-2].shape[-1])

    def features(self, inputs: VectorSet) -> NDArray[np.float64]:
        """(n, units) what the first network's last layer reads."""
        network = self.model.network(0).eval()
        assert isinstance(network, nn.Sequential)
        with torch.no_grad():
            x = scaled(self.inputs, inputs)
            return network[:-1](x.to(self.model.weights[0].device)).cpu().numpy().astype(np.float64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights and scales."""
        return nested(
            weights=self.model.arrays(), inputs=self.inputs.arrays(), targets=self.targets.arrays()
        )


def restore(spec: MLPSpec, arrays: Mapping[str, NDArray[Any]]) -> FittedMLP:
    """The networks that ``FittedMLP.arrays`` tells."""
    inputs, targets = (Standardiser.known(part(arrays, n)) for n in ("inputs", "targets"))
    model = rebuilt(
        lambda: dense_network(spec, len(inputs.mean), len(targets.mean)), part(arrays, "weights")
    )
    return FittedMLP(model.to(pick_device()), inputs, targets)


def fit(spec: MLPSpec, inputs: VectorSet, y: NDArray[np.float64], start: Start) -> FittedMLP:
    """Train on (n, d) vectors and (n, targets) in their own units."""
    device = pick_device()
    make_deterministic()
    scale, targets = Standardiser(inputs.values), Standardiser(y)
    x = scaled(scale, inputs).to(device)
    z = torch.from_numpy(targets.forward(y)).float().to(device)
    model = seeded(lambda: dense_network(spec, x.shape[1], y.shape[1]), start.seeds).to(device)
    group = distributed.group(spec.optimiser.devices)

    def batches(epoch: int) -> Iterator[Batch]:
        state = np.random.SeedSequence([start.seeds[0], epoch]).generate_state(1)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(int(state[0])))
        for whole in order.to(device).split(spec.optimiser.batch_size):
            mine = group.share(len(whole))
            part = whole[mine.rows]
            yield Batch(x[part], z[part], mine.weight)

    train(
        model,
        batches,
        sum_of_mean_squares,
        spec.optimiser,
        seed=start.seeds[0],
        checkpoint=start.checkpoint((spec,), inputs, y),
        group=group,
    )
    return FittedMLP(model, scale, targets)
