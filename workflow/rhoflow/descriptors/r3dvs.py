"""R3DVS, the reciprocal 3D voxel space descriptor.

Kajita, Ohba, Jinnouchi and Asahi, Sci. Rep. 7, 16991 (2017). A crystal's density becomes the
set of its reciprocal spots (g, |s(g)|) inside a sphere; the spots, rotated at will about g = 0,
are deposited on a cube of voxels that is the same for every crystal. What is stored are the
spots; ``rhoflow.descriptors.voxels`` deposits them on the device that trains the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import (
    COULOMB_EV_ANGSTROM,
    RIM,
    Spectrum,
    reciprocal_lattice,
    require_reach,
)
from rhoflow.descriptors.base import digest, taken_rows
from rhoflow.errors import DataError
from rhoflow.spec import Spec

Channel = Literal["density", "potential", "nuclei"]

# Width of the Gaussians that stand for nuclei.
NUCLEUS_WIDTH_ANGSTROM = 0.3


class SpotsSpec(Spec):
    """Which spots a crystal keeps, and of which fields."""

    algorithm: Literal[2] = 2
    channels: tuple[Channel, ...] = Field(
        default=("density",),
        min_length=1,
        description="Fields whose amplitudes a spot carries: density (valence density, e/Å³; the "
        "paper), potential (the engine's local potential, eV), nuclei (electrostatic potential of "
        "the atomic numbers as Gaussians of 0.3 Å, eV).",
    )
    resolution_angstrom: float = Field(
        default=0.4, gt=0.05, le=5, description="Real-space resolution δL* in Å; g_cut = π/δL*."
    )

    @property
    def g_cut(self) -> float:
        """Radius of the sphere of spots, 1/Å."""
        return float(np.pi / self.resolution_angstrom)

    @field_validator("channels")
    @classmethod
    def _each_once(cls, value: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"each of {', '.join(get_args(Channel))} at most once")
        return value


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
    origin: bool = Field(
        default=True,
        description="Deposit g = 0 too: its amplitude is the mean density, and on an even grid "
        "linear deposit smears it over the eight central voxels.",
    )
    half: bool = Field(
        default=False,
        description="Keep the half of the cube with g_x > 0 alone: |s(g)| = |s(-g)|, so it carries "
        "everything; the number of voxels along an edge must be even.",
    )

    @model_validator(mode="after")
    def _whole_voxels(self) -> "R3DVSSpec":
        ratio = self.length_angstrom / self.resolution_angstrom
        if abs(ratio - round(ratio)) > 1e-6 or not 4 <= round(ratio) <= 256:
            raise ValueError(
                "length_angstrom / resolution_angstrom is the number of voxels along an edge: "
                f"got {ratio:.4g}, expected a whole number from 4 to 256"
            )
        if self.half and round(ratio) % 2:
            raise ValueError(f"half: an even number of voxels has halves, {ratio:.0f} has not")
        return self

    def spots_spec(self) -> SpotsSpec:
        """The part that decides which spots are kept."""
        return SpotsSpec(**{name: getattr(self, name) for name in SpotsSpec.model_fields})

    @property
    def pitch(self) -> float:
        """Edge of a voxel |b*|, 1/Å."""
        return float(2 * np.pi / self.length_angstrom)

    @property
    def n_voxels(self) -> int:
        """Voxels along an edge of the cube."""
        return round(self.length_angstrom / self.resolution_angstrom)

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """Voxels along each axis of what a network sees."""
        n = self.n_voxels
        return (n // 2 if self.half else n, n, n)


@dataclass(frozen=True, eq=False)
class SpotSet:
    """Reciprocal spots of several crystals, one Friedel half each, concatenated.

    Attributes:
        ids: (n,) material ids.
        offsets: (n + 1,) int64; spots of structure i are offsets[i]:offsets[i + 1].
        g: (spots, 3) float32, 1/Å.
        amplitude: (channels, spots) float32, |s(g)| of each field (e/Å³ of the density).
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
        offsets, spots = taken_rows(self.offsets, chosen)
        return SpotSet(
            ids=tuple(self.ids[i] for i in chosen),
            offsets=offsets,
            g=self.g[spots],
            amplitude=self.amplitude[:, spots],
            volume_per_atom=self.volume_per_atom[chosen],
        )

    def fingerprint(self) -> str:
        """A digest of all values."""
        return digest(self.offsets, self.g, self.amplitude, self.volume_per_atom)


