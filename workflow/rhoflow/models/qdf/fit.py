"""Training in alternation, prediction, the descriptor and the density."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.models.base import Start, part
from rhoflow.models.qdf.field import Field, Fields
from rhoflow.models.qdf.model import QuantumDeepField, density, scale
from rhoflow.models.qdf.orbitals import OrbitalTypes, check_elements
from rhoflow.models.qdf.pooled import FittedPooled, Task, learn
from rhoflow.models.qdf.spec import QDFSpec
from rhoflow.models.qdf.targets import by_size, epoch_order
from rhoflow.training import distributed
from rhoflow.training.devices import pick_device
from rhoflow.training.distributed import Group
from rhoflow.training.ensemble import Ensemble, rebuilt
from rhoflow.training.loop import Batch

# Field points of a batch in prediction: some tens of MB of orbitals.
PREDICT_POINTS = 16_384


class FieldDensity(NamedTuple):
    """A density as the network knows it: on the points of one molecule's field.

    Attributes:
        points: (p, 3) Å.
        electrons: (p,) electrons that each point stands for; they add up to those of the molecule.
    """

    points: NDArray[np.float64]
    electrons: NDArray[np.float64]


class FittedQDF(FittedPooled):
    """Trained networks of one architecture.

    Args:
        spec: the architecture.
        model: the networks, on their device.
        task: what they were trained on.
    """

    def __init__(self, spec: QDFSpec, model: Ensemble, task: Task) -> None:
        super().__init__(model, task, spec.dimension)
        self.spec, self.types = spec, OrbitalTypes(task.elements, spec.basis)

    def batches(self, inputs: MoleculeSet) -> Iterator[tuple[NDArray[np.int64], Field]]:
        """Fields of molecules of like size; see the base."""
        fields = self._fields(inputs)
        for chosen in by_size(fields.n_points(np.arange(len(inputs))), PREDICT_POINTS):
            yield chosen, fields.batch(chosen)[0]

    def reader(self) -> Callable[[Field], torch.Tensor]:
        """The quantum deep descriptor of a batch."""
        return self.first().descriptor

    def first(self) -> QuantumDeepField:
        """The first network by itself, for reading."""
        network = self.model.network(0).eval()
        assert isinstance(network, QuantumDeepField)
        return network.requires_grad_(requires_grad=False)

    def field_density(self, molecule: MoleculeSet) -> FieldDensity:
        """The first network's density of one molecule on the points where it is trained."""
        fields, field, orbitals = self._seen(molecule)
        electrons = density(orbitals, field)[0, :, 0] * field.weights[0]
        points = fields.sight(np.array([0])).points[0].cpu().numpy().astype(np.float64)
        return FieldDensity(points + _centre(molecule), electrons.cpu().numpy().astype(np.float64))

    def density(self, molecule: MoleculeSet, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(p,) electrons/Å³ of one molecule at (p, 3) points in Å, of the first network.

        The network knows electrons a point of its field. They become a density by the volume that
        a point stands for: that of a sphere over its number of points, where points in k spheres
        share it k times. The factor is such that the density's integral over the union of the
        spheres, by this rule, is the number of electrons. Outside of the spheres nothing was
        trained: the orbitals go on there, and electrons there come on top.
        """
        fields, field, orbitals = self._seen(molecule)
        network, only = self.first(), np.array([0])
        radial, _ = network.orbitals.functions(field.places, field.types)
        coefficients = network.orbitals.coefficients(radial, field.weights, field.types)
        coefficients = coefficients * scale(orbitals, field)
        own = density(orbitals, field)[0, :, 0]
        total = (own / fields.spheres(fields.sight(only))[0]).sum()
        volume = 4 / 3 * math.pi * self.spec.sphere_angstrom**3 / len(fields.sphere)
        where = torch.from_numpy(points - _centre(molecule)).float().to(fields.device)
        parts = []
        for some in where.split(PREDICT_POINTS // 8):
            places, types = fields.places(only, fields.sight(only, some[None]))
            _, functions = network.orbitals.functions(places, types)
            parts.append(torch.bmm(functions, coefficients)[0].square().sum(dim=-1))
        electrons = torch.cat(parts) * field.electrons[0] / total if parts else where[:, 0]
        return electrons.cpu().numpy().astype(np.float64) / volume

    def _seen(self, molecule: MoleculeSet) -> tuple[Fields, Field, torch.Tensor]:
        """The field of one molecule, and (1, points, dimension) its orbitals there."""
        if len(molecule) != 1:
            raise TypeError(f"a density is that of one molecule, not of {len(molecule)}")
        fields = self._fields(molecule)
        field, _ = fields.batch(np.array([0]))
        return fields, field, self.first().orbitals(field.places, field.weights, field.types)

    def _fields(self, inputs: MoleculeSet) -> Fields:
        check_elements(inputs, self.task.elements)
        device = self.model.weights[0].device
        return Fields(inputs, self.spec, self.types, self.task.reads_sum, device)


def _centre(molecule: MoleculeSet) -> NDArray[np.float64]:
    """(3,) Å, from which fields count."""
    return molecule.positions.mean(axis=0)


class Alternation:
    """The batches of a training: molecules for their targets, then the same for their potential.

    Args:
        fields: of the training set.
        z: (n, targets) that the networks learn.
        batch_size: molecules of a global batch.
        seed: of their order.
        group: the processes that share each batch.
    """

    def __init__(
        self, fields: Fields, z: torch.Tensor, batch_size: int, seed: int, group: Group
    ) -> None:
        self.fields, self.z, self.group = fields, z, group
        self.batch_size, self.seed = batch_size, seed

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """Two batches for each of an epoch's, by its number alone."""
        for whole in epoch_order(len(self.z), self.batch_size, self.seed, epoch):
            mine = self.group.share(len(whole))
            chosen = whole[mine.rows]
            field, potential = self.fields.batch(chosen)
            yield Batch(field, self.z[torch.from_numpy(chosen).to(self.z.device)], mine.weight)
            # Potentials are averaged over points, of which large molecules have more.
            points = self.fields.n_points(chosen).sum() / self.fields.n_points(whole).sum()
            weight = float(points) if mine.weight else 0.0
            yield Batch(field._replace(asks_potential=True), potential, weight)


def fit(spec: QDFSpec, inputs: MoleculeSet, y: NDArray[np.float64], start: Start) -> FittedQDF:
    """Train on n molecules and (n, targets) in their own units.

    Every batch is one step of the optimiser for the targets, and then one for the potential, from
    orbitals that the first step has changed already.

    Raises:
        DataError: an element has no orbitals in the basis.
        TrainingError: the loss is not finite.
    """
    types = OrbitalTypes.of(inputs, spec.basis)
    task = Task.of(spec, inputs, y, start)
    z = task.learned(y, inputs)
    fields = Fields(inputs, spec, types, task.reads_sum, z.device)
    group = distributed.group(spec.optimiser.devices)
    batches = Alternation(fields, z, spec.optimiser.batch_size, start.seeds[0], group)
    model = learn(spec, partial(_network, spec, task), batches, inputs, y, start, group)
    return FittedQDF(spec, model, task)


def restore(spec: QDFSpec, arrays: Mapping[str, NDArray[Any]]) -> FittedQDF:
    """The networks that ``FittedQDF.arrays`` tells.

    Raises:
        DataError: they are those of other settings.
    """
    task = Task.known(part(arrays, "task"))
    model = rebuilt(partial(_network, spec, task), part(arrays, "weights"))
    return FittedQDF(spec, model.to(pick_device()), task)


def _network(spec: QDFSpec, task: Task) -> QuantumDeepField:
    """One network with new weights."""
    return QuantumDeepField(spec, OrbitalTypes(task.elements, spec.basis), len(task.reads_sum))
