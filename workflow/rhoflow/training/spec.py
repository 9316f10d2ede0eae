"""How networks are optimised."""

from typing import Literal

from pydantic import Field

from rhoflow.spec import Spec


class OptimiserSpec(Spec):
    """How a network is optimised: Adam, its learning rate on a half cosine or halved in steps."""

    epochs: int = Field(default=60, ge=1, le=100_000, description="Passes over the training set.")
    batch_size: int = Field(default=64, ge=1, le=65_536, description="Samples a step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="First learning rate.")
    final_rate: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="Last learning rate as a share of the first, at the end of a half cosine.",
    )
    halve_every: int | None = Field(
        default=None,
        ge=1,
        description="Epochs after which the learning rate is halved, again and again; null: it "
        "falls along a half cosine to `final_rate`.",
    )
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="Weight decay (AdamW).")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Arithmetic of convolutions and products; weights and sums stay float32. "
        "bfloat16 is faster on devices that have units for it.",
    )
    compiled: bool = Field(
        default=False, description="Compile the network with torch.compile before training."
    )
    devices: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Devices of one job that share every batch, for a training that is too long "
        "for one; numbers differ from one device's in rounding.",
    )
