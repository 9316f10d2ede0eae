"""Settings of the operators and of their training."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rhoflow.spec import Spec
from rhoflow.training.spec import OptimiserSpec


class DensityOperatorSpec(Spec):
    """A map from potentials to the density."""

    kind: Literal["density_operator"] = "density_operator"
    algorithm: Literal[1] = 1
    operator: Literal["spectral", "convolution", "none"] = Field(
        default="spectral",
        description="spectral: products of Fourier coefficients with learned functions of |g|; "
        "convolution: filters on neighbouring points of the grid; none: no network, what the atoms "
        "alone give.",
    )
    atoms: Literal["none", "free", "fitted"] = Field(
        default="fitted",
        description="What the network starts from, and reads beside the potential: nothing; free "
        "atoms put side by side; or atoms whose form factors were fitted to the training "
        "densities (an element that is not among them stays a free atom).",
    )
    fields: int = Field(default=16, ge=1, le=512, description="Hidden fields.")
    layers: int = Field(default=3, ge=1, le=16, description="Layers of hidden fields.")
    filters: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Filters of each field in a layer of the spectral operator.",
    )
    radial_functions: int = Field(
        default=8,
        ge=2,
        le=64,
        description="Gaussians of |g|, evenly spaced up to g_cut, that a filter is made of; and "
        "those of a fitted form factor.",
    )
    gradients: bool = Field(
        default=True,
        description="Let the spectral operator see lengths of gradients, which tell directions "
        "between neighbours apart without knowing the axes.",
    )
    kernel_size: Literal[3, 5, 7] = Field(
        default=3, description="Edge of the convolution's filters in points of the grid."
    )
    optimiser: OptimiserSpec = Field(
        default_factory=lambda: OptimiserSpec(epochs=30, batch_size=4, learning_rate=1e-2),
        description="Adam and its schedule; a batch holds cells of one grid.",
    )

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if self.operator == "none" and self.atoms == "none":
            raise ValueError("operator none needs atoms: without both there is no density")
        return self
