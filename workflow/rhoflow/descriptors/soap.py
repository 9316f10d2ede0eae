"""SOAP with alchemical species, averaged over the oxygen atoms of a crystal.

Equations 6 to 9 of Kajita et al., Sci. Rep. 7, 16991 (2017), after De, Bartók, Csányi and
Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016). With the power spectrum
p^{αα'}_{nn'l} = Σ_m c^α_{nlm} c^{α'}_{n'lm} of an environment (DScribe includes the factor
π√(8/(2l+1)) that the integral over rotations asks for), equation 8 reads

    k(A_i, B_j) = Σ_{αβα'β'} κ_{αβ} κ_{α'β'} Σ_{nn'l} p^{αα'}_{nn'l}(A_i) p^{ββ'}_{nn'l}(B_j).

It is linear in each power spectrum, so the average over pairs of environments is the kernel of
the two mean power spectra. With κ = U Uᵀ the species contract to a few pseudo-species,

    q^{JK}_{nn'l} = Σ_{αα'} U_{αJ} U_{α'K} p^{αα'}_{nn'l},    K(A, B) = q(A) · q(B),

and a Gram matrix is one matrix product. q^{JK}_{nn'l} = q^{KJ}_{n'nl}, so only the unordered
pairs of (J, n) and (K, n') are stored, the unequal ones times √2: their dot product is the sum
over ordered pairs.
"""

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pymatgen.core.periodic_table import Element

from rhoflow.crystal import Crystal
from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import ConfigError, DataError, did_you_mean
from rhoflow.spec import Spec

if TYPE_CHECKING:
    from dscribe.descriptors import SOAP


class SOAPSpec(Spec):
    """Environments and the similarity of their species."""

    kind: Literal["soap"] = "soap"
    algorithm: Literal[1] = 1
    r_cut_angstrom: float = Field(
        default=5.0, gt=1, le=20, description="Radius of the environment in Å (the radial basis)."
    )
    sigma_angstrom: float = Field(
        default=0.5, ge=0.05, le=5, description="Width σ of an atom's Gaussian in Å."
    )
    n_max: int = Field(default=8, ge=1, le=16, description="Number of radial basis functions.")
    l_max: int = Field(default=6, ge=0, le=16, description="Highest degree of spherical harmonics.")
    centre_element: str | None = Field(
        default="O", description="Element whose atoms are the centres; null for all atoms."
    )
    similarity: Literal["electronegativity", "identity"] = Field(
        default="electronegativity",
        description="Similarity κ of two elements: exp(-(μα-μβ)²/2Δ²) of their Pauling "
        "electronegativities (the paper), or 1 for equal elements and 0 for others.",
    )
    delta: float = Field(
        default=1.0, ge=0.2, description="Width Δ of the similarity, in units of Pauling's scale."
    )
    rank_tolerance: float = Field(
        default=1e-6,
        ge=1e-13,
        lt=1,
        description="The smallest eigenvalues of κ are dropped while their sum stays below "
        "this share of the trace.",
    )
    elements: tuple[str, ...] | None = Field(
        default=None,
        description="Elements of the dataset; required for similarity identity, where the "
        "vector grows with the square of their number, and only there.",
    )

    @model_validator(mode="after")
    def _known_elements(self) -> "SOAPSpec":
        named = [*(self.elements or ()), *([self.centre_element] if self.centre_element else [])]
        for symbol in named:
            if atomic_numbers.get(symbol, 0) == 0:
                raise ValueError(
                    f"{symbol!r} is not an element{did_you_mean(symbol, list(atomic_numbers)[1:])}"
                )
        if len(set(self.elements or ())) < len(self.elements or ()):
            raise ValueError(f"elements holds an element twice: {', '.join(self.elements or ())}")
        if (self.similarity == "identity") != bool(self.elements):
            raise ValueError(
                "elements is required for similarity 'identity' and only there: got "
                f"similarity {self.similarity!r} with elements {self.elements!r}"
            )
        return self


