"""Settings of kernel ridge regression."""

from typing import Literal

from pydantic import Field

from rhoflow.spec import Spec


class KRRSpec(Spec):
    """Kernel ridge regression."""

    kind: Literal["krr"] = "krr"
    algorithm: Literal[1] = 1
    kernel: Literal["linear", "gaussian"] = Field(
        default="linear",
        description="linear: the dot product of descriptors (SOAP's average kernel is one); "
        "gaussian: exp(-|x-x'|²/2w²).",
    )
    ridge: float = Field(default=1.0, gt=0, le=1e6, description="Added to the kernel's diagonal.")
    width: float | None = Field(
        default=None,
        gt=0,
        description="Width w of the Gaussian kernel, in units of the descriptor; null: the median "
        "distance of the training structures.",
    )
    standardise_inputs: bool = Field(
        default=False, description="Scale each component to zero mean and unit variance first."
    )
