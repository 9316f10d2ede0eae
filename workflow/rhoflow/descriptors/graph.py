"""Crystals as graphs: atoms are nodes, edges lead to each atom from its neighbours.

Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), join every atom to its 12 nearest within 8 Å;
Benitez et al., arXiv 2511.15222 (2025), to all within 5.5 Å. Neighbours are sought among all
periodic images, so two atoms may be joined several times, and an atom to its own images. The graph
of a supercell is that of the cell, repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import Field
from pymatgen.optimization.neighbors import find_points_in_spheres

from rhoflow.crystal import Crystal
from rhoflow.descriptors.base import digest, taken_rows
from rhoflow.errors import DataError
from rhoflow.spec import Spec

# Neighbours whose distances differ by less are of one shell: those that symmetry makes equal differ
# by the digits of a file, 1e-4 of a cell's edge.
SHELL_ANGSTROM = 0.01

# Neighbours at the cutoff must not be told apart by rounding.
RIM = 1 + 1e-6


class CrystalGraphSpec(Spec):
    """Which atoms are joined."""

    kind: Literal["crystal_graph"] = "crystal_graph"
    algorithm: Literal[1] = 1
    cutoff_angstrom: float = Field(
        default=8.0, gt=0.5, le=20, description="Distance up to which neighbours are sought, Å."
    )
    max_neighbours: int | None = Field(
        default=12,
        ge=1,
        le=1000,
        description="Nearest neighbours that an atom is joined to, and with the last of them all "
        f"that are less than {SHELL_ANGSTROM} Å farther: a shell is taken as a whole. null: all "
        "within the cutoff.",
    )


@dataclass(frozen=True, eq=False)
class GraphSet:
    """Graphs of several crystals, concatenated.

    Attributes:
        ids: (n,) material ids.
        offsets: (n + 1,) int64; atoms of structure i are offsets[i]:offsets[i + 1].
        numbers: (atoms,) int64, atomic numbers.
        edge_offsets: (n + 1,) int64; edges of structure i are edge_offsets[i]:edge_offsets[i + 1].
        edges: (2, edges) int32, neighbour and atom that it is a neighbour of, as positions within
            their structure; in the order of the atoms, the nearest neighbour of each first.
        vectors: (edges, 3) float32, from atom to neighbour, Å.
    """

    ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    edge_offsets: NDArray[np.int64]
    edges: NDArray[np.int32]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.ids)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(n,) atoms of each structure."""
        return np.diff(self.offsets)

    @property
    def distances(self) -> NDArray[np.float32]:
        """(edges,) Å."""
        return np.linalg.norm(self.vectors, axis=1)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> "GraphSet":
        """The structures at the given positions, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        offsets, atoms = taken_rows(self.offsets, chosen)
        edge_offsets, edges = taken_rows(self.edge_offsets, chosen)
        return GraphSet(
            tuple(self.ids[i] for i in chosen),
            offsets,
            self.numbers[atoms],
            edge_offsets,
            self.edges[:, edges],
            self.vectors[edges],
        )

    def fingerprint(self) -> str:
        """A digest of all values."""
        return digest(self.offsets, self.numbers, self.edge_offsets, self.edges, self.vectors)


class Neighbours(NamedTuple):
    """Pairs of an atom and a neighbour, in the order of the atoms, the nearest first.

    Attributes:
        atoms: (pairs,) positions in the cell.
        neighbours: (pairs,) likewise; the neighbour is an image of that atom.
        vectors: (pairs, 3) from atom to neighbour, Å.
        distances: (pairs,) Å.
    """

    atoms: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    vectors: NDArray[np.float64]
    distances: NDArray[np.float64]


def crystal_graphs(crystals: Sequence[Crystal], spec: CrystalGraphSpec) -> GraphSet:
    """The graph of each crystal, none among them, in their order.

    Raises:
        DataError: an atom has no neighbour within the cutoff.
    """
    found = [_joined(crystal, spec) for crystal in crystals]
    pairs = [np.stack([f.neighbours, f.atoms]).astype(np.int32) for f in found]
    numbers = [atomic_numbers[s] for crystal in crystals for s in crystal.symbols]
    return GraphSet(
        tuple(crystal.material_id for crystal in crystals),
        _offsets([crystal.n_atoms for crystal in crystals]),
        np.asarray(numbers, dtype=np.int64),
        _offsets([len(f.atoms) for f in found]),
        np.concatenate([np.zeros((2, 0), np.int32), *pairs], axis=1),
        np.concatenate([np.zeros((0, 3)), *(f.vectors for f in found)]).astype(np.float32),
    )


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def neighbours(crystal: Crystal, reach_angstrom: float) -> Neighbours:
    """All neighbours of each atom of the cell within a distance (Å)."""
    lattice = np.ascontiguousarray(crystal.lattice, dtype=np.float64)
    at = np.ascontiguousarray(crystal.frac_coords @ lattice, dtype=np.float64)
    periodic = np.ones(3, dtype=np.int64)
    first, second, images, distances = find_points_in_spheres(
        at, at, r=reach_angstrom, pbc=periodic, lattice=lattice, tol=1e-8
    )
    other = np.flatnonzero((first != second) | images.any(axis=1))  # an atom is not its neighbour
    order = other[np.lexsort((second[other], distances[other], first[other]))]
    first, second = first[order], second[order]
    vectors = at[second] + images[order] @ lattice - at[first]
    return Neighbours(first, second, vectors, distances[order])


def _joined(crystal: Crystal, spec: CrystalGraphSpec) -> Neighbours:
    """The neighbours that each atom is joined to.

    Raises:
        DataError: an atom has none.
    """
    found = neighbours(crystal, spec.cutoff_angstrom * RIM)
    counts = np.bincount(found.atoms, minlength=crystal.n_atoms)  # (n_atoms,)
    if not counts.all():
        raise _alone(crystal, int(np.argmin(counts)), spec.cutoff_angstrom)
    if spec.max_neighbours is None:
        return found
    last = np.cumsum(counts) - counts + np.minimum(counts, spec.max_neighbours) - 1
    keep = found.distances < np.repeat(found.distances[last] + SHELL_ANGSTROM, counts)
    return Neighbours(
        found.atoms[keep], found.neighbours[keep], found.vectors[keep], found.distances[keep]
    )


def _alone(crystal: Crystal, atom: int, cutoff: float) -> DataError:
    """What is wrong where an atom has no neighbour."""
    reach, near = cutoff, np.zeros(0)
    while not len(near):  # its own images at the latest
        reach *= 2
        found = neighbours(crystal, reach)
        near = found.distances[found.atoms == atom]
    return DataError(
        f"{crystal.material_id}: atom {atom + 1} ({crystal.symbols[atom]}) has no neighbour within "
        f"cutoff_angstrom {cutoff:g}, its nearest is at {near.min():.2f} Å; raise cutoff_angstrom "
        "or drop the structure"
    )
