"""One crystal structure, as every stage after selection sees it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from rhoflow.errors import did_you_mean


@dataclass(frozen=True, eq=False)
class Crystal:
    """An ordered crystal.

    Attributes:
        material_id: name of the structure within its dataset.
        lattice: (3, 3) float, Å; rows are the lattice vectors.
        symbols: (n_atoms,) element symbols.
        frac_coords: (n_atoms, 3) float, fractional coordinates.
        origin: file or folder that it was read from, for engines that take finished
            calculations; None otherwise.
    """

    material_id: str
    lattice: NDArray[np.float64]
    symbols: tuple[str, ...]
    frac_coords: NDArray[np.float64]
    origin: str | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the cell."""
        return len(self.symbols)

    @property
    def volume(self) -> float:
        """Cell volume in Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    def scaled(self, volume: float) -> "Crystal":
        """The same crystal at another cell volume (Å³), its shape and coordinates kept."""
        return replace(self, lattice=self.lattice * (volume / self.volume) ** (1 / 3))

    def to_ase(self) -> Atoms:
        """The same crystal as periodic ASE atoms."""
        return Atoms(
            symbols=list(self.symbols),
            scaled_positions=self.frac_coords,
            cell=self.lattice,
            pbc=True,
        )


def elements_of(formula: str) -> frozenset[str]:
    """The elements in a chemical formula."""
    return frozenset(re.findall(r"[A-Z][a-z]?", formula))


Elements = TypeVar("Elements", bound=Iterable[str])


def known_elements(value: Elements) -> Elements:
    """Symbols of elements, or a mapping whose keys are.

    Raises:
        ValueError: one is not, with the nearest that is.
    """
    for symbol in value:
        if symbol not in chemical_symbols[1:]:
            near = did_you_mean(symbol.capitalize(), chemical_symbols[1:])
            hint = near if near.startswith("; did") else "; expected one such as 'Fe'"
            raise ValueError(f"'{symbol}' is not the symbol of an element{hint}")
    return value
