"""What every model offers: ``fit`` makes a ``Fitted`` from descriptors and targets."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rhoflow.descriptors.base import DescriptorSet
from rhoflow.errors import ConfigError, DataError
from rhoflow.spec import Spec

if TYPE_CHECKING:
    from rhoflow.training.loop import Checkpoint


Inputs = TypeVar("Inputs", contravariant=True)


class Fitted(Protocol[Inputs]):
    """A trained model, or several that differ by their seed."""

    def predict(self, inputs: Inputs, /) -> NDArray[np.float64]:
        """(seeds, n, targets) predictions for n structures, in the units of the targets."""
        ...


class Kept(Fitted[Inputs], Protocol[Inputs]):
    """A trained network that can be kept and used again, as a descriptor say."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that its ``restore`` needs besides the settings, by flat names."""
        ...

    @property
    def vector_length(self) -> int:
        """Numbers of a structure in ``features``."""
        ...

    def features(self, inputs: Inputs, /) -> NDArray[np.float64]:
        """(n, d) what the first network's last layer reads of n structures."""
        ...


def nested(**parts: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays of several parts under flat names: PART/NAME."""
    return {f"{part}/{name}": a for part, arrays in parts.items() for name, a in arrays.items()}


def part(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """The arrays of one part of ``nested``.

    Raises:
        DataError: there is none.
    """
    found = {n.removeprefix(f"{name}/"): a for n, a in arrays.items() if n.startswith(f"{name}/")}
    if not found:
        raise DataError(f"a kept network lacks '{name}'; delete its file and run snakemake again")
    return found


@dataclass(frozen=True)
class Start:
    """What a fit is told beside its data: seeds, where trainings keep their state, extensivity.

    Attributes:
        seeds: one network each; models without randomness are fitted once, whatever the seeds.
        checkpoints: gives the checkpoint of a training by a digest of all that decides it.
        extensive: (targets,) whether each target grows with the size of a molecule; empty: none.
        targets: their names, for models that are asked for properties of what they predict.
    """

    seeds: tuple[int, ...] = (0,)
    checkpoints: "Callable[[str], Checkpoint] | None" = None
    extensive: tuple[bool, ...] = ()
    targets: tuple[str, ...] = ()

    def checkpoint(
        self, specs: Sequence[Spec], inputs: DescriptorSet, y: NDArray[np.float64]
    ) -> "Checkpoint | None":
        """Where the training of networks on these inputs and targets keeps its state."""
        if self.checkpoints is None:
            return None
        import torch

        from rhoflow.training.devices import pick_device
        from rhoflow.training.distributed import world_size

        settings: list[Any] = [spec.model_dump(mode="json") for spec in specs]
        # A training that began on another device or version would end between the two.
        machine = [torch.__version__, str(pick_device()), world_size()]
        data = [self.seeds, self.extensive, inputs.ids, inputs.fingerprint(), y.shape]
        known = json.dumps([settings, machine, data])
        return self.checkpoints(hashlib.sha256(known.encode() + y.tobytes()).hexdigest())


def devices(*models: Spec) -> int:
    """Devices of a job that trains these models; those without an optimiser need no more than one.

    Raises:
        ConfigError: two of them want different numbers. The processes of a job would wait for
            each other where only one of its networks is shared.
    """
    optimisers = [getattr(model, "optimiser", None) for model in models]
    wanted = sorted({o.devices for o in optimisers if o is not None})
    if len(wanted) > 1:
        raise ConfigError(
            f"models that one job trains ask for {' and '.join(map(str, wanted))} devices "
            "(optimiser.devices); expected the same number"
        )
    return wanted[0] if wanted else 1


class Standardiser:
    """Mean and standard deviation of the training targets, to be put back after prediction.

    Args:
        y: (n, targets).
    """

    def __init__(self, y: NDArray[np.float64]) -> None:
        self.mean = np.mean(y, axis=0)
        spread = np.std(y, axis=0)
        # A column of equal numbers has a spread of its rounding, which must not become the unit.
        varies = spread > 1e-12 * np.abs(y).max(axis=0)
        self.scale = np.where(varies, spread, 1.0)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Mean and scale, from which ``known`` makes it again."""
        return {"mean": self.mean, "scale": self.scale}

    @classmethod
    def known(cls, arrays: Mapping[str, NDArray[np.float64]]) -> "Standardiser":
        """The standardiser with this mean and this scale."""
        standardiser = cls(np.zeros((1, len(arrays["mean"]))))
        standardiser.mean, standardiser.scale = arrays["mean"], arrays["scale"]
        return standardiser

    def forward(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Targets with zero mean and unit variance over the training set."""
        return (y - self.mean) / self.scale

    def inverse(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, targets) back to the original units."""
        return z * self.scale + self.mean
