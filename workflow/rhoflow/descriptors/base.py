"""What every descriptor hands to a model: one row a structure, addressable by index."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


class DescriptorSet(Protocol):
    """Descriptors of several structures, in a fixed order."""

    ids: tuple[str, ...]

    def __len__(self) -> int:
        """Number of structures."""
        ...

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Self:
        """The structures at the given positions, in that order."""
        ...


@dataclass(frozen=True, eq=False)
class VectorSet:
    """One vector a structure.

    Attributes:
        ids: (n,) material ids.
        values: (n, d) float64.
    """

    ids: tuple[str, ...]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.ids)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> "VectorSet":
        """The structures at the given positions, in that order."""
        return VectorSet(tuple(self.ids[i] for i in indices), self.values[np.asarray(indices)])


def stack_padded(ids: Sequence[str], vectors: Sequence[NDArray[np.float64]]) -> VectorSet:
    """Join vectors of different lengths into one set, zeros at the end of the shorter ones."""
    width = max((len(v) for v in vectors), default=0)
    values = np.zeros((len(vectors), width))  # (n, d)
    for row, vector in zip(values, vectors, strict=True):
        row[: len(vector)] = vector
    return VectorSet(tuple(ids), values)
