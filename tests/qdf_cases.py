"""Small molecules and small quantum deep fields, shared by their tests."""

import numpy as np
import torch

from rhoflow.descriptors.geometry import MoleculeSet, molecule_set
from rhoflow.models.qdf.field import Fields
from rhoflow.models.qdf.model import QuantumDeepField
from rhoflow.models.qdf.orbitals import OrbitalTypes
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec
from rhoflow.molecule import Molecule
from rhoflow.training.spec import OptimiserSpec

CPU = torch.device("cpu")
QUICK = OptimiserSpec(epochs=2, batch_size=3, learning_rate=1e-3)
SMALL = QDFSpec(dimension=12, map_dimension=10, optimiser=QUICK)
GRAPH = GCNSpec(dimension=12, depth=2, optimiser=QUICK)
# What departs from the paper, all at once.
OURS = SMALL.model_copy(
    update={
        "radial": "slater",
        "angular": True,
        "potential": "pseudo",
        "quadrature": "volume",
        "standardise": True,
        "basis": "6-31G(d)",
    }
)


def one(symbols, positions, name="m", charge=0) -> MoleculeSet:
    at = np.asarray(positions, dtype=float)
    return molecule_set([Molecule(name, tuple(symbols), at, charge)])


def molecules(n: int = 7, seed: int = 0) -> tuple[MoleculeSet, np.ndarray]:
    """Molecules of 2 to 9 atoms on a bent chain, whose target counts atoms and bonds."""
    rng = np.random.default_rng(seed)
    made, y = [], []
    for i in range(n):
        size = 2 + i % 8
        steps = rng.normal(size=(size, 3))
        at = np.cumsum(1.3 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
        symbols = tuple(rng.choice(["H", "C", "O"], size=size))
        made.append(Molecule(f"m{i}", symbols, at))
        apart = np.linalg.norm(at[:, None] - at[None], axis=-1)
        y.append(-3.0 * size - np.exp(-(apart**2)).sum())
    return molecule_set(made), np.array(y)[:, None]


def network(spec: QDFSpec, inputs: MoleculeSet, n_targets: int = 1, seed: int = 0):
    types = OrbitalTypes.of(inputs, spec.basis)
    torch.manual_seed(seed)
    fields = Fields(inputs, spec, types, (True,) * n_targets, CPU)
    return QuantumDeepField(spec, types, n_targets), fields


def chem(number: int) -> str:
    return {1: "H", 6: "C", 8: "O"}[int(number)]
