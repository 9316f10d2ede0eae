"""The engines' specs, told apart by ``kind``."""

from typing import Annotated

from pydantic import Field

from rhoflow.dft.archive import ArchiveSpec
from rhoflow.dft.given import GivenSpec
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.outputs import OutputsSpec
from rhoflow.dft.pyscf import PySCFSpec
from rhoflow.dft.vasp import VaspSpec

OfCrystals = ArchiveSpec | GPAWSpec | OutputsSpec | VaspSpec
OfMolecules = GivenSpec | PySCFSpec
EngineSpec = Annotated[OfCrystals | OfMolecules, Field(discriminator="kind")]
