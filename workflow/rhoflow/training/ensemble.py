"""Networks of one architecture that are trained side by side on the same batches."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call, stack_module_state

from rhoflow.errors import DataError


class Ensemble(nn.Module):
    """Networks that differ by their first weights, with one answer each.

    Their weights are stacked, so one optimiser moves all of them, and what makes a batch is done
    once. On a GPU they run as one network (torch.vmap turns their convolutions into grouped ones);
    on a processor one after the other is faster.

    Args:
        networks: of one architecture.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        weights, _ = stack_module_state(list(networks))
        self.names = list(weights)
        self.weights = nn.ParameterList(nn.Parameter(w.detach()) for w in weights.values())
        self.n_networks = len(networks)
        # Held in a tuple, so that its weights are no parameters of this module.
        self._template = (copy.deepcopy(networks[0]).to("meta"),)

    def forward(self, inputs: Any) -> torch.Tensor:
        """Inputs, a tensor (batch, …) or several in a tuple, to (networks, batch, outputs)."""
        if self.weights[0].is_cuda and self.n_networks > 1:
            return self.side_by_side(inputs)
        return self.one_by_one(inputs)

    def side_by_side(self, inputs: Any) -> torch.Tensor:
        """``forward`` as one batched network."""
        stacked = dict(zip(self.names, self.weights, strict=True))
        return torch.vmap(self._answer, (0, None), randomness="different")(stacked, inputs)

    def one_by_one(self, inputs: Any) -> torch.Tensor:
        """``forward`` as one network after the other."""
        each = zip(*(w.unbind(0) for w in self.weights), strict=True)
        answers = [self._answer(dict(zip(self.names, w, strict=True)), inputs) for w in each]
        return torch.stack(answers)

    def _answer(self, weights: dict[str, torch.Tensor], inputs: Any) -> torch.Tensor:
        """(batch, outputs) of the network with these weights."""
        network = self._template[0].train(self.training)
        return functional_call(network, weights, (inputs,))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The weights of all networks by their names, (networks, …) each."""
        values = (w.detach().cpu().numpy() for w in self.weights)
        return dict(zip(self.names, values, strict=True))

    def network(self, index: int) -> nn.Module:
        """One of the networks by itself."""
        network = copy.deepcopy(self._template[0]).to_empty(device=self.weights[0].device)
        state = {n: w.detach()[index] for n, w in zip(self.names, self.weights, strict=True)}
        network.load_state_dict(state)
        return network.train(self.training)


def rebuilt(build: Callable[[], nn.Module], arrays: Mapping[str, NDArray[np.float32]]) -> Ensemble:
    """The networks whose weights are ``Ensemble.arrays``.

    Raises:
        DataError: they are those of another architecture.
    """
    n_networks = len(next(iter(arrays.values()), ()))
    model = seeded(build, range(n_networks)) if n_networks else None
    shapes = {} if model is None else {n: v.shape for n, v in model.arrays().items()}
    given = {name: np.shape(value) for name, value in arrays.items()}
    if model is None or shapes != given:
        raise DataError(
            f"a kept network has weights {given}, its settings ask for {shapes}; delete its file "
            "and run snakemake again"
        )
    with torch.no_grad():
        for name, weights in zip(model.names, model.weights, strict=True):
            weights.copy_(torch.from_numpy(np.asarray(arrays[name])))
    return model


def seeded(build: Callable[[], nn.Module], seeds: Sequence[int]) -> Ensemble:
    """One network a seed, which decides its first weights."""
    networks = []
    for seed in seeds:
        torch.manual_seed(seed)
        networks.append(build())
    return Ensemble(networks)
