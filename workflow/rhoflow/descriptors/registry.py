"""Descriptors by kind."""

from typing import Annotated

from pydantic import Field

from rhoflow.descriptors.composition import CompositionSpec
from rhoflow.descriptors.coulomb import CoulombSpec
from rhoflow.descriptors.fields import FieldsSpec
from rhoflow.descriptors.geometry import GeometrySpec
from rhoflow.descriptors.graph import CrystalGraphSpec
from rhoflow.descriptors.image import ImageSpec
from rhoflow.descriptors.molecular import AtomCountsSpec, MBTRSpec, MoleculeSOAPSpec
from rhoflow.descriptors.pretrained import PretrainedSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec
from rhoflow.descriptors.soap import SOAPSpec
from rhoflow.descriptors.wells import SolvedWellsSpec, WellsPotentialSpec
from rhoflow.spec import Spec

OfDensities = R3DVSSpec | R3DVSPowerSpec | ImageSpec | FieldsSpec
OfCrystals = OfDensities | CrystalGraphSpec | SOAPSpec | CoulombSpec | CompositionSpec
OfMolecules = GeometrySpec | AtomCountsSpec | MBTRSpec | MoleculeSOAPSpec | PretrainedSpec
OfWells = SolvedWellsSpec | WellsPotentialSpec
DescriptorSpec = Annotated[OfCrystals | OfMolecules | OfWells, Field(discriminator="kind")]


def made_of(descriptor: Spec) -> tuple[str, ...]:
    """What the data set of a descriptor may hold."""
    if isinstance(descriptor, FieldsSpec):
        return ("crystals", "molecules")
    if isinstance(descriptor, OfWells):
        return ("wells",)
    return ("molecules",) if isinstance(descriptor, OfMolecules) else ("crystals",)
