"""What an atom is before its neighbours speak: numbers of its element."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from ase.data import atomic_masses, chemical_symbols, covalent_radii
from numpy.typing import NDArray
from pymatgen.core.periodic_table import Element

from rhoflow.descriptors.graph import GraphSet
from rhoflow.descriptors.soap import electronegativities
from rhoflow.errors import DataError
from rhoflow.models.graph.spec import Nodes

# Plutonium: beyond it radii are not known.
LAST = 94
BLOCKS = "spdf"


@cache
def property_table(nodes: Nodes) -> NDArray[np.float64]:
    """(119, properties) of the element of each atomic number, from 0 to 1 over those that have all.

    ``published``: atomic number, electronegativity (Pauling), mass and covalent radius, the four of
    arXiv 2511.15222. ``properties``: period, group, block (one of four), electronegativity, radius,
    mass and first ionisation energy. NaN where an element lacks one, and beyond plutonium.
    """
    numbers = range(1, LAST + 1)
    known = electronegativities()
    negativity = [known.get(chemical_symbols[z], np.nan) for z in numbers]
    mass, radius = atomic_masses[1 : LAST + 1], covalent_radii[1 : LAST + 1]
    if nodes == "published":
        columns = [list(numbers), negativity, mass, radius]
    else:
        elements = [Element.from_Z(z) for z in numbers]
        places = [[e.row for e in elements], [e.group for e in elements]]
        blocks = [[float(e.block == block) for e in elements] for block in BLOCKS]
        ionisation = [e.ionization_energy for e in elements]
        columns = [*places, *blocks, negativity, radius, mass, ionisation]
    values = np.asarray(columns, dtype=np.float64).T
    whole = values[np.isfinite(values).all(axis=1)]
    least, largest = whole.min(axis=0), whole.max(axis=0)
    table = np.full((len(chemical_symbols), len(columns)), np.nan)
    table[1 : LAST + 1] = (values - least) / (largest - least)
    table.setflags(write=False)
    return table


class Elements:
    """Numbers of the elements for the atoms of graphs.

    Args:
        nodes: which numbers.
        numbers: atomic numbers of the training set's atoms.
    """

    def __init__(self, nodes: Nodes, numbers: Sequence[int]) -> None:
        self.nodes, self.trained = nodes, sorted(set(numbers))
        if nodes == "element":
            self.table = np.full((len(chemical_symbols), len(self.trained)), np.nan)
            self.table[self.trained] = np.eye(len(self.trained))
        else:
            self.table = property_table(nodes)

    @property
    def n_features(self) -> int:
        """Numbers of an atom."""
        return self.table.shape[1]

    def features(self, graphs: GraphSet) -> NDArray[np.float32]:
        """(atoms, features).

        Raises:
            DataError: an element has no such numbers.
        """
        values = self.table[graphs.numbers].astype(np.float32)
        wrong = np.flatnonzero(np.isnan(values).any(axis=1))
        if len(wrong):
            raise self._unknown(graphs, int(wrong[0]))
        return values

    def _unknown(self, graphs: GraphSet, atom: int) -> DataError:
        """What is wrong with an atom."""
        owner = graphs.ids[int(np.searchsorted(graphs.offsets, atom, side="right")) - 1]
        symbol = chemical_symbols[graphs.numbers[atom]]
        if self.nodes == "element":
            trained = ", ".join(chemical_symbols[z] for z in self.trained)
            return DataError(
                f"{owner}: nothing was trained for {symbol}; got a training set with {trained}. "
                "Train with structures that hold it, leave this one out, or set nodes: properties"
            )
        return DataError(
            f"{owner}: nodes: {self.nodes} has no numbers for {symbol}, expected an element with a "
            f"Pauling electronegativity and not beyond {chemical_symbols[LAST]}; drop the structure"
        )
