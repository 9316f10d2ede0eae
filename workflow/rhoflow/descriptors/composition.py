"""Composition: element fractions and volume per atom, the baseline that every table needs."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from pydantic import Field

from rhoflow.crystal import Crystal
from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import DataError, did_you_mean
from rhoflow.spec import Spec

ELEMENTS: tuple[str, ...] = tuple(chemical_symbols[1:95])
"""Hydrogen to plutonium: the columns of the fractions, whatever a dataset holds."""


class CompositionSpec(Spec):
    """Fractions of the elements, with or without the volume per atom."""

    kind: Literal["composition"] = "composition"
    algorithm: Literal[1] = 1
    volume: bool = Field(default=True, description="Append the volume per atom, in Å³.")


def composition_vectors(crystals: Sequence[Crystal], spec: CompositionSpec) -> VectorSet:
    """Element fractions of each crystal, then its volume per atom.

    Args:
        crystals: the structures.
        spec: whether to append the volume.

    Returns:
        (n, 94) fractions that sum to 1, in the order of ``ELEMENTS``, and with ``spec.volume``
        one column more, in Å³/atom.

    Raises:
        DataError: a structure holds an element beyond plutonium.
    """
    width = len(ELEMENTS)
    counts = np.asarray([c.n_atoms for c in crystals], dtype=np.int64)
    row = np.repeat(np.arange(len(crystals)), counts)  # (atoms of all crystals,)
    column = np.concatenate([_columns(c) for c in crystals] or [np.zeros(0, np.int64)])
    cells = np.bincount(row * width + column, minlength=len(crystals) * width)
    values = cells.reshape(len(crystals), width) / counts[:, None]
    if spec.volume:
        volume = np.asarray([c.volume for c in crystals], dtype=np.float64)
        values = np.column_stack([values, volume / counts])
    return VectorSet(tuple(c.material_id for c in crystals), values)


def _columns(crystal: Crystal) -> NDArray[np.int64]:
    """Position of each atom's element in ``ELEMENTS``, (n_atoms,)."""
    columns = np.asarray([atomic_numbers.get(s, 0) for s in crystal.symbols], dtype=np.int64) - 1
    outside = (columns < 0) | (columns >= len(ELEMENTS))
    if outside.any():
        symbol = crystal.symbols[int(np.argmax(outside))]
        hint = "" if symbol in atomic_numbers else did_you_mean(symbol, ELEMENTS)
        raise DataError(
            f"{crystal.material_id}: element {symbol!r} is outside H to Pu, the columns of the "
            f"composition vector{hint}; drop the structure"
        )
    return columns
