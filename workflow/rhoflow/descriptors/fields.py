"""Fields of a crystal side by side: potentials, superposed atoms and the density, for maps between.

The Hohenberg-Kohn theorem says that the potential decides the density. What a network maps to the
density here is an artificial potential, one Gaussian an atom (Brockherde et al., Nat. Commun. 8,
872 (2017)),

    v(r) = Σ_a Z_a exp(-|r - R_a|² / 2γ²),

the potential of the smeared ion cores, or the engine's own. All fields are Fourier coefficients on
the same wave vectors, |g| ≤ g_cut; networks see them on a grid that holds exactly these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rhoflow.crystal import Crystal
from rhoflow.density.atoms import FormFactors, structure_factors, superposed
from rhoflow.density.spectrum import COULOMB_EV_ANGSTROM, Spectrum, truncate
from rhoflow.descriptors.base import digest, taken_rows
from rhoflow.descriptors.r3dvs import aligned
from rhoflow.errors import DataError
from rhoflow.spec import Spec

Potential = Literal["gaussian", "ions", "local"]


class FieldsSpec(Spec):
    """Which fields stand beside the density."""

    kind: Literal["fields"] = "fields"
    algorithm: Literal[1] = 1
    g_cut: float = Field(
        default=6.0,
        gt=0.5,
        le=30,
        description="Radius (1/Å) of the sphere of wave vectors; finer detail of a density is "
        "neither learned nor judged.",
    )
    potentials: tuple[Potential, ...] = Field(
        default=("gaussian",),
        min_length=1,
        description="gaussian: a Gaussian an atom, as high as its atomic number (Brockherde et "
        "al. 2017); ions: the electrostatic potential of smeared ion cores with the charge of "
        "their valence electrons, eV; local: the engine's electrostatic potential, eV, from which "
        "the density follows by Poisson's equation but for the ions.",
    )
    width_angstrom: float = Field(
        default=0.35,
        gt=0.05,
        le=2,
        description="Standard deviation of the Gaussians, Å. Brockherde et al. take 0.2; what is "
        "sharper than g_cut is cut off.",
    )

    free_atoms: bool = Field(
        default=True,
        description="Put the engine's free atoms side by side, for models to start from; false "
        "where it knows none (finished runs of VASP): the same electrons, spread evenly.",
    )

    @model_validator(mode="after")
    def _charges_are_known(self) -> Self:
        if "ions" in self.potentials and not self.free_atoms:
            raise ValueError("potentials: ions needs the free atoms' charges; set free_atoms: true")
        return self

    @field_validator("potentials")
    @classmethod
    def _each_once(cls, value: tuple[Potential, ...]) -> tuple[Potential, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"each potential at most once, got {', '.join(value)}")
        return value


@dataclass(frozen=True, eq=False)
class FieldSet:
    """Fields of several crystals, and their atoms.

    Attributes:
        ids: (n,) material ids.
        offsets: (n + 1,) int64; coefficients of crystal i are offsets[i]:offsets[i + 1].
        lattices: (n, 3, 3) float64, Å; rows are the lattice vectors.
        hkl: (coefficients, 3) int16, Miller indices of one Friedel half, |g| ≤ g_cut.
        density: (coefficients,) complex64, e/Å³, as the engine has it.
        atoms: (coefficients,) complex64, e/Å³, free atoms side by side.
        potentials: (fields, coefficients) complex64.
        atom_offsets: (n + 1,) int64; the same of the atoms.
        numbers: (atoms,) int64, atomic numbers.
        frac_coords: (atoms, 3) float64.
    """

    ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    lattices: NDArray[np.float64]
    hkl: NDArray[np.int16]
    density: NDArray[np.complex64]
    atoms: NDArray[np.complex64]
    potentials: NDArray[np.complex64]
    atom_offsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    frac_coords: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self.ids)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> "FieldSet":
        """The crystals at the given positions, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        offsets, rows = taken_rows(self.offsets, chosen)
        atom_offsets, atoms = taken_rows(self.atom_offsets, chosen)
        return FieldSet(
            ids=tuple(self.ids[i] for i in chosen),
            offsets=offsets,
            lattices=self.lattices[chosen],
            hkl=self.hkl[rows],
            density=self.density[rows],
            atoms=self.atoms[rows],
            potentials=self.potentials[:, rows],
            atom_offsets=atom_offsets,
            numbers=self.numbers[atoms],
            frac_coords=self.frac_coords[atoms],
        )

    def fingerprint(self) -> str:
        """A digest of all values."""
        fields = (self.hkl, self.density, self.atoms, self.potentials)
        where = (self.offsets, self.lattices, self.atom_offsets, self.numbers, self.frac_coords)
        return digest(*fields, *where)

    def rows(self, index: int) -> slice:
        """Where the coefficients of a crystal are."""
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def spectrum(self, index: int, values: NDArray[np.complexfloating] | None = None) -> Spectrum:
        """The density of a crystal, or other values at the same wave vectors."""
        rows = self.rows(index)
        n_atoms = int(self.atom_offsets[index + 1] - self.atom_offsets[index])
        found = self.density[rows] if values is None else values
        return Spectrum(self.lattices[index], n_atoms, self.hkl[rows], found.astype(np.complex64))


