"""One molecule, as every stage after selection sees it."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Molecule:
    """Atoms in free space.

    Attributes:
        material_id: name of the molecule within its dataset.
        symbols: (n_atoms,) element symbols.
        positions: (n_atoms, 3) float, Å.
        charge: in units of the elementary charge.
        smiles: its bonds as SMILES, where its source knows them; None otherwise.
    """

    material_id: str
    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    charge: int = 0
    smiles: str | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.symbols)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """(n_atoms,) atomic numbers."""
        return np.array([atomic_numbers[s] for s in self.symbols], dtype=np.int64)

    @property
    def n_electrons(self) -> int:
        """All electrons, those of the cores among them."""
        return int(self.numbers.sum()) - self.charge

    @property
    def formula(self) -> str:
        """By Hill: carbon, hydrogen, then the others by the alphabet; without carbon all by it."""
        counts = Counter(self.symbols)
        first = [e for e in ("C", "H") if e in counts] if "C" in counts else []
        elements = first + sorted(counts.keys() - set(first))
        return "".join(e + (str(counts[e]) if counts[e] > 1 else "") for e in elements)

    def to_ase(self) -> Atoms:
        """The same molecule as ASE atoms without a cell."""
        return Atoms(symbols=list(self.symbols), positions=self.positions)
