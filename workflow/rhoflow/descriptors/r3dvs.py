"""R3DVS, the reciprocal 3D voxel space descriptor.

Kajita, Ohba, Jinnouchi and Asahi, Sci. Rep. 7, 16991 (2017). A crystal's density becomes the
set of its reciprocal spots (g, |s(g)|) inside a sphere; the spots, rotated at will about g = 0,
are deposited on a cube of voxels that is the same for every crystal. What is stored are the
spots; ``rhoflow.descriptors.voxels`` deposits them on the device that trains the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rhoflow.density.spectrum import RIM, Spectrum, require_reach
from rhoflow.spec import Spec


class SpotsSpec(Spec):
    """Which spots a crystal keeps."""

    algorithm: Literal[1] = 1
    resolution_angstrom: float = Field(
        default=0.4, gt=0.05, le=5, description="Real-space resolution δL* in Å; g_cut = π/δL*."
    )

    @property
    def g_cut(self) -> float:
        """Radius of the sphere of spots, 1/Å."""
        return float(np.pi / self.resolution_angstrom)


class R3DVSSpec(SpotsSpec):
    """Which spots a crystal keeps, and how they become voxels."""

    kind: Literal["r3dvs"] = "r3dvs"
    length_angstrom: float = Field(
        default=12.8,
        gt=0.5,
        le=200,
        description="Length L* in Å; voxel pitch |b*| = 2π/L*.",
    )
    deposit: Literal["nearest", "linear"] = Field(
        default="nearest",
        description="Spot to voxels: all to the voxel it falls into (the paper), or shared "
        "linearly among the eight around it.",
    )
    value: Literal["amplitude", "squared"] = Field(
        default="amplitude", description="What a spot deposits: |s| (the paper) or |s|²."
    )
    per: Literal["volume", "atom"] = Field(
        default="volume",
        description="s(g) per volume as it stands in e/Å³ (the paper), or times V/n_atoms.",
    )

    @model_validator(mode="after")
    def _whole_voxels(self) -> "R3DVSSpec":
        ratio = self.length_angstrom / self.resolution_angstrom
        if abs(ratio - round(ratio)) > 1e-6 or not 4 <= round(ratio) <= 256:
            raise ValueError(
                "length_angstrom / resolution_angstrom is the number of voxels along an edge: "
                f"got {ratio:.4g}, expected a whole number from 4 to 256"
            )
        return self

    def spots_spec(self) -> SpotsSpec:
        """The part that decides which spots are kept."""
        return SpotsSpec(algorithm=self.algorithm, resolution_angstrom=self.resolution_angstrom)

    @property
    def pitch(self) -> float:
        """Edge of a voxel |b*|, 1/Å."""
        return float(2 * np.pi / self.length_angstrom)

    @property
    def n_voxels(self) -> int:
        """Voxels along an edge of the cube."""
        return round(self.length_angstrom / self.resolution_angstrom)


@dataclass(frozen=True, eq=False)
class SpotSet:
    """Reciprocal spots of several crystals, one Friedel half each, concatenated.

    Attributes:
        ids: (n,) material ids.
        offsets: (n + 1,) int64; spots of structure i are offsets[i]:offsets[i + 1].
        g: (spots, 3) float32, 1/Å.
        amplitude: (spots,) float32, |s(g)| in e/Å³.
        volume_per_atom: (n,) float64, Å³.
    """

    ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    g: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    volume_per_atom: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.ids)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> "SpotSet":
        """The structures at the given positions, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        starts, lengths = self.offsets[chosen], np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        spots = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return SpotSet(
            ids=tuple(self.ids[i] for i in chosen),
            offsets=offsets,
            g=self.g[spots],
            amplitude=self.amplitude[spots],
            volume_per_atom=self.volume_per_atom[chosen],
        )


def spots(spectra: Mapping[str, Spectrum], spec: SpotsSpec) -> SpotSet:
    """Spots |s(g)| with |g| ≤ g_cut of each density.

    Args:
        spectra: densities by material id.
        spec: the radius of the sphere.

    Raises:
        DataError: a spectrum does not reach g_cut.
    """
    g, coefficients = [np.zeros((0, 3), np.float32)], [np.zeros(0, np.complex64)]
    for name, spectrum in spectra.items():
        require_reach(spectrum, spec.g_cut, name)
        vectors = spectrum.g_vectors()  # (n, 3), double: equal cells round to equal spots
        squared = np.einsum("ij,ij->i", vectors, vectors)
        keep = np.flatnonzero(squared <= (spec.g_cut * RIM) ** 2)
        g.append(vectors[keep].astype(np.float32))
        coefficients.append(spectrum.coefficients[keep])
    lengths = [len(a) for a in g[1:]]
    return SpotSet(
        ids=tuple(spectra),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        g=np.concatenate(g),
        amplitude=np.abs(np.concatenate(coefficients)),
        volume_per_atom=np.asarray([s.volume / s.n_atoms for s in spectra.values()]),
    )
