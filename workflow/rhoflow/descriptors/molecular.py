"""Vectors of molecules: MBTR, SOAP summed over atoms, and counts of elements.

The peers of the quantum deep descriptor in Tsubaki and Mizoguchi, J. Chem. Theory Comput. 17,
7814 (2021): many-body tensor representation with n = 5, and SOAP with Gaussian-type radial
functions, a cutoff of 6 Å, n_max = l_max = 3 and σ = 1 Å. For H, C, N, O, F that makes 475 and 480
numbers, as in the paper. What else they set is in its supporting information, which we do not
have: ranges, widths and weights below are ours.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import Field, field_validator

from rhoflow.crystal import known_elements
from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import DataError
from rhoflow.molecule import Molecule
from rhoflow.spec import Spec

ORGANIC = ("H", "C", "N", "O", "F")


class _MolecularSpec(Spec):
    """Vectors that have a part for every element or pair of elements."""

    elements: tuple[str, ...] = Field(
        default=ORGANIC, min_length=1, description="Elements that a molecule may hold."
    )
    average: Literal["sum", "mean"] = Field(
        default="sum",
        description="Sum over the atoms, which grows with the molecule as its energy does, or "
        "their mean.",
    )

    @field_validator("elements")
    @classmethod
    def _known_elements(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known_elements(value)


class AtomCountsSpec(_MolecularSpec):
    """How many atoms of each element: the baseline that every table of molecules needs."""

    kind: Literal["atom_counts"] = "atom_counts"
    algorithm: Literal[1] = 1


class MBTRSpec(_MolecularSpec):
    """Many-body tensor representation: elements, inverse distances and angles, smeared."""

    kind: Literal["mbtr"] = "mbtr"
    algorithm: Literal[1] = 1
    n: int = Field(default=5, ge=2, le=500, description="Points of each distribution's axis.")
    sigma_number: float = Field(
        default=0.5, gt=0, le=10, description="Width on the axis of atomic numbers (no unit)."
    )
    sigma_inverse_angstrom: float = Field(
        default=0.1, gt=0, le=2, description="Width on the axis of inverse distances, 1/Å."
    )
    sigma_cosine: float = Field(
        default=0.2, gt=0, le=2, description="Width on the axis of cosines of angles (no unit)."
    )
    decay_inverse_angstrom: float = Field(
        default=0.5,
        gt=0,
        le=5,
        description="Pairs and triples count as exp(-decay x), with x their distance or the "
        "perimeter of their triangle; decay in 1/Å.",
    )


class MoleculeSOAPSpec(_MolecularSpec):
    """SOAP power spectra of all atoms, added up."""

    kind: Literal["molecule_soap"] = "molecule_soap"
    algorithm: Literal[1] = 1
    r_cut_angstrom: float = Field(default=6.0, gt=0, le=20, description="Cutoff in Å.")
    n_max: int = Field(default=3, ge=1, le=20, description="Radial functions.")
    l_max: int = Field(default=3, ge=0, le=20, description="Highest angular momentum.")
    sigma_angstrom: float = Field(default=1.0, gt=0, le=5, description="Width of atoms in Å.")


MolecularSpec = AtomCountsSpec | MBTRSpec | MoleculeSOAPSpec


def molecular_vectors(molecules: Sequence[Molecule], spec: MolecularSpec) -> VectorSet:
    """One vector a molecule.

    Args:
        molecules: of any size.
        spec: which descriptor.

    Returns:
        (n, d); the same for a molecule that is moved, turned, mirrored or whose atoms are listed
        in another order.

    Raises:
        DataError: a molecule holds an element that the spec does not list.
    """
    _refuse_others(molecules, spec.elements)
    ids = tuple(m.material_id for m in molecules)
    vectors = np.array(list(_vectors(molecules, spec)), dtype=np.float64)
    if spec.average == "mean" and ids:
        vectors /= np.array([m.n_atoms for m in molecules], dtype=np.float64)[:, None]
    return VectorSet(ids, vectors if ids else np.zeros((0, 0)))


def _refuse_others(molecules: Iterable[Molecule], elements: tuple[str, ...]) -> None:
    for molecule in molecules:
        others = sorted(set(molecule.symbols) - set(elements))
        if others:
            raise DataError(
                f"{molecule.material_id}: holds {', '.join(others)}, but the descriptor has "
                f"{', '.join(elements)}; add them to its elements, or drop the molecule by the "
                "selection's elements"
            )


def _vectors(molecules: Sequence[Molecule], spec: MolecularSpec) -> Iterable[NDArray[np.float64]]:
    """(d,) sums over the atoms of each molecule."""
    match spec:
        case AtomCountsSpec():
            for molecule in molecules:
                species = _species(molecule, spec.elements)
                yield np.bincount(species, minlength=len(spec.elements)).astype(np.float64)
        case MBTRSpec():
            for molecule in molecules:
                yield _mbtr(molecule, spec)
        case MoleculeSOAPSpec():
            soap = _soap(spec)
            for molecule in molecules:
                yield soap.create(molecule.to_ase()).sum(axis=0)


def _mbtr(molecule: Molecule, spec: MBTRSpec) -> NDArray[np.float64]:
    """(d,) distributions of elements, of inverse distances and of angles, one after the other.

    Own code, since that of DScribe 2.1.2 fails with ASE 3.29 (its ``System`` passes masses as
    velocities); the numbers are DScribe's.
    """
    species = _species(molecule, spec.elements)  # (atoms,)
    n_species = len(spec.elements)
    apart = molecule.positions[:, None] - molecule.positions  # (atoms, atoms, 3)
    distance = np.linalg.norm(apart, axis=-1)
    i, j = np.triu_indices(molecule.n_atoms, 1)
    pairs = _smeared(
        1 / distance[i, j],
        np.exp(-spec.decay_inverse_angstrom * distance[i, j]),
        _unordered(species[i], species[j], n_species),
        n_species * (n_species + 1) // 2,
        (0.0, 1.0, spec.sigma_inverse_angstrom, spec.n),
    )
    numbers = np.array([atomic_numbers[e] for e in spec.elements])
    ones = _smeared(
        molecule.numbers.astype(np.float64),
        np.ones(molecule.n_atoms),
        species,
        n_species,
        (numbers.min() - 1.0, numbers.max() + 1.0, spec.sigma_number, spec.n),
    )
    return np.concatenate([ones, pairs, _angles(apart, distance, species, spec)])


def _angles(
    apart: NDArray[np.float64],
    distance: NDArray[np.float64],
    species: NDArray[np.int64],
    spec: MBTRSpec,
) -> NDArray[np.float64]:
    """The distribution of cosines at every atom between two others, by the three elements."""
    n, n_species = len(species), len(spec.elements)
    i, k = np.triu_indices(n, 1)
    i, k, centre = np.repeat(i, n), np.repeat(k, n), np.tile(np.arange(n), len(i))
    three = (centre != i) & (centre != k)
    i, k, centre = i[three], k[three], centre[three]
    first, second = distance[i, centre], distance[k, centre]
    cosine = np.einsum("nx,nx->n", apart[i, centre], apart[k, centre]) / (first * second)
    n_ends = n_species * (n_species + 1) // 2
    return _smeared(
        np.clip(cosine, -1, 1),
        np.exp(-spec.decay_inverse_angstrom * (first + second + distance[i, k])),
        species[centre] * n_ends + _unordered(species[i], species[k], n_species),
        n_species * n_ends,
        (-1.0, 1.0, spec.sigma_cosine, spec.n),
    )


def _species(molecule: Molecule, elements: tuple[str, ...]) -> NDArray[np.int64]:
    """(atoms,) the place of each atom's element in the list."""
    place = {atomic_numbers[e]: i for i, e in enumerate(elements)}
    return np.array([place[z] for z in molecule.numbers.tolist()], dtype=np.int64)


