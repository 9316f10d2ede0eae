"""What every descriptor hands to a model: one row a structure, addressable by index."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import DataError


class DescriptorSet(Protocol):
    """Descriptors of several structures, in a fixed order."""

    @property
    def ids(self) -> tuple[str, ...]:
        """(n,) material ids."""
        ...

    def __len__(self) -> int:
        """Number of structures."""
        ...

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> Self:
        """The structures at the given positions, in that order."""
        ...

    def fingerprint(self) -> str:
        """A digest of all values; equal sets have equal ones."""
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

    def fingerprint(self) -> str:
        """A digest of all values."""
        return digest(self.values)


@dataclass(frozen=True, eq=False)
class PairedSet:
    """Two descriptors of the same structures, in one order.

    Attributes:
        first: what the first model of a stack reads.
        second: what the model of its residual reads.
    """

    first: DescriptorSet
    second: DescriptorSet

    @property
    def ids(self) -> tuple[str, ...]:
        """(n,) material ids."""
        return self.first.ids

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.first)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> "PairedSet":
        """The structures at the given positions, in that order."""
        return PairedSet(self.first.take(indices), self.second.take(indices))

    def fingerprint(self) -> str:
        """A digest of all values of both."""
        return self.first.fingerprint() + self.second.fingerprint()


def paired(first: DescriptorSet, second: DescriptorSet) -> PairedSet:
    """Two descriptors of the structures that both hold, in the order of the first.

    A structure whose calculation failed has no density, yet its atoms have a descriptor.

    Raises:
        DataError: they have no structure in common.
    """
    known = {name: i for i, name in enumerate(second.ids)}
    shared = [i for i, name in enumerate(first.ids) if name in known]
    if not shared:
        raise DataError(
            "two descriptors of one stack have no structure in common; delete the older descriptor "
            "files and run snakemake again"
        )
    return PairedSet(first.take(shared), second.take([known[first.ids[i]] for i in shared]))


def digest(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 of the arrays' bytes."""
    known = hashlib.sha256()
    for array in arrays:
        known.update(np.ascontiguousarray(array).tobytes())
    return known.hexdigest()


def taken_rows(
    offsets: NDArray[np.int64], indices: Sequence[int] | NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets and rows of joined arrays when some structures are taken, in the given order.

    Args:
        offsets: (n + 1,) rows of structure i are offsets[i]:offsets[i + 1].
        indices: (m,) positions of the structures.

    Returns:
        (m + 1,) their offsets after, and their rows before.
    """
    chosen = np.asarray(indices, dtype=np.int64)
    starts, lengths = offsets[chosen], np.diff(offsets)[chosen]
    after = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return after, np.arange(after[-1]) + np.repeat(starts - after[:-1], lengths)


def stack_padded(ids: Sequence[str], vectors: Sequence[NDArray[np.float64]]) -> VectorSet:
    """Join vectors of different lengths into one set, zeros at the end of the shorter ones."""
    width = max((len(v) for v in vectors), default=0)
    values = np.zeros((len(vectors), width))  # (n, d)
    for row, vector in zip(values, vectors, strict=True):
        row[: len(vector)] = vector
    return VectorSet(tuple(ids), values)