def soap_vectors(crystals: Sequence[Crystal], spec: SOAPSpec) -> VectorSet:
    """Contracted mean power spectrum of each crystal, of unit length.

    The basis depends on the spec alone, so vectors of different shards and datasets compare.

    Args:
        crystals: the structures.
        spec: environments and similarity.

    Returns:
        (n, d) vectors whose dot products are the normalised kernel of equation 9, dimensionless.

    Raises:
        DataError: a structure has no atom of the centre element, or an element that the
            similarity does not know.
        ConfigError: no orthonormal radial basis exists for n_max and r_cut.
    """
    n_channels = species_basis(spec)[1].shape[1] * spec.n_max
    rows, _, _ = _unordered_pairs(n_channels)
    values = np.empty((len(crystals), len(rows) * (spec.l_max + 1)))
    for value, crystal in zip(values, crystals, strict=True):
        vector = _contracted(crystal, spec)
        value[:] = vector / np.linalg.norm(vector)
    return VectorSet(tuple(c.material_id for c in crystals), values)


def gram(x: VectorSet, y: VectorSet | None = None) -> NDArray[np.float64]:
    """Normalised average kernel between all structures of two sets (equation 9).

    Args:
        x: unit vectors of n structures.
        y: unit vectors of m structures from the same spec; ``x`` if absent.

    Returns:
        (n, m), between -1 and 1.

    Raises:
        DataError: the vectors differ in length, so they come from different specs.
    """
    other = x if y is None else y
    if x.values.shape[1] != other.values.shape[1]:
        raise DataError(
            f"SOAP vectors of lengths {x.values.shape[1]} and {other.values.shape[1]} come from "
            "different settings; compute both sets with the same descriptor"
        )
    return x.values @ other.values.T


