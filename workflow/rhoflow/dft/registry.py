"""The engines' specs, told apart by ``kind``."""

from typing import Annotated

from pydantic import Field

from rhoflow.dft.archive import ArchiveSpec
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.outputs import OutputsSpec
from rhoflow.dft.vasp import VaspSpec

EngineSpec = Annotated[ArchiveSpec | GPAWSpec | OutputsSpec | VaspSpec, Field(discriminator="kind")]
