"""Molecules as they are: elements and positions, for networks that look at atoms themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rhoflow.descriptors.base import digest, taken_rows
from rhoflow.molecule import Molecule
from rhoflow.spec import Spec


class GeometrySpec(Spec):
    """Atoms and their positions; what is made of them, the model says."""

    kind: Literal["geometry"] = "geometry"
    algorithm: Literal[1] = 1


@dataclass(frozen=True, eq=False)
class MoleculeSet:
    """Molecules of different sizes, their atoms one after the other.

    Attributes:
        ids: (n,) material ids.
        offsets: (n + 1,) int64; the atoms of molecule i are those from offsets[i] to offsets[i+1].
        numbers: (atoms,) int64, atomic numbers.
        positions: (atoms, 3) float64, Å.
        charges: (n,) int64, in units of the elementary charge.
    """

    ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    charges: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.ids)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(n,) atoms of each molecule."""
        return np.diff(self.offsets)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> "MoleculeSet":
        """The molecules at the given positions, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        offsets, atoms = taken_rows(self.offsets, chosen)
        return MoleculeSet(
            tuple(self.ids[i] for i in chosen),
            offsets,
            self.numbers[atoms],
            self.positions[atoms],
            self.charges[chosen],
        )

    def fingerprint(self) -> str:
        """A digest of all values."""
        return digest(self.offsets, self.numbers, self.positions, self.charges)


def molecule_set(molecules: Sequence[Molecule]) -> MoleculeSet:
    """Molecules of any number, none among them, in their order."""
    none = [np.zeros((0, 3))]
    return MoleculeSet(
        tuple(m.material_id for m in molecules),
        np.concatenate([[0], np.cumsum([m.n_atoms for m in molecules])]).astype(np.int64),
        np.concatenate([none[0][:, 0], *(m.numbers for m in molecules)]).astype(np.int64),
        np.concatenate(none + [m.positions for m in molecules]).astype(np.float64),
        np.array([m.charge for m in molecules], dtype=np.int64),
    )
