"""The quantum deep field in its published form, for comparison: one file a molecule, dense padding.

Written from the published recipe (systems of Tsubaki and Mizoguchi, Phys. Rev. Lett. 125, 206401,
and the settings of their public code): a file a molecule holds distances from field points to
orbitals; a batch becomes one block-diagonal matrix padded with 1e6 Å, and every norm is taken by
itself. Nothing of ``rhoflow`` is used but the numbering of weights in ``copy_weights``.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SPHERE, GRID, FAR = 0.75, 0.3, 1e6


class Stored(NamedTuple):
    """What a file holds of one molecule."""

    types: np.ndarray  # (orbitals,)
    distances: np.ndarray  # (points, orbitals)
    powers: np.ndarray  # (1, orbitals) q - 1
    electrons: np.ndarray  # (1, 1)
    target: np.ndarray  # (1, targets)
    potential: np.ndarray  # (points, 1)


def preprocess(numbers: Any, positions: Any, target: Any, elements: tuple[int, ...]) -> Stored:
    """One molecule's field; orbital types are numbered element by element."""
    axis = np.arange(-SPHERE, SPHERE + 1e-3, GRID)
    lattice = [(x, y, z) for x in axis for y in axis for z in axis]
    ball = np.array([p for p in lattice if np.dot(p, p) <= SPHERE**2 and p != (0, 0, 0)])
    points = np.concatenate([ball + r for r in positions])
    types, powers, owners = [], [], []
    for atom, z in enumerate(numbers):
        q = [1] * 4 if z <= 2 else [1] * 6 + [2] * 8
        first = sum(4 if e <= 2 else 14 for e in elements if e < z)
        types += [first + i for i in range(len(q))]
        powers += [n - 1 for n in q]
        owners += [atom] * len(q)
    to_atoms = np.linalg.norm(points[:, None] - positions[None], axis=-1)
    to_atoms[to_atoms == 0] = FAR
    potential = -np.exp(-(to_atoms**2)) @ np.asarray(numbers, float)[:, None]
    return Stored(
        np.array(types),
        to_atoms[:, owners].astype(np.float32),
        np.array([powers], np.float32),
        np.array([[np.sum(numbers)]], np.float32),
        np.array([target], np.float32),
        potential.astype(np.float32),
    )


def save(path: Path, molecule: Stored) -> None:
    np.savez(path, **molecule._asdict())


def load(path: Path) -> Stored:
    with np.load(path, allow_pickle=False) as file:
        return Stored(**{name: file[name] for name in Stored._fields})


def block_diagonal(matrices: list[np.ndarray]) -> torch.Tensor:
    rows, columns = sum(len(m) for m in matrices), sum(m.shape[1] for m in matrices)
    padded = torch.full((rows, columns), FAR)
    i = j = 0
    for m in matrices:
        padded[i : i + len(m), j : j + m.shape[1]] = torch.from_numpy(m)
        i, j = i + len(m), j + m.shape[1]
    return padded


class Published(nn.Module):
    """All weights of the published model."""

    def __init__(self, n_types: int, dimension: int = 250, n_targets: int = 1) -> None:
        super().__init__()
        self.coefficient = nn.Embedding(n_types, dimension)
        self.zeta = nn.Embedding(n_types, 1)
        nn.init.ones_(self.zeta.weight)
        self.functional = nn.ModuleList([nn.Linear(dimension, dimension) for _ in range(3)])
        self.property = nn.Linear(dimension, n_targets)
        self.density = nn.Linear(1, dimension)
        self.map = nn.ModuleList([nn.Linear(dimension, dimension) for _ in range(3)])
        self.potential = nn.Linear(dimension, 1)

    def orbitals(self, batch: list[Stored]) -> tuple[torch.Tensor, list[int]]:
        types = [torch.from_numpy(m.types) for m in batch]
        every = torch.cat(types)
        distances = block_diagonal([m.distances for m in batch])
        powers = torch.cat([torch.from_numpy(m.powers) for m in batch], 1)
        coefficients = torch.cat([functional.normalize(self.coefficient(t), 2, 0) for t in types])
        zeta = self.zeta(every).squeeze()
        basis = functional.normalize(distances**powers * torch.exp(-zeta * distances**2), 2, 0)
        counts = [len(m.distances) for m in batch]
        parts = (basis @ coefficients).split(counts)
        dimension = coefficients.shape[1]
        electrons = [torch.from_numpy(m.electrons) for m in batch]
        normal = [
            torch.sqrt(n / dimension) * functional.normalize(p, 2, 0)
            for n, p in zip(electrons, parts, strict=True)
        ]
        return torch.cat(normal), counts

    def energy(self, batch: list[Stored], pooling: str = "sum") -> torch.Tensor:
        values, counts = self.orbitals(batch)
        for layer in self.functional:
            values = torch.relu(layer(values))
        pool = torch.sum if pooling == "sum" else torch.mean
        return self.property(torch.stack([pool(v, 0) for v in values.split(counts)]))

    def external(self, batch: list[Stored]) -> torch.Tensor:
        values, _ = self.orbitals(batch)
        values = self.density((values**2).sum(1, keepdim=True))
        for layer in self.map:
            values = torch.relu(layer(values))
        return self.potential(values)

    def steps(self, batch: list[Stored], optimiser: torch.optim.Optimizer) -> list[float]:
        """One step for the energy, one for the potential; their losses before each."""
        targets = torch.cat([torch.from_numpy(m.target) for m in batch])
        potential = torch.cat([torch.from_numpy(m.potential) for m in batch])
        losses = []
        for answer, known in ((self.energy, targets), (self.external, potential)):
            loss = functional.mse_loss(answer(batch), known)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses

    def copy_weights(self, network: nn.Module) -> None:
        """Take the weights of rhoflow's network, which lie under other names."""
        theirs = {
            "orbitals.coefficient": "coefficient", "orbitals.zeta": "zeta",
            "functional.hidden": "functional", "functional.property": "property",
            "map.density": "density", "map.first": "map.0", "map.potential": "potential",
            "map.others.0": "map.1", "map.others.1": "map.2",
        }  # fmt: skip
        state = {}
        for name, value in network.state_dict().items():
            [prefix] = [p for p in theirs if name.startswith(p + ".")]
            state[theirs[prefix] + name.removeprefix(prefix)] = value.detach().clone()
        self.load_state_dict(state)
