"""Models by kind: which spec belongs to which fit, and which descriptors it reads."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rhoflow.descriptors.base import DescriptorSet, VectorSet
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.registry import DescriptorSpec
from rhoflow.errors import ConfigError
from rhoflow.evaluation.protocol import LearningCurveSpec
from rhoflow.models import mean
from rhoflow.models.base import Fitted
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.spec import Spec

ModelSpec = Annotated[CNN3DSpec | KRRSpec | mean.MeanSpec, Field(discriminator="kind")]


def reads_spots(model: Spec) -> bool:
    """True if the model reads reciprocal spots, False if it reads vectors of any kind."""
    return isinstance(model, CNN3DSpec)


def is_random(model: Spec) -> bool:
    """True if two fits to the same data differ by their seed."""
    return isinstance(model, CNN3DSpec)


class ArmTraining(Spec):
    """All that the training job of an arm needs to know."""

    descriptor: DescriptorSpec
    model: ModelSpec
    protocol: LearningCurveSpec

    @property
    def n_seeds(self) -> int:
        """Networks to average; a model without randomness is fitted once."""
        return self.protocol.seeds if is_random(self.model) else 1


def fit(
    model: Spec,
    descriptor: Spec,
    inputs: DescriptorSet,
    y: NDArray[np.float64],
    *,
    seed: int,
) -> Fitted:
    """Fit the model that the spec describes to (n,) targets.

    Raises:
        ConfigError: the model cannot read this descriptor.
    """
    match model, inputs:
        case CNN3DSpec(), SpotSet() if isinstance(descriptor, R3DVSSpec):
            # torch is imported when a network is trained, not when the config is read.
            from rhoflow.models.cnn3d.fit import fit as fit_cnn3d

            return fit_cnn3d(model, descriptor, inputs, y, seed=seed)
        case KRRSpec(), VectorSet():
            from rhoflow.models.krr.fit import fit as fit_krr

            return fit_krr(model, inputs, y, seed=seed)
        case mean.MeanSpec(), _:
            return mean.fit(model, inputs, y, seed=seed)
        case _:
            raise ConfigError(
                f"a model of kind '{getattr(model, 'kind', '?')}' cannot read a descriptor of kind "
                f"'{getattr(descriptor, 'kind', '?')}'"
            )