def _unordered(a: NDArray[np.int64], b: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The number of each pair of species among the n (n + 1) / 2 whose order does not count."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    return low * n - low * (low - 1) // 2 + high - low


def _smeared(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    channel: NDArray[np.int64],
    n_channels: int,
    axis: tuple[float, float, float, int],
) -> NDArray[np.float64]:
    """Gaussians around values, averaged over the bins of an axis, in one distribution a channel.

    Args:
        values: (n,) in the unit of the axis.
        weights: (n,) their areas.
        channel: (n,) which distribution each belongs to.
        n_channels: number of distributions.
        axis: first and last point, width of the Gaussians, number of points.

    Returns:
        (n_channels * points,).
    """
    from scipy.special import ndtr  # the config is read without SciPy

    low, high, sigma, points = axis
    half = (high - low) / (points - 1) / 2
    edges = np.linspace(low - half, high + half, points + 1)
    below = ndtr((edges - values[:, None]) / sigma)  # (n, points + 1)
    share = np.diff(below, axis=1) / (2 * half) * weights[:, None]
    smeared = np.zeros((n_channels, points))
    np.add.at(smeared, channel, share)
    return smeared.ravel()


def _soap(spec: MoleculeSOAPSpec) -> Any:
    from dscribe.descriptors import SOAP

    return SOAP(
        species=list(spec.elements),
        r_cut=spec.r_cut_angstrom,
        n_max=spec.n_max,
        l_max=spec.l_max,
        sigma=spec.sigma_angstrom,
        rbf="gto",
        periodic=False,
    )