def species_basis(spec: SOAPSpec) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Elements, and the matrix U with κ ≈ U Uᵀ that maps them to pseudo-species.

    Returns:
        The elements, and U of shape (elements, pseudo-species), dimensionless, read-only.
    """
    if spec.similarity == "identity":
        elements = tuple(sorted(spec.elements or (), key=lambda s: atomic_numbers[s]))
        return elements, np.eye(len(elements))
    return tuple(electronegativities()), _alchemical_basis(spec.delta, spec.rank_tolerance)


@cache
def _alchemical_basis(delta: float, tolerance: float) -> NDArray[np.float64]:
    """U of the similarity of all elements in electronegativity, (elements, pseudo-species)."""
    mu = np.asarray(list(electronegativities().values()))
    kappa = np.exp(-((mu[:, None] - mu[None, :]) ** 2) / (2 * delta**2))
    basis = _low_rank_root(kappa, tolerance)
    basis.setflags(write=False)
    return basis


@cache
def electronegativities() -> dict[str, float]:
    """Pauling electronegativity of every element that has one, by atomic number."""
    elements = [Element.from_Z(z) for z in range(1, 104)]
    return {e.symbol: float(e.X) for e in elements if e.data.get("X") is not None}


def _low_rank_root(kappa: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """U with U Uᵀ = κ but for eigenvalues whose sum is below ``tolerance`` of the trace."""
    eigenvalues, vectors = np.linalg.eigh(kappa)  # ascending
    dropped = np.cumsum(np.maximum(eigenvalues, 0)) < tolerance * np.trace(kappa)
    root = (vectors[:, ~dropped] * np.sqrt(eigenvalues[~dropped]))[:, ::-1]
    # The sign of an eigenvector is arbitrary, yet shards of several machines must agree on it.
    largest = np.take_along_axis(root, np.argmax(np.abs(root), axis=0)[None, :], axis=0)
    return root * np.sign(largest)


def _contracted(crystal: Crystal, spec: SOAPSpec) -> NDArray[np.float64]:
    """The vector of q^{JK}_{nn'l} whose dot products are the average kernel, (d,)."""
    elements, basis = species_basis(spec)
    species, spectrum = power_spectrum(crystal, spec)
    unknown = [s for s in species if s not in elements]
    if unknown:
        raise DataError(
            f"{crystal.material_id}: SOAP similarity {spec.similarity!r} does not know "
            f"{', '.join(unknown)}: "
            + (
                f"it has only {', '.join(elements)}; add the element to the descriptor's elements"
                if spec.similarity == "identity"
                else "without a Pauling electronegativity; drop the structure"
            )
        )
    u = basis[[elements.index(s) for s in species]]  # (species, J)
    half = np.tensordot(u, spectrum, axes=(0, 0))  # (J, n, species', n', l)
    q = np.einsum("jnbml,bk->jnkml", half, u)  # (J, n, K, n', l)
    channels = u.shape[1] * spec.n_max
    rows, columns, weights = _unordered_pairs(channels)
    q = q.reshape(channels, channels, -1)[rows, columns]  # (pairs, l)
    return (q * weights[:, None]).ravel()


def power_spectrum(crystal: Crystal, spec: SOAPSpec) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Mean power spectrum over a crystal's centres, for the species that it holds.

    Returns:
        The species by atomic number, and p^{αα'}_{nn'l} of shape
        (species, n_max, species, n_max, l_max + 1) for ordered pairs, in DScribe's arbitrary
        unit, which cancels in the normalised kernel.

    Raises:
        DataError: the crystal has no atom of the centre element.
    """
    centres = [i for i, s in enumerate(crystal.symbols) if spec.centre_element in (None, s)]
    if not centres:
        raise DataError(
            f"{crystal.material_id}: no {spec.centre_element} atom to centre SOAP on; drop the "
            "structure, or set centre_element to null for all atoms"
        )
    species = tuple(sorted(set(crystal.symbols), key=lambda s: atomic_numbers[s]))
    atoms = crystal.to_ase()
    # DScribe looks for neighbours among the images of the cell as given: it misses some where
    # atoms lie outside it.
    atoms.wrap(eps=0)
    soap = _soap(species, spec.r_cut_angstrom, spec.sigma_angstrom, spec.n_max, spec.l_max)
    flat = np.asarray(soap.create(atoms, centers=centres))
    return species, flat[_full_index(soap, species, spec.n_max, spec.l_max)]


@cache
def _soap(species: tuple[str, ...], r_cut: float, sigma: float, n_max: int, l_max: int) -> "SOAP":
    """DScribe's mean power spectrum for these species; lengths in Å."""
    # Imported on use: reading the config needs the spec alone, and DScribe takes a second.
    from dscribe.descriptors import SOAP

    try:
        return SOAP(
            r_cut=r_cut,
            n_max=n_max,
            l_max=l_max,
            sigma=sigma,
            species=species,
            periodic=True,
            average="outer",
        )
    except ValueError as error:
        raise ConfigError(
            f"SOAP has no orthonormal radial basis of n_max = {n_max} functions, l_max = {l_max}, "
            f"within r_cut_angstrom = {r_cut:g}: use fewer functions or a larger radius ({error})"
        ) from error


@cache
def _full_index(
    soap: "SOAP", species: tuple[str, ...], n_max: int, l_max: int
) -> NDArray[np.int64]:
    """Where DScribe's output holds p^{αα'}_{nn'l}, (species, n, species', n', l).

    DScribe stores each unordered pair of species once, l outermost: all n, n' for different
    species, n ≤ n' for equal ones. The rest follows from p^{αα'}_{nn'l} = p^{α'α}_{n'nl}.
    """
    n, n_l = n_max, l_max + 1
    index = np.empty((len(species), n, len(species), n, n_l), dtype=np.int64)
    rows, columns = np.triu_indices(n)
    for a, b in combinations_with_replacement(range(len(species)), 2):
        place = soap.get_location((species[a], species[b]))
        block = np.arange(place.start, place.stop)
        if a == b:
            index[a, rows, a, columns] = block.reshape(n_l, -1).T
            index[a, columns, a, rows] = block.reshape(n_l, -1).T
        else:
            index[a, :, b] = block.reshape(n_l, n, n).transpose(1, 2, 0)
            index[b, :, a] = block.reshape(n_l, n, n).transpose(2, 1, 0)
    return index


@cache
def _unordered_pairs(
    channels: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Rows, columns and weights of the unordered pairs of channels, (pairs,) each."""
    rows, columns = np.triu_indices(channels)
    return rows, columns, np.where(rows == columns, 1.0, np.sqrt(2.0))
