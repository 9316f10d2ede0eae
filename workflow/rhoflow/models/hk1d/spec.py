"""Settings of the map from potentials to densities and of its orbital-free peer."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rhoflow.spec import Spec

EnergyPart = Literal["kinetic", "pauli", "whole"]

# Functions of the published bases; a grid has one a point.
PUBLISHED = {"fourier": 200, "cosine": 200, "principal": 25}


class HKMapSpec(Spec):
    """Kernel ridge from the potential to the density, and from the density to the energy."""

    kind: Literal["hk_map"] = "hk_map"
    algorithm: Literal[1] = 1
    basis: Literal["grid", "fourier", "cosine", "principal"] = Field(
        default="principal",
        description="What the density is predicted in: its values on the grid; plane waves that "
        "repeat with the box (the paper), whose sum does not keep the density's form at the walls; "
        "cosines of half their wave numbers, which do; principal components of the training "
        "densities (the paper takes those of a kernel).",
    )
    functions: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Functions of the basis, not for grid; null: 200 waves or cosines, or 25 "
        "principal components (the paper). Of these there are fewer than training densities.",
    )
    coefficients: Literal["together", "each"] = Field(
        default="together",
        description="Width and ridge of the kernel: one pair for the whole density, by the norm of "
        "its leave-one-out error, or a pair for each coefficient (the paper).",
    )
    energy: EnergyPart = Field(
        default="kinetic",
        description="What is learned of the density: the kinetic energy, to which ∫ n v is added "
        "(the paper in one dimension); only what it has beyond von Weizsäcker's, which is nothing "
        "for one particle (pauli); or the energy as a whole (the paper for molecules).",
    )

    @model_validator(mode="after")
    def _grid_has_its_points(self) -> Self:
        if self.basis == "grid" and self.functions is not None:
            raise ValueError("functions: a grid has one a point; leave it out or change basis")
        return self


class OrbitalFreeSpec(Spec):
    """Kernel ridge from the density to the kinetic energy, and descent to the least energy."""

    kind: Literal["orbital_free"] = "orbital_free"
    algorithm: Literal[1] = 1
    neighbours: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Nearest training densities, from which a step takes its directions; all, if "
        "there are fewer.",
    )
    directions: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Principal directions from a density to its neighbours, along which a step "
        "goes; others are noise. null: the best of 1 to 6 by cross-validation in the training set.",
    )
    max_steps: int = Field(default=500, ge=1, le=100_000, description="Steps of a descent at most.")

    @model_validator(mode="after")
    def _neighbours_span(self) -> Self:
        if self.directions and self.directions > self.neighbours:
            raise ValueError(
                f"got directions {self.directions} from neighbours {self.neighbours}; expected no "
                "more directions than neighbours"
            )
        return self
