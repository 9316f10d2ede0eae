"""Atomic orbitals by name, and the molecular orbitals that they combine to.

Equations 1 to 3 of Tsubaki and Mizoguchi, J. Chem. Theory Comput. 17, 7814 (2021). An orbital is
one of a type ("C 2p, the third"): its exponent and its coefficients are learned, one a type.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import nn

from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.errors import DataError
from rhoflow.models.qdf.spec import QDFSpec

# Primitive functions of an inner shell, and of the valence shell (3 and 1), in 6-31G.
INNER, OUTER = 6, 4
LAST_ELEMENT = 18
# Keeps norms that are 0 from being divided by; torch.nn.functional.normalize has the same.
TINY = 1e-24
# A sum of neighbours' directions this short counts as none: an atom in a symmetric place has no
# direction of its own.
SHORT = 0.1


class Shell(NamedTuple):
    """Functions of one kind on one atom.

    Attributes:
        quantum_number: principal quantum number q; the radial part is d^(q - 1) exp(-zeta d²).
        angular: 0, 1 or 2 for s, p or d.
        count: how many, each a type of its own.
    """

    quantum_number: int
    angular: int
    count: int


def shells(number: int, basis: str) -> tuple[Shell, ...]:
    """The shells of an element, H to Ar, as the basis set's name says."""
    if number <= 2:
        return (Shell(1, 0, OUTER),)
    polarisation = (Shell(3, 2, 1),) if basis == "6-31G(d)" else ()
    if number <= 10:
        return (Shell(1, 0, INNER), Shell(2, 0, OUTER), Shell(2, 1, OUTER), *polarisation)
    inner = (Shell(1, 0, INNER), Shell(2, 0, INNER), Shell(2, 1, INNER))
    return (*inner, Shell(3, 0, OUTER), Shell(3, 1, OUTER), *polarisation)


