"""Settings of the quantum deep field and of the graph convolution that it is compared with."""

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rhoflow.spec import Spec
from rhoflow.training.spec import OptimiserSpec

# Points grow with the cube: 20 are 34,000 an atom.
MAX_STEPS = 20

Pooling = Literal["by_target", "sum", "mean"]

POOLING = (
    "How points or atoms add up to a molecule: the sum for targets that grow with its size and the "
    "mean for others (by_target), or one of them for all targets."
)
STANDARDISE = (
    "Train on targets of unit spread. From those that grow with the size, the best sum of one "
    "constant an element is taken first; from others, the mean. The paper trains on eV as they are."
)


class QDFSpec(Spec):
    """The quantum deep field as published; every switch below `optimiser` departs from it."""

    kind: Literal["qdf"] = "qdf"
    algorithm: Literal[1] = 1
    dimension: int = Field(default=250, ge=1, le=4096, description="Molecular orbitals.")
    functional_layers: int = Field(
        default=3, ge=1, le=16, description="Hidden layers of the energy functional."
    )
    map_dimension: int = Field(
        default=250, ge=1, le=4096, description="Units of the Hohenberg-Kohn map's layers."
    )
    map_layers: int = Field(
        default=3, ge=1, le=16, description="Hidden layers of the Hohenberg-Kohn map."
    )
    basis: Literal["6-31G", "6-31G(d)"] = Field(
        default="6-31G",
        description="Which functions an atom has, H to Ar: their number and kinds are those of "
        "the basis set of this name, their exponents are learned.",
    )
    sphere_angstrom: float = Field(
        default=0.75, gt=0, le=5, description="Radius of the sphere of points around each atom, Å."
    )
    grid_angstrom: float = Field(
        default=0.3, ge=0.02, le=2, description="Distance between points within a sphere, Å."
    )
    pooling: Pooling = Field(default="by_target", description=POOLING)
    optimiser: OptimiserSpec = Field(
        default_factory=lambda: OptimiserSpec(
            epochs=2000, batch_size=4, learning_rate=1e-4, halve_every=200
        ),
        description="Adam and its schedule; every batch is one step for the targets and one for "
        "the potential.",
    )
    radial: Literal["gaussian", "slater"] = Field(
        default="gaussian",
        description="Decay of an atomic orbital: exp(-zeta d²) (the paper) or exp(-zeta d).",
    )
    angular: bool = Field(
        default=False,
        description="Give p and d functions their angular part, about a direction that is learned "
        "from the atom's neighbours; the paper keeps the radial part alone.",
    )
    potential: Literal["gaussian", "coulomb", "pseudo"] = Field(
        default="gaussian",
        description="External potential that the density is mapped to: -Z exp(-d²) (the paper), "
        "-Z / d, or -Z_v erf(d / width) / d of valence charges alone; with the last one, only "
        "valence electrons are counted.",
    )
    potential_width_angstrom: float = Field(
        default=0.5, gt=0, le=5, description="Width of `pseudo`, Å."
    )
    quadrature: Literal["unit", "volume"] = Field(
        default="unit",
        description="What a point counts in every sum: 1 (the paper), or 1 over the number of "
        "spheres that hold it, so that space in several spheres counts once.",
    )
    standardise: bool = Field(default=False, description=STANDARDISE)

    @model_validator(mode="after")
    def _sphere_holds_points(self) -> Self:
        """Refuse a grid with no points in a sphere, or with more than a machine takes."""
        steps = self.sphere_angstrom / self.grid_angstrom
        if steps > MAX_STEPS or not len(sphere(self)):
            raise ValueError(
                f"got sphere_angstrom {self.sphere_angstrom:g} and grid_angstrom "
                f"{self.grid_angstrom:g}; expected a sphere of 1 to {MAX_STEPS} grid distances"
            )
        return self


def sphere(spec: QDFSpec) -> NDArray[np.float64]:
    """(n, 3) points around an atom, Å: a cubic lattice that starts at minus the radius.

    The atom itself is none of them, although the lattice may hold it.
    """
    radius, step = spec.sphere_angstrom, spec.grid_angstrom
    axis = np.arange(-radius, radius + 1e-3, step)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(points, axis=1)
    return points[(distance <= radius + 1e-9) & (distance > 1e-9)]


class GCNSpec(Spec):
    """A graph convolution over atoms; one linear layer is an LCAO evaluated at the nuclei."""

    kind: Literal["gcn"] = "gcn"
    algorithm: Literal[1] = 1
    dimension: int = Field(default=250, ge=1, le=4096, description="Features of an atom.")
    depth: int = Field(default=1, ge=1, le=16, description="Convolutions, one after the other.")
    nonlinear: bool = Field(
        default=False, description="A ReLU in every convolution; false: they are linear."
    )
    functions: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Gaussians of an element, each with weights and an exponent of its own.",
    )
    learned_exponents: bool = Field(
        default=True, description="Learn the exponents of exp(-zeta d²); false: all are 1."
    )
    normalise: bool = Field(
        default=True,
        description="After every convolution, give each feature the norm over a molecule that an "
        "orbital of the quantum deep field has, sqrt(electrons / dimension).",
    )
    functional_layers: int = Field(
        default=3, ge=1, le=16, description="Hidden layers between atoms and properties."
    )
    pooling: Pooling = Field(default="by_target", description=POOLING)
    optimiser: OptimiserSpec = Field(
        default_factory=lambda: OptimiserSpec(
            epochs=2000, batch_size=4, learning_rate=1e-4, halve_every=200
        ),
        description="Adam and its schedule.",
    )
    standardise: bool = Field(default=False, description=STANDARDISE)
