"""A density as a uniform 3D image, which a convolutional network reads as it stands.

Chen et al., arXiv 2510.13207 (2025), bring the grids of CHGCAR files to one shape and read them
with a multi-scale attention 3D network (MSA-3DCNN); their number of voxels and their way of
resampling are not public. Here an image is summed up from Fourier coefficients,

    ρ(r) = Σ_g s(g) exp(i g·r),

so that nothing is interpolated and shifts of the origin are exact. What is stored are the
coefficients that the image can hold; ``rhoflow.descriptors.resample`` makes images of them on the
device that trains the network, in a new pose each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from rhoflow.density.cells import in_axes, niggli_axes
from rhoflow.density.spectrum import RIM, Spectrum, require_reach
from rhoflow.descriptors.base import digest, taken_rows
from rhoflow.descriptors.r3dvs import aligned
from rhoflow.errors import DataError
from rhoflow.spec import Spec

Field3D = Literal["density", "potential"]


class ImageSpec(Spec):
    """Which points of space an image shows, and of which fields."""

    kind: Literal["density_image"] = "density_image"
    algorithm: Literal[1] = 1
    channels: tuple[Field3D, ...] = Field(
        default=("density",),
        min_length=1,
        description="Fields that an image shows: density (valence density, e/Å³; the paper), "
        "potential (the engine's local potential, eV).",
    )
    frame: Literal["cell", "box"] = Field(
        default="cell",
        description="cell: points uniform in fractional coordinates of the Niggli cell, which "
        "forgets its size and shape (the paper); box: points of a Cartesian cube of "
        "`length_angstrom` in true scale, filled by the periodic crystal.",
    )
    edge: int = Field(default=24, ge=4, le=128, description="Voxels along an edge of the image.")
    length_angstrom: float = Field(
        default=9.6,
        gt=0.5,
        le=200,
        description="Edge of the cube in Å (`frame: box`); it shows wave vectors up to "
        "π·edge/length, which the stored densities must reach.",
    )
    poses: Literal["random", "given"] = Field(
        default="random",
        description="What replicas are: random origins, and in a box random rotations too; or "
        "given: origin and orientation of the stored cell alone.",
    )

    @property
    def g_needed(self) -> float:
        """Radius (1/Å) up to which densities must be known.

        A box takes the sphere below the Nyquist frequency π n/L of its grid, so that no rotation
        changes what is taken. A cell takes whatever its grid holds; beyond the radius at which a
        spectrum ends its image is padded with zeros, the exact values of the density that is
        stored on a finer grid.
        """
        return float(np.pi * self.edge / self.length_angstrom) if self.frame == "box" else 0.0

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """Voxels along each axis of what a network sees."""
        return (self.edge, self.edge, self.edge)

    @field_validator("channels")
    @classmethod
    def _each_once(cls, value: tuple[Field3D, ...]) -> tuple[Field3D, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"each of {', '.join(get_args(Field3D))} at most once")
        return value


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Fourier coefficients of several crystals' fields, one Friedel half each, concatenated.

    Attributes:
        ids: (n,) material ids.
        offsets: (n + 1,) int64; coefficients of structure i are offsets[i]:offsets[i + 1].
        hkl: (coefficients, 3) int16, Miller indices.
        coefficients: (channels, coefficients) complex64, e/Å³ of the density, eV of the potential.
        lattices: (n, 3, 3) float64, Å; rows are the lattice vectors that the indices refer to.
    """

    ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    hkl: NDArray[np.int16]
    coefficients: NDArray[np.complex64]
    lattices: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.ids)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> "ImageSet":
        """The structures at the given positions, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        offsets, rows = taken_rows(self.offsets, chosen)
        return ImageSet(
            ids=tuple(self.ids[i] for i in chosen),
            offsets=offsets,
            hkl=self.hkl[rows],
            coefficients=self.coefficients[:, rows],
            lattices=self.lattices[chosen],
        )

    def fingerprint(self) -> str:
        """A digest of all values."""
        return digest(self.offsets, self.hkl, self.coefficients, self.lattices)


def images(
    spectra: Mapping[str, Spectrum],
    spec: ImageSpec,
    *,
    potentials: Mapping[str, Spectrum] | None = None,
) -> ImageSet:
    """The coefficients of each density that its image holds, and those of the other fields.

    Left out is what the grid cannot hold: |h_i| ≥ n/2 in a cell, |g| > π n/L in a box. So nothing
    is folded back onto other frequencies, and a shift of the origin shows nothing new.

    Args:
        spectra: densities by material id.
        spec: the points and the channels.
        potentials: local potentials of the same materials; for the channel potential.

    Raises:
        DataError: a spectrum does not reach what a box shows, holds values that are not finite,
            or a material has no potential.
    """
    hkl = [np.zeros((0, 3), dtype=np.int16)]
    coefficients = [np.zeros((len(spec.channels), 0), dtype=np.complex64)]
    lattices = []
    for name, spectrum in spectra.items():
        require_reach(spectrum, spec.g_needed, name)
        lattice, indices, values = _held(spectrum, _fields(name, spectrum, spec, potentials), spec)
        lattices.append(lattice)
        hkl.append(indices)
        coefficients.append(values.astype(np.complex64))
    return ImageSet(
        ids=tuple(spectra),
        offsets=np.cumsum([len(part) for part in hkl], dtype=np.int64),
        hkl=np.concatenate(hkl),
        coefficients=np.concatenate(coefficients, axis=1),
        lattices=np.asarray(lattices, dtype=np.float64).reshape(-1, 3, 3),
    )


def _fields(
    name: str, spectrum: Spectrum, spec: ImageSpec, potentials: Mapping[str, Spectrum] | None
) -> NDArray[np.complexfloating]:
    """(channels, m) coefficients of the fields at the indices of the density."""
    fields = {
        "density": lambda: spectrum.coefficients,
        "potential": lambda: aligned(name, (potentials or {}).get(name), spectrum.hkl),
    }
    values = np.asarray([fields[channel]() for channel in spec.channels])
    wrong = [c for c, v in zip(spec.channels, values, strict=True) if not np.isfinite(v).all()]
    if wrong:
        raise DataError(
            f"{name}: its {' and '.join(wrong)} holds Fourier coefficients that are not finite, "
            "expected finite numbers; delete the files of its shard and run snakemake again"
        )
    return values


def _held(
    spectrum: Spectrum, values: NDArray[np.complexfloating], spec: ImageSpec
) -> tuple[NDArray[np.float64], NDArray[np.int16], NDArray[np.complexfloating]]:
    """Lattice (3, 3), indices (k, 3) and values (channels, k) of the coefficients that are held."""
    lattice, hkl = spectrum.lattice, spectrum.hkl
    if spec.frame == "cell":
        axes = niggli_axes(lattice)
        lattice, (hkl, values) = axes @ lattice, in_axes(hkl, values, axes)
        keep = (np.abs(hkl) <= (spec.edge - 1) // 2).all(axis=1)
    else:
        keep = np.linalg.norm(spectrum.g_vectors(), axis=1) <= spec.g_needed * RIM
    return lattice, hkl[keep], values[:, keep]