def spots(
    spectra: Mapping[str, Spectrum],
    spec: SpotsSpec,
    *,
    potentials: Mapping[str, Spectrum] | None = None,
    crystals: Sequence[Crystal] = (),
) -> SpotSet:
    """Spots |s(g)| with |g| ≤ g_cut of each density, and of the other fields that the spec names.

    Args:
        spectra: densities by material id.
        spec: the radius of the sphere and the channels.
        potentials: local potentials of the same materials; for the channel potential.
        crystals: the same materials; for the channel nuclei.

    Raises:
        DataError: a spectrum does not reach g_cut, or a field of a material is missing.
    """
    atoms = {c.material_id: c for c in crystals}
    g, amplitude = [np.zeros((0, 3), np.float32)], [np.zeros((len(spec.channels), 0), np.float32)]
    for name, spectrum in spectra.items():
        require_reach(spectrum, spec.g_cut, name)
        vectors = spectrum.g_vectors()  # (n, 3), double: equal cells round to equal spots
        squared = np.einsum("ij,ij->i", vectors, vectors)
        keep = np.flatnonzero(squared <= (spec.g_cut * RIM) ** 2)
        hkl = spectrum.hkl[keep]
        fields = {
            "density": lambda s=spectrum, k=keep: s.coefficients[k],
            "potential": lambda n=name, h=hkl: aligned(n, (potentials or {}).get(n), h),
            "nuclei": lambda n=name, h=hkl: _nuclei(n, atoms.get(n), h),
        }
        g.append(vectors[keep].astype(np.float32))
        channels = [np.abs(fields[channel]()) for channel in spec.channels]
        amplitude.append(np.asarray(channels, dtype=np.float32))
    lengths = [len(a) for a in g[1:]]
    return SpotSet(
        ids=tuple(spectra),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        g=np.concatenate(g),
        amplitude=np.concatenate(amplitude, axis=1),
        volume_per_atom=np.asarray([s.volume / s.n_atoms for s in spectra.values()]),
    )


def aligned(
    name: str, spectrum: Spectrum | None, hkl: NDArray[np.integer]
) -> NDArray[np.complexfloating]:
    """(n,) coefficients of a local potential at the indices (n, 3) of its density.

    Raises:
        DataError: there is no potential, or it lacks some of them.
    """
    if spectrum is None:
        raise DataError(f"'{name}' has a density but no local potential; its engine keeps none")
    known = {tuple(row): i for i, row in enumerate(spectrum.hkl.tolist())}
    try:
        return spectrum.coefficients[[known[tuple(row)] for row in hkl.tolist()]]
    except KeyError as error:
        raise DataError(
            f"'{name}': its local potential ends before its density does, at hkl {error}; delete "
            "the files of its shard and run snakemake again"
        ) from None


def _nuclei(
    name: str, crystal: Crystal | None, hkl: NDArray[np.integer]
) -> NDArray[np.complexfloating]:
    """(n,) Fourier coefficients of the potential of the nuclei, eV; 0 at g = 0.

    v(g) = 4π e² / (V g²) Σ_j Z_j exp(-g²σ²/2 - i g·r_j).
    """
    if crystal is None:
        raise DataError(f"'{name}' has a density but no structure; run snakemake again")
    charges = np.array([atomic_numbers[s] for s in crystal.symbols], dtype=np.float64)
    phases = np.exp(-2j * np.pi * (hkl @ crystal.frac_coords.T))  # (n, n_atoms)
    squared = ((hkl @ reciprocal_lattice(crystal.lattice)) ** 2).sum(axis=1)
    kernel = np.exp(-squared * NUCLEUS_WIDTH_ANGSTROM**2 / 2)
    safe = np.where(squared > 0, squared, np.inf)
    coulomb = 4 * np.pi * COULOMB_EV_ANGSTROM / crystal.volume
    return coulomb * kernel / safe * (phases @ charges)
