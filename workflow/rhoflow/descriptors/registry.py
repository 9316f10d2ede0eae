"""Descriptors by kind."""

from typing import Annotated

from pydantic import Field

from rhoflow.descriptors.composition import CompositionSpec
from rhoflow.descriptors.coulomb import CoulombSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec
from rhoflow.descriptors.soap import SOAPSpec

DescriptorSpec = Annotated[
    R3DVSSpec | R3DVSPowerSpec | SOAPSpec | CoulombSpec | CompositionSpec,
    Field(discriminator="kind"),
]
