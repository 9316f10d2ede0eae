"""Settings of kernel ridge regression."""

from typing import Literal

from pydantic import Field

from rhoflow.spec import Spec


class KRRSpec(Spec):
    """Kernel ridge regression."""

    kind: Literal["krr"] = "krr"
    algorithm: Literal[4] = 4
    kernel: Literal["linear", "gaussian", "matern", "laplacian"] = Field(
        default="linear",
        description="linear: the dot product of descriptors less their mean, which is ridge "
        "regression with an intercept (SOAP's average kernel is such a product); "
        "gaussian: exp(-d²/2w²); matern: (1 + √3 d/w) exp(-√3 d/w); laplacian: exp(-d/w) with the "
        "sum of absolute differences for d.",
    )
    ridge: float = Field(default=1.0, gt=0, le=1e6, description="Added to the kernel's diagonal.")
    width: float | None = Field(
        default=None,
        gt=0,
        description="Width w of the kernel, in units of the descriptor; null: the median distance "
        "of the training structures.",
    )
    tuned: bool = Field(
        default=False,
        description="Choose ridge and width for each target by the smallest mean absolute "
        "leave-one-out error on the training set; `ridge` and `width` then only scale the choice.",
    )
    standardise_inputs: bool = Field(
        default=False, description="Scale each component to zero mean and unit variance first."
    )
