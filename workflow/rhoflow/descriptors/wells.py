"""Wells in a box as models read them: solved, or their potentials as vectors."""

from typing import Literal

from rhoflow.spec import Spec


class SolvedWellsSpec(Spec):
    """Potentials, and of those trained on their densities too, for maps between the two."""

    kind: Literal["wells"] = "wells"
    algorithm: Literal[1] = 1


class WellsPotentialSpec(Spec):
    """The potential on its grid as a vector, Ha, for models that know of no densities."""

    kind: Literal["wells_potential"] = "wells_potential"
    algorithm: Literal[1] = 1
