"""Training, and the densities that trained operators predict."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from rhoflow.density.spectrum import Spectrum
from rhoflow.descriptors.fields import FieldSet, FieldsSpec
from rhoflow.errors import DataError
from rhoflow.evaluation.densities import observables
from rhoflow.models.base import Start, nested, part
from rhoflow.models.field3d.atoms import AtomCorrections
from rhoflow.models.field3d.inputs import FieldBatcher, mean_squares
from rhoflow.models.field3d.model import build
from rhoflow.models.field3d.spec import DensityOperatorSpec
from rhoflow.training import distributed
from rhoflow.training.devices import make_deterministic, pick_device
from rhoflow.training.ensemble import Ensemble, rebuilt, seeded
from rhoflow.training.loop import Batch, autocast, train
from rhoflow.training.losses import sum_of_absolute_sums

# A cell this much longer than the longest one of the training set is flagged.
MUCH_LONGER = 1.5
PREDICT_BATCH = 16


@dataclass(frozen=True)
class Known:
    """What a training set held.

    Attributes:
        elements: symbols.
        longest_angstrom: its longest lattice vector.
    """

    elements: tuple[str, ...]
    longest_angstrom: float

    @classmethod
    def of(cls, inputs: FieldSet) -> "Known":
        """What this one holds."""
        elements = tuple(chemical_symbols[z] for z in np.unique(inputs.numbers))
        return cls(elements, float(np.linalg.norm(inputs.lattices, axis=2).max()))


class Scales:
    """Sizes of what networks read and answer in the training set.

    Attributes:
        channels: (channels,) root mean squares.
        answer: that of the answer, e/Å³.
    """

    def __init__(self, channels: NDArray[np.float64], answer: float) -> None:
        self.channels, self.answer = channels, answer

    @classmethod
    def of(
        cls,
        inputs: FieldSet,
        channels: NDArray[np.complexfloating],
        answer: NDArray[np.complexfloating],
    ) -> "Scales":
        """Those of a training set."""
        found = [np.sqrt(mean_squares(inputs, values).mean()) for values in (*channels, answer)]
        safe = np.where(np.asarray(found) > 0, found, 1.0)
        return cls(safe[:-1], float(safe[-1]))


class FittedOperator:
    """Trained networks, and the atoms that they start from.

    Args:
        spec: the operator.
        g_cut: radius of the sphere, 1/Å.
        atoms: corrections of the free atoms.
        known: what the training set held.
        scales: of inputs and answers; None without a network.
        model: the networks; None without.
        targets: names of what ``predict`` judges densities by.
    """

    def __init__(
        self,
        spec: DensityOperatorSpec,
        g_cut: float,
        atoms: AtomCorrections,
        known: Known,
        scales: Scales | None = None,
        model: Ensemble | None = None,
        targets: tuple[str, ...] = (),
    ) -> None:
        self.spec, self.g_cut, self.atoms, self.known = spec, g_cut, atoms, known
        self.scales, self.model, self.targets = scales, model, targets

    def start(self, inputs: FieldSet) -> NDArray[np.complex128]:
        """(coefficients,) e/Å³, what the networks' answers are added to."""
        if self.spec.atoms == "none":
            # The right number of electrons, spread evenly.
            return np.where(inputs.hkl.any(axis=1), 0.0, inputs.atoms).astype(np.complex128)
        return inputs.atoms + self.atoms.added(inputs)

    def channels(
        self, inputs: FieldSet, start: NDArray[np.complex128]
    ) -> NDArray[np.complexfloating]:
        """(channels, coefficients) of what networks read."""
        return np.asarray([*inputs.potentials, *([start] if self.spec.atoms != "none" else [])])

    def batcher(self, inputs: FieldSet) -> FieldBatcher:
        """The crystals on the device, in the scales of the training set."""
        assert self.scales is not None
        start = self.start(inputs)
        channels = self.channels(inputs, start) / self.scales.channels[:, None]
        return FieldBatcher(
            inputs,
            channels,
            (inputs.density - start) / self.scales.answer,
            g_cut=self.g_cut,
            n_functions=self.spec.radial_functions,
            device=pick_device(),
        )

    def densities(self, inputs: FieldSet) -> list[list[Spectrum]]:
        """The density of each crystal as each network predicts it, [network][crystal].

        The computed density in ``inputs`` is not looked at.
        """
        start = self.start(inputs)
        if self.model is None or self.scales is None:
            return [[inputs.spectrum(i, start[inputs.rows(i)]) for i in range(len(inputs))]]
        made = self.batcher(inputs)
        found = [[start[inputs.rows(i)] for i in range(len(inputs))] for _ in self._networks()]
        self.model.eval()
        with torch.no_grad(), autocast(made.device, self.spec.optimiser):
            for cells in made.batches(PREDICT_BATCH):
                answers = self.model(made.fields(cells)).float()
                for network, answer in enumerate(answers):
                    each = made.coefficients(cells, answer, inputs)
                    for cell, values in zip(cells.tolist(), each, strict=True):
                        found[network][cell] = found[network][cell] + self.scales.answer * values
        return [[inputs.spectrum(i, s) for i, s in enumerate(of_one)] for of_one in found]

    def _networks(self) -> range:
        return range(1 if self.model is None else self.model.n_networks)

    def predict(self, inputs: FieldSet) -> NDArray[np.float64]:
        """(networks, n, targets) what the predicted densities are judged by.

        The computed density in ``inputs`` is the measure of the error alone.
        """
        true = [inputs.spectrum(i) for i in range(len(inputs))]
        return np.asarray(
            [
                [observables(p, t, self.targets)[1] for p, t in zip(of_one, true, strict=True)]
                for of_one in self.densities(inputs)
            ]
        )

    def flags(self, inputs: FieldSet) -> list[str]:
        """Why each prediction is a guess beyond the training set; empty if it is none."""
        reasons = []
        for i in range(len(inputs)):
            atoms = inputs.numbers[inputs.atom_offsets[i] : inputs.atom_offsets[i + 1]]
            new = sorted({chemical_symbols[z] for z in atoms} - set(self.known.elements))
            length = float(np.linalg.norm(inputs.lattices[i], axis=1).max())
            said = [f"not trained on {', '.join(new)}"] if new else []
            if length > MUCH_LONGER * self.known.longest_angstrom:
                said.append(
                    f"a cell edge of {length:.1f} Å, the longest one trained on has "
                    f"{self.known.longest_angstrom:.1f} Å"
                )
            reasons.append("; ".join(said))
        return reasons

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that ``restore`` needs besides the settings."""
        training = {
            "elements": np.asarray(self.known.elements, dtype=str),
            "longest": np.array([self.known.longest_angstrom]),
        }
        parts: dict[str, Mapping[str, NDArray[Any]]] = {"set": training}
        parts["atoms"] = self.atoms.arrays()
        if self.model is not None and self.scales is not None:
            answer = np.array([self.scales.answer])
            parts["scales"] = {"channels": self.scales.channels, "answer": answer}
            parts["weights"] = self.model.arrays()
        return nested(**parts)


def restore(spec: DensityOperatorSpec, arrays: Mapping[str, NDArray[Any]]) -> FittedOperator:
    """The operator that ``FittedOperator.arrays`` tells."""
    held = part(arrays, "set")
    known = Known(tuple(str(e) for e in held["elements"]), float(held["longest"][0]))
    atoms = AtomCorrections.known(part(arrays, "atoms"))
    if spec.operator == "none":
        return FittedOperator(spec, atoms.g_cut, atoms, known)
    sizes = part(arrays, "scales")
    scales = Scales(sizes["channels"], float(sizes["answer"][0]))
    model = rebuilt(lambda: build(spec, len(scales.channels)), part(arrays, "weights"))
    return FittedOperator(spec, atoms.g_cut, atoms, known, scales, model.to(pick_device()))


def fit(
    spec: DensityOperatorSpec,
    fields: FieldsSpec,
    inputs: FieldSet,
    y: NDArray[np.float64],
    start: Start,
) -> FittedOperator:
    """Train on n crystals' potentials and densities.

    Args:
        spec: operator and training.
        fields: which fields there are.
        inputs: the training set.
        y: (n, targets) of the computed densities; not learned, the densities themselves are.
        start: seeds of the networks, where they keep their state, and the targets' names.

    Raises:
        DataError: fewer crystals than one.
    """
    if not len(inputs):
        raise DataError("a map from potentials to densities needs crystals to be trained on")
    atoms = AtomCorrections(fields.g_cut, {})
    if spec.atoms == "fitted":
        atoms = AtomCorrections.fitted(inputs, fields.g_cut, spec.radial_functions)
    operator = FittedOperator(spec, fields.g_cut, atoms, Known.of(inputs), targets=start.targets)
    if spec.operator != "none":
        _train(operator, inputs, y, start)
    return operator


def _train(
    operator: FittedOperator, inputs: FieldSet, y: NDArray[np.float64], start: Start
) -> None:
    """Give an operator its networks."""
    make_deterministic()
    spec, begin = operator.spec, operator.start(inputs)
    channels = operator.channels(inputs, begin)
    operator.scales = Scales.of(inputs, channels, inputs.density - begin)
    made = operator.batcher(inputs)
    model = seeded(lambda: build(spec, len(channels)), start.seeds).to(made.device)
    group = distributed.group(spec.optimiser.devices)

    def batches(epoch: int) -> Iterator[Batch]:
        state = np.random.SeedSequence([start.seeds[0], epoch]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        for cells in made.batches(spec.optimiser.batch_size, generator):
            mine = group.share(len(cells))
            chosen = cells[mine.rows]
            yield Batch(made.fields(chosen), made.answer(chosen), mine.weight)

    checkpoint = start.checkpoint((spec,), inputs, y)
    settings = {"seed": start.seeds[0], "checkpoint": checkpoint, "group": group}
    train(model, batches, sum_of_absolute_sums, spec.optimiser, **settings)
    operator.model = model