@dataclass(frozen=True)
class OrbitalTypes:
    """The types of a training set, numbered element by element.

    Attributes:
        elements: atomic numbers, ascending.
        basis: name of the basis set.
    """

    elements: tuple[int, ...]
    basis: str

    @classmethod
    def of(cls, molecules: MoleculeSet, basis: str) -> "OrbitalTypes":
        """The types that molecules hold.

        Raises:
            DataError: an element has no functions in this basis.
        """
        wrong = np.flatnonzero(molecules.numbers > LAST_ELEMENT)
        if len(wrong):
            raise DataError(
                f"molecule {_owner(molecules, wrong[0])}: the quantum deep field has no orbitals "
                f"for {chemical_symbols[molecules.numbers[wrong[0]]]} in {basis}; expected H to "
                f"{chemical_symbols[LAST_ELEMENT]}. Set `elements` of the dataset's selection"
            )
        return cls(tuple(int(z) for z in np.unique(molecules.numbers)), basis)

    @property
    def shells(self) -> list[tuple[Shell, ...]]:
        """Of each element."""
        return [shells(z, self.basis) for z in self.elements]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(elements,) functions on an atom of each element."""
        return np.array([sum(s.count for s in of) for of in self.shells], dtype=np.int64)

    def __len__(self) -> int:
        """Number of types."""
        return int(self.counts.sum())

    def each(self, attribute: str) -> NDArray[np.int64]:
        """(types,) the quantum number or angular part of every type."""
        listed = [[getattr(s, attribute)] * s.count for of in self.shells for s in of]
        return np.array([value for one in listed for value in one], dtype=np.int64)


def check_elements(molecules: MoleculeSet, elements: Sequence[int]) -> None:
    """Check that molecules hold none but the elements of the training set.

    Raises:
        DataError: one of them holds another, for which nothing was trained.
    """
    wrong = np.flatnonzero(~np.isin(molecules.numbers, elements))
    if len(wrong):
        known = ", ".join(chemical_symbols[z] for z in elements)
        raise DataError(
            f"molecule {_owner(molecules, wrong[0])}: nothing was trained for "
            f"{chemical_symbols[molecules.numbers[wrong[0]]]}; got a training set with {known}. "
            "Train with molecules that hold it, or leave this one out"
        )


def _owner(molecules: MoleculeSet, atom: int) -> str:
    """Id of the molecule that holds an atom."""
    return molecules.ids[int(np.searchsorted(molecules.offsets, atom, side="right")) - 1]


class Angles(NamedTuple):
    """What the angular parts of p and d functions need beside distances.

    Attributes:
        points: (batch, points, 3) Å.
        centres: (batch, orbitals, 3) Å.
        distances: (batch, points, orbitals) Å.
        neighbours: (batch, orbitals, elements, 3) sums of unit vectors from the orbital's atom to
            its neighbours, nearer ones counting more, element by element.
        parts: (batch, orbitals, 3) weight of the s, p and d harmonic; one of them is not 0.
    """

    points: torch.Tensor
    centres: torch.Tensor
    distances: torch.Tensor
    neighbours: torch.Tensor
    parts: torch.Tensor


class Places(NamedTuple):
    """Points seen from orbitals, in molecules filled up to equal sizes; nothing here is learned.

    What fills them up is 1e6 Å away, where every function is 0.

    Attributes:
        decay: (batch, points, orbitals) d² of Gaussian functions, or d of Slater functions.
        log_power: (batch, points, orbitals) (q - 1) log d.
        angles: what angular parts need, or None without them.
    """

    decay: torch.Tensor
    log_power: torch.Tensor
    angles: Angles | None


def harmonics(angular: NDArray[np.int64]) -> NDArray[np.float32]:
    """(types, 3) factors of 1, cos θ and 3 cos² θ - 1, whose squares average to 1 on a sphere."""
    return np.diag([1.0, math.sqrt(3), math.sqrt(5) / 2])[angular].astype(np.float32)


class Orbitals(nn.Module):
    """Molecular orbitals as combinations of atomic ones.

    Args:
        spec: their number, and whether they have angular parts.
        types: of the training set.
    """

    def __init__(self, spec: QDFSpec, types: OrbitalTypes) -> None:
        super().__init__()
        self.coefficient = nn.Embedding(len(types), spec.dimension)
        self.zeta = nn.Embedding(len(types), 1)
        nn.init.ones_(self.zeta.weight)
        if spec.angular:
            self.direction = nn.Embedding(len(types), len(types.elements))

    def functions(self, places: Places, types: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, points, orbitals) radial parts of atomic orbitals, and the orbitals themselves.

        Args:
            places: points and orbitals.
            types: (batch, orbitals) int64.
        """
        zeta = self.zeta(types)[:, None, :, 0]
        radial = torch.exp(places.log_power - places.decay * zeta)
        if places.angles is None:
            return radial, radial
        return radial, radial * self._harmonic(places.angles, types)

    def _harmonic(self, angles: Angles, types: torch.Tensor) -> torch.Tensor:
        """(batch, points, orbitals) real spherical harmonics about each orbital's direction.

        The direction is a sum over neighbours, with learned weights by element: it turns with the
        molecule, so the orbital is covariant. Where neighbours cancel (the carbon of methane), it
        is 0 and so are p and d functions; a full set of p functions would need three directions.
        """
        weights = self.direction(types)[..., None]  # (batch, orbitals, elements, 1)
        total = (angles.neighbours * weights).sum(dim=2)
        axis = total / (total.square().sum(dim=-1, keepdim=True) + SHORT**2).sqrt()
        along = torch.bmm(angles.points, axis.mT) - (angles.centres * axis).sum(-1)[:, None]
        cosine = along / angles.distances  # (batch, points, orbitals)
        s, p, d = angles.parts[:, None].unbind(-1)
        length = axis.square().sum(-1)[:, None]
        return s + p * cosine + d * (3 * cosine.square() - length)

    def coefficients(
        self, radial: torch.Tensor, weights: torch.Tensor, types: torch.Tensor
    ) -> torch.Tensor:
        """(batch, orbitals, dimension) coefficients of atomic orbitals of unit norm on the field.

        The published code also scales each molecular orbital's coefficients to unit norm; as the
        orbital itself is normalised afterwards, that changes nothing, and is left out.

        Args:
            radial: (batch, points, orbitals) on the field.
            weights: (batch, points) of the field's points.
            types: (batch, orbitals) int64.
        """
        norm = (radial.square() * weights[..., None]).sum(dim=1).clamp_min(TINY)
        return self.coefficient(types) * norm.rsqrt()[..., None]

    def forward(self, places: Places, weights: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """(batch, points, dimension) molecular orbitals on the field, not normalised yet."""
        radial, functions = self.functions(places, types)
        return torch.bmm(functions, self.coefficients(radial, weights, types))


def norms(orbitals: torch.Tensor, weights: torch.Tensor, electrons: torch.Tensor) -> torch.Tensor:
    """(batch, dimension) factors that make orbitals hold all electrons in equal shares; eq. 9.

    Args:
        orbitals: (batch, points, dimension).
        weights: (batch, points).
        electrons: (batch,).
    """
    squares = (orbitals.square() * weights[..., None]).sum(dim=1).clamp_min(TINY)
    return (electrons[:, None] / orbitals.shape[-1] / squares).sqrt()


def electrons(molecules: MoleculeSet, *, valence: bool) -> NDArray[np.float32]:
    """(n,) electrons of each molecule: nuclear charges, less those of cores, less its own charge.

    Raises:
        DataError: a molecule has none.
    """
    charges = valence_charges(molecules.numbers) if valence else molecules.numbers
    total = np.concatenate([[0], np.cumsum(charges)])
    held = np.diff(total[molecules.offsets]) - molecules.charges
    if (held < 1).any():
        raise DataError(
            f"molecule {molecules.ids[int(np.argmin(held))]}: got {held.min()} electrons for the "
            "quantum deep field, expected at least 1; leave it out of the dataset"
        )
    return held.astype(np.float32)


def valence_charges(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Charges of nuclei and cores together, of elements to Ar."""
    return numbers - np.select([numbers <= 2, numbers <= 10], [0, 2], 10)
