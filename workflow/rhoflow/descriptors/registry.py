"""Descriptors by kind."""

from typing import Annotated

from pydantic import Field

from rhoflow.descriptors.composition import CompositionSpec
from rhoflow.descriptors.coulomb import CoulombSpec
from rhoflow.descriptors.geometry import GeometrySpec
from rhoflow.descriptors.image import ImageSpec
from rhoflow.descriptors.molecular import AtomCountsSpec, MBTRSpec, MoleculeSOAPSpec
from rhoflow.descriptors.pretrained import PretrainedSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec
from rhoflow.descriptors.soap import SOAPSpec
from rhoflow.descriptors.wells import SolvedWellsSpec, WellsPotentialSpec

OfCrystals = R3DVSSpec | R3DVSPowerSpec | ImageSpec | SOAPSpec | CoulombSpec | CompositionSpec
OfMolecules = GeometrySpec | AtomCountsSpec | MBTRSpec | MoleculeSOAPSpec | PretrainedSpec
OfWells = SolvedWellsSpec | WellsPotentialSpec
DescriptorSpec = Annotated[OfCrystals | OfMolecules | OfWells, Field(discriminator="kind")]
