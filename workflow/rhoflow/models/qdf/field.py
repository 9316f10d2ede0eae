"""Molecules as fields of points, made on the device from coordinates, a batch at a time.

Molecules of a batch lie side by side, filled up to the largest of them: no block-diagonal matrix,
and nothing is read from files. What follows from geometry alone is computed here once a batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.models.qdf.orbitals import (
    Angles,
    OrbitalTypes,
    Places,
    electrons,
    harmonics,
    valence_charges,
)
from rhoflow.models.qdf.spec import QDFSpec, sphere

# Å; where the published code puts an atom that a field point lies upon; here also what fills up.
FAR = 1e6
# Å; other points may lie upon atoms: distances have logarithms, and s functions do not notice.
NEAR = 1e-6
# Å; how fast a neighbour's say in the direction of p functions falls with its distance.
REACH = 1.5
# Å; so that rounding leaves no point outside its own sphere.
ROUNDING = 1e-4


class Field(NamedTuple):
    """What the network reads of a batch.

    Attributes:
        places: field points and orbitals.
        types: (batch, orbitals) int64 orbital types.
        weights: (batch, points) what each point counts; 0 for those that fill up.
        electrons: (batch,).
        rows: (all points,) where the points of one molecule after the other lie among
            batch · points; None: everywhere.
        pool: (batch, all points) weights of each molecule's own points, 0 elsewhere.
        share: (batch, targets) factor of a sum over points: 1, or 1 over the sum of weights.
        asks_potential: whether the answer is the potential at all points, not the targets.
    """

    places: Places
    types: torch.Tensor
    weights: torch.Tensor
    electrons: torch.Tensor
    rows: torch.Tensor | None
    pool: torch.Tensor
    share: torch.Tensor
    asks_potential: bool = False


class Sight(NamedTuple):
    """Points of a batch as its atoms see them.

    Attributes:
        points: (batch, points, 3) Å from the centre of the molecule.
        present: (batch, points) false for those that fill up; of other points, (batch, 1) true.
        atoms: (batch, atoms + 1) int64 positions among all atoms; the last one fills up.
        real: (batch, atoms + 1) false for atoms that fill up.
        squared: (batch, points, atoms + 1) squared distances, Å².
    """

    points: torch.Tensor
    present: torch.Tensor
    atoms: torch.Tensor
    real: torch.Tensor
    squared: torch.Tensor


class Fields:
    """Makes fields of molecules.

    Args:
        molecules: whose elements all have orbitals among the types.
        spec: sphere, basis and switches.
        types: orbital types of the training set.
        extensive: (targets,) which of them read a sum over points; the others read a mean.
        device: where fields are made.
    """

    def __init__(
        self,
        molecules: MoleculeSet,
        spec: QDFSpec,
        types: OrbitalTypes,
        extensive: Sequence[bool],
        device: torch.device,
    ) -> None:
        self.spec, self.device, self.n_elements = spec, device, len(types.elements)
        self.sizes, self.starts = molecules.sizes, molecules.offsets[:-1]
        valence = spec.potential == "pseudo"
        charges = valence_charges(molecules.numbers) if valence else molecules.numbers
        self.sphere = self._put(sphere(spec))
        self.positions = self._put(centred(molecules))
        self.charges = self._put(charges)
        self.electrons = self._put(electrons(molecules, valence=valence))
        self.extensive = self._put(np.asarray(extensive, dtype=bool), torch.bool)
        self.powers = self._put(types.each("quantum_number") - 1)
        self.parts = self._put(harmonics(types.each("angular")))
        self._list_orbitals(molecules, types)

    def _put(self, values: NDArray[np.generic], kind: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.as_tensor(values).to(self.device, kind)

    def _list_orbitals(self, molecules: MoleculeSet, types: OrbitalTypes) -> None:
        """Atom and type of every orbital of every molecule, one after the other."""
        element = np.searchsorted(types.elements, molecules.numbers)
        within = np.arange(len(element)) - np.repeat(self.starts, self.sizes)
        counts = types.counts[element]  # (atoms,)
        before = np.concatenate([[0], np.cumsum(counts)])
        self.orbital_starts = before[molecules.offsets[:-1]]
        self.orbital_counts = np.diff(before[molecules.offsets])
        number = np.arange(before[-1]) - np.repeat(before[:-1], counts)
        first = np.cumsum(types.counts) - types.counts
        self.elements = self._put(element, torch.int64)
        self.orbital_atoms = self._put(np.repeat(within, counts), torch.int64)
        self.orbital_types = self._put(np.repeat(first[element], counts) + number, torch.int64)

    def n_points(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """(batch,) field points of molecules."""
        return self.sizes[chosen] * len(self.sphere)

    def batch(self, chosen: NDArray[np.int64]) -> tuple[Field, torch.Tensor]:
        """The field of some molecules, and the external potential at all their points.

        Args:
            chosen: (batch,) positions of the molecules in the set.

        Returns:
            The field, asking for targets, and (all points, 1).
        """
        sight = self.sight(chosen)
        places, types = self.places(chosen, sight)
        weights = self.weights(sight)
        rows = self._rows(chosen, sight)
        kept = weights.flatten() if rows is None else weights.flatten()[rows]
        mean = 1 / weights.sum(dim=1, keepdim=True)
        field = Field(
            places,
            types,
            weights,
            self.electrons[self._put(chosen, torch.int64)],
            rows,
            self._pool(chosen, kept),
            torch.where(self.extensive, torch.ones_like(mean), mean),
        )
        potential = self._potential(sight).flatten(0, 1)
        return field, potential if rows is None else potential[rows]

    def sight(self, chosen: NDArray[np.int64], points: torch.Tensor | None = None) -> Sight:
        """Atoms of molecules, and the points of their fields or others.

        Args:
            chosen: (batch,) positions of the molecules in the set.
            points: (batch, points, 3) Å from the molecules' centres; None: those of the fields.
        """
        numbers, real = filled(self.starts[chosen], self.sizes[chosen], spare=1)
        atoms, real = self._put(numbers, torch.int64), self._put(real, torch.bool)
        centres = self.positions[atoms]  # (batch, atoms + 1, 3)
        upon = NEAR
        present = real.new_ones(len(chosen), 1)
        if points is None:
            upon = FAR
            points = (centres[:, :-1, None] + self.sphere).flatten(1, 2)
            present = real[:, :-1].repeat_interleave(len(self.sphere), dim=1)
        squared = (points[:, :, None] - centres[:, None]).square().sum(dim=-1)
        squared = torch.where(squared > 0, squared, upon**2)
        seen = present[:, :, None] & real[:, None]
        return Sight(points, present, atoms, real, torch.where(seen, squared, FAR**2))

    def spheres(self, sight: Sight) -> torch.Tensor:
        """(batch, points) in how many spheres each point lies."""
        radius = self.spec.sphere_angstrom + ROUNDING
        return (sight.squared <= radius**2).sum(dim=-1)

    def weights(self, sight: Sight) -> torch.Tensor:
        """(batch, points) what the points of fields count."""
        if self.spec.quadrature == "unit":
            return sight.present.float()
        return sight.present / self.spheres(sight).clamp_min(1)

    def places(self, chosen: NDArray[np.int64], sight: Sight) -> tuple[Places, torch.Tensor]:
        """Points as orbitals see them, and (batch, orbitals) the types of these."""
        starts, counts = self.orbital_starts[chosen], self.orbital_counts[chosen]
        numbers, real = filled(starts, counts)
        orbitals, real = self._put(numbers, torch.int64), self._put(real, torch.bool)
        spare = sight.atoms.shape[1] - 1
        atom = torch.where(real, self.orbital_atoms[orbitals], spare)
        types = self.orbital_types[orbitals]
        index = atom[:, None].expand(-1, sight.points.shape[1], -1)
        squared = torch.gather(sight.squared, 2, index)  # (batch, points, orbitals)
        logarithm = torch.gather(sight.squared.log() / 2, 2, index)
        decay = squared if self.spec.radial == "gaussian" else squared.sqrt()
        angles = self._angles(sight, atom, types, squared) if self.spec.angular else None
        return Places(decay, logarithm * self.powers[types][:, None], angles), types

    def _angles(
        self, sight: Sight, atom: torch.Tensor, types: torch.Tensor, squared: torch.Tensor
    ) -> Angles:
        """Directions of neighbours, and the harmonics of orbitals."""
        centres = self.positions[sight.atoms]
        apart = centres[:, None] - centres[:, :, None]  # (batch, from, to, 3)
        distance = apart.square().sum(dim=-1).sqrt()
        near = sight.real[:, None] & sight.real[:, :, None] & (distance > 0)
        say = torch.where(near, torch.exp(-((distance / REACH) ** 2)) / distance, 0.0)
        element = torch.nn.functional.one_hot(self.elements[sight.atoms], self.n_elements)
        toward = torch.einsum("bij,bijx,bje->biex", say, apart, element.float())
        pick = atom[:, :, None, None].expand(-1, -1, self.n_elements, 3)
        return Angles(
            sight.points,
            torch.gather(centres, 1, pick[:, :, 0]),
            squared.sqrt(),
            torch.gather(toward, 1, pick),
            self.parts[types],
        )

    def _potential(self, sight: Sight) -> torch.Tensor:
        """(batch, points, 1) external potential; eq. 6 or what the spec puts in its place."""
        charges = torch.where(sight.real, self.charges[sight.atoms], 0.0)[..., None]
        distance = sight.squared.sqrt()
        if self.spec.potential == "gaussian":
            return -torch.bmm(torch.exp(-sight.squared), charges)
        if self.spec.potential == "coulomb":
            return -torch.bmm(1 / distance, charges)
        width = self.spec.potential_width_angstrom
        return -torch.bmm(torch.erf(distance / width) / distance, charges)

    def _rows(self, chosen: NDArray[np.int64], sight: Sight) -> torch.Tensor | None:
        """Where the points that do not fill up lie."""
        counts, width = self.n_points(chosen), sight.points.shape[1]
        if (counts == width).all():
            return None
        rows = [np.arange(n) + i * width for i, n in enumerate(counts)]
        return self._put(np.concatenate(rows), torch.int64)

    def _pool(self, chosen: NDArray[np.int64], weights: torch.Tensor) -> torch.Tensor:
        """(batch, all points) weights of all points in the rows of their molecules."""
        owner = self._put(np.repeat(np.arange(len(chosen)), self.n_points(chosen)), torch.int64)
        molecule = torch.arange(len(chosen), device=self.device)
        return torch.where(owner == molecule[:, None], weights, 0.0)


def centred(molecules: MoleculeSet) -> NDArray[np.float64]:
    """(atoms, 3) positions from the centre of each molecule, Å: small numbers round less."""
    sizes = np.maximum(molecules.sizes, 1)[:, None]
    before = np.concatenate([np.zeros((1, 3)), np.cumsum(molecules.positions, axis=0)])
    centres = np.diff(before[molecules.offsets], axis=0) / sizes
    return molecules.positions - np.repeat(centres, molecules.sizes, axis=0)


def filled(
    starts: NDArray[np.int64], counts: NDArray[np.int64], spare: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(batch, width) numbers from each start on, and which of them count; 0 where none does."""
    number = np.arange(counts.max() + spare)
    real = number < counts[:, None]
    return np.where(real, starts[:, None] + number, 0), real
