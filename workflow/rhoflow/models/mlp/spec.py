"""Settings of the dense network."""

from typing import Annotated, Literal

from pydantic import Field

from rhoflow.spec import Spec
from rhoflow.training.spec import OptimiserSpec

Units = Annotated[int, Field(ge=1, le=4096)]


class MLPSpec(Spec):
    """A dense network on vectors whose components are standardised."""

    kind: Literal["mlp"] = "mlp"
    algorithm: Literal[2] = 2
    hidden: tuple[Units, ...] = Field(
        default=(64, 64), max_length=8, description="Units of each hidden layer."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout after each hidden layer.")
    optimiser: OptimiserSpec = Field(
        default_factory=lambda: OptimiserSpec(epochs=300, batch_size=32, weight_decay=0.01),
        description="Adam and its schedule.",
    )
