"""One crystal structure, as every stage after selection sees it."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Crystal:
    """An ordered crystal.

    Attributes:
        material_id: name of the structure within its dataset.
        lattice: (3, 3) float, Å; rows are the lattice vectors.
        symbols: (n_atoms,) element symbols.
        frac_coords: (n_atoms, 3) float, fractional coordinates.
    """

    material_id: str
    lattice: NDArray[np.float64]
    symbols: tuple[str, ...]
    frac_coords: NDArray[np.float64]

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the cell."""
        return len(self.symbols)

    @property
    def volume(self) -> float:
        """Cell volume in Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    def to_ase(self) -> Atoms:
        """The same crystal as periodic ASE atoms."""
        return Atoms(
            symbols=list(self.symbols),
            scaled_positions=self.frac_coords,
            cell=self.lattice,
            pbc=True,
        )