def fields(
    spectra: Mapping[str, Spectrum],
    crystals: Mapping[str, Crystal],
    factors: FormFactors | None,
    spec: FieldsSpec,
    *,
    local: Mapping[str, Spectrum] | None = None,
) -> FieldSet:
    """The fields of every crystal.

    Args:
        spectra: densities by material id.
        crystals: the same materials.
        factors: free atoms of all their elements, of the same engine; None without ``free_atoms``.
        spec: which fields.
        local: the engine's potentials of the same materials; for ``potentials: local`` alone.

    Raises:
        DataError: a spectrum does not reach g_cut or holds values that are not finite, a material
            has no potential, or of an element no free atom is known.
    """
    parts = [_of_one(n, s, crystals[n], factors, spec, local) for n, s in spectra.items()]
    none = np.zeros((0, 3), dtype=np.int16)
    empty = np.zeros((2 + len(spec.potentials), 0), dtype=np.complex64)
    values = np.concatenate([empty, *(v for _, v in parts)], axis=1)
    used = [crystals[name] for name in spectra]
    return FieldSet(
        ids=tuple(spectra),
        offsets=np.cumsum([0, *(len(hkl) for hkl, _ in parts)], dtype=np.int64),
        lattices=np.asarray([s.lattice for s in spectra.values()]).reshape(-1, 3, 3),
        hkl=np.concatenate([none, *(hkl for hkl, _ in parts)]),
        density=values[0],
        atoms=values[1],
        potentials=values[2:],
        atom_offsets=np.cumsum([0, *(c.n_atoms for c in used)], dtype=np.int64),
        numbers=np.concatenate([np.zeros(0, np.int64), *(c.to_ase().numbers for c in used)]),
        frac_coords=np.concatenate([np.zeros((0, 3)), *(c.frac_coords for c in used)]),
    )


def _of_one(
    name: str,
    spectrum: Spectrum,
    crystal: Crystal,
    factors: FormFactors | None,
    spec: FieldsSpec,
    local: Mapping[str, Spectrum] | None,
) -> tuple[NDArray[np.int16], NDArray[np.complex64]]:
    """(m, 3) indices inside g_cut, and (2 + potentials, m) density, atoms and potentials."""
    try:
        kept = truncate(spectrum, spec.g_cut)
        atoms = _atoms(kept, crystal, factors)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    makers = {
        "gaussian": lambda: gaussian_potential(kept, crystal, spec.width_angstrom),
        "ions": lambda: ion_potential(kept, crystal, factors, spec.width_angstrom),
        "local": lambda: aligned(name, (local or {}).get(name), kept.hkl),
    }
    values = np.asarray([kept.coefficients, atoms, *(makers[p]() for p in spec.potentials)])
    if not np.isfinite(values).all():
        raise DataError(
            f"{name}: its density or potential holds Fourier coefficients that are not finite, "
            "expected finite numbers; delete the files of its shard and run snakemake again"
        )
    return kept.hkl, values.astype(np.complex64)


def _atoms(
    spectrum: Spectrum, crystal: Crystal, factors: FormFactors | None
) -> NDArray[np.complexfloating]:
    """(m,) free atoms side by side, or their electrons spread evenly."""
    if factors is None:
        return np.where(spectrum.hkl.any(axis=1), 0.0, spectrum.coefficients)
    positions = crystal.frac_coords
    return superposed(spectrum.lattice, spectrum.hkl, crystal.symbols, positions, factors)


def gaussian_potential(
    spectrum: Spectrum, crystal: Crystal, width: float
) -> NDArray[np.complex128]:
    """(m,) coefficients of Σ_a Z_a exp(-|r - R_a|²/2γ²) at the wave vectors of a spectrum."""
    weights = dict(zip(crystal.symbols, crystal.to_ase().numbers, strict=True))
    g2 = (spectrum.g_vectors() ** 2).sum(axis=1)
    height = (2 * np.pi * width**2) ** 1.5 / spectrum.volume
    return height * np.exp(-g2 * width**2 / 2) * _weighted(spectrum, crystal, weights)


def ion_potential(
    spectrum: Spectrum, crystal: Crystal, factors: FormFactors | None, width: float
) -> NDArray[np.complex128]:
    """(m,) coefficients, eV, of an electron's potential energy in the field of smeared ion cores.

    Each has the charge of the free atom's valence electrons; the cell average is 0.
    """
    if factors is None:
        raise DataError("the potential of the ions needs the free atoms' numbers of electrons")
    weights = {element: float(factors.values[element][0]) for element in crystal.symbols}
    g2 = (spectrum.g_vectors() ** 2).sum(axis=1)
    safe = np.where(g2 > 0, g2, np.inf)
    coulomb = -4 * np.pi * COULOMB_EV_ANGSTROM / (safe * spectrum.volume)
    return coulomb * np.exp(-g2 * width**2 / 2) * _weighted(spectrum, crystal, weights)


def _weighted(
    spectrum: Spectrum, crystal: Crystal, weights: Mapping[str, float]
) -> NDArray[np.complex128]:
    """(m,) Σ_a w_a exp(-i g·R_a)."""
    phases = structure_factors(spectrum.hkl, crystal.symbols, crystal.frac_coords)
    total = np.zeros(len(spectrum.hkl), dtype=np.complex128)
    for element, phase in phases.items():
        total += weights[element] * phase
    return total
