"""Settings of graph networks."""

from typing import Annotated, Literal

from pydantic import Field

from rhoflow.spec import Spec
from rhoflow.training.spec import OptimiserSpec

Units = Annotated[int, Field(ge=1, le=4096)]

Nodes = Literal["properties", "element", "published"]


class GraphSpec(Spec):
    """Convolutions over the graph of a crystal, what they add up to, and dense layers."""

    kind: Literal["graph"] = "graph"
    algorithm: Literal[1] = 1
    layer: Literal["cgcnn", "graph_conv"] = Field(
        default="cgcnn",
        description="cgcnn: a neighbour speaks through a gate that reads both atoms and their "
        "distance (Xie and Grossman 2018); graph_conv: neighbours are added up, each with a weight "
        "that follows from its distance (arXiv 2511.15222).",
    )
    nodes: Nodes = Field(
        default="properties",
        description="What an atom is at first: properties, 10 of its element; published, 4 of them "
        "(atomic number, electronegativity, mass, radius: arXiv 2511.15222); element, a vector of "
        "its own for each element of the training set, which knows no other.",
    )
    width: int = Field(default=64, ge=1, le=4096, description="Numbers that describe an atom.")
    depth: int = Field(default=3, ge=1, le=16, description="Convolutions, one after the other.")
    gaussians: int = Field(
        default=41,
        ge=2,
        le=512,
        description="Gaussians, evenly spaced from 0 to the descriptor's cutoff, that tell a "
        "distance to a layer cgcnn; as wide as they are apart.",
    )
    weight: Literal["distance", "near"] = Field(
        default="distance",
        description="Weight of a neighbour in a layer graph_conv: distance, 0 for the shortest of "
        "the training set and 1 for the longest (the paper); near, from 1 at no distance along a "
        "half cosine to 0 at the cutoff.",
    )
    aggregate: Literal["add", "mean"] = Field(
        default="add",
        description="What an atom hears: the sum of what its neighbours say (both papers), or the "
        "mean, which does not tell their number.",
    )
    pooling: Literal["mean", "max"] = Field(
        default="mean",
        description="What atoms are to their crystal: the mean of each number, or the largest; "
        "either is the same for a supercell.",
    )
    dense: tuple[Units, ...] = Field(
        default=(128,), max_length=4, description="Units of dense layers after pooling."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before dense layers.")
    output: Literal["linear", "sigmoid"] = Field(
        default="linear",
        description="linear: standardised targets; sigmoid: targets from 0 to 1, the least and the "
        "largest of the training set, beyond which nothing is predicted (arXiv 2511.15222).",
    )
    optimiser: OptimiserSpec = Field(
        default_factory=lambda: OptimiserSpec(
            epochs=100, batch_size=32, learning_rate=3e-3, weight_decay=0.01
        ),
        description="Adam and its schedule.",
    )
