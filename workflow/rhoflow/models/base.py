"""What every model offers: ``fit`` makes a ``Fitted`` from descriptors and targets."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rhoflow.descriptors.base import DescriptorSet
from rhoflow.errors import ConfigError
from rhoflow.spec import Spec

if TYPE_CHECKING:
    from rhoflow.training.loop import Checkpoint


Inputs = TypeVar("Inputs", contravariant=True)


class Fitted(Protocol[Inputs]):
    """A trained model, or several that differ by their seed."""

    def predict(self, inputs: Inputs, /) -> NDArray[np.float64]:
        """(seeds, n, targets) predictions for n structures, in the units of the targets."""
        ...


@dataclass(frozen=True)
class Start:
    """How a fit begins: the seeds of its networks, and where trainings keep their state.

    Attributes:
        seeds: one network each; models without randomness are fitted once, whatever the seeds.
        checkpoints: gives the checkpoint of a training by a digest of all that decides it.
    """

    seeds: tuple[int, ...] = (0,)
    checkpoints: "Callable[[str], Checkpoint] | None" = None

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
        data = [self.seeds, inputs.ids, inputs.fingerprint(), y.shape]
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

    def forward(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Targets with zero mean and unit variance over the training set."""
        return (y - self.mean) / self.scale

    def inverse(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, targets) back to the original units."""
        return z * self.scale + self.mean
