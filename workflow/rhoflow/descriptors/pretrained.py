"""What a trained network's last layer reads, as a descriptor of other structures.

The quantum deep descriptor of Tsubaki and Mizoguchi, J. Chem. Theory Comput. 17, 7814 (2021), is
that of a quantum deep field; any network that is kept can serve.
"""

from typing import Literal

from pydantic import Field

from rhoflow.spec import Spec


class PretrainedSpec(Spec):
    """Vectors by a network of another study, its weights frozen."""

    kind: Literal["pretrained"] = "pretrained"
    algorithm: Literal[1] = 1
    study: str = Field(description="Name of the study in which the network was trained.")
    arm: str = Field(description="Its arm, one with `keep`.")
