"""The same density in another cell of its lattice."""

import numpy as np
import spglib
from numpy.typing import NDArray

from rhoflow.density.spectrum import friedel_half
from rhoflow.errors import DataError

_NIGGLI_EPS = 1e-5
_LEAST_VOLUME = 1e-6  # Å³


def niggli_axes(lattice: NDArray[np.float64]) -> NDArray[np.int64]:
    """(3, 3) integers, rows: the axes of the Niggli cell in the given ones, right-handed.

    Args:
        lattice: (3, 3) Å, rows; either handedness.

    Raises:
        DataError: the lattice is degenerate.
    """
    solid = abs(np.linalg.det(lattice)) > _LEAST_VOLUME
    reduced = spglib.niggli_reduce(lattice, eps=_NIGGLI_EPS) if solid else None
    if reduced is None:
        raise DataError(
            f"no Niggli cell found: the lattice {lattice.tolist()} is degenerate, expected three "
            "vectors (Å) that span a volume"
        )
    axes = np.rint(reduced @ np.linalg.inv(lattice)).astype(np.int64)
    return axes if np.linalg.det(axes @ lattice) > 0 else -axes


def in_axes(
    hkl: NDArray[np.integer], coefficients: NDArray[np.complexfloating], axes: NDArray[np.int64]
) -> tuple[NDArray[np.int16], NDArray[np.complexfloating]]:
    """Fourier coefficients in another cell of the same lattice, again as a Friedel half.

    The wave vectors stay where they are; their indices are h_i = g·a_i / 2π.

    Args:
        hkl: (m, 3) indices of a Friedel half.
        coefficients: (…, m) of real fields.
        axes: (3, 3) integers, rows: the new axes in the old ones.

    Returns:
        (m, 3) and (…, m), in the same order.
    """
    indices = hkl @ axes.T
    kept = friedel_half(indices)
    partner = np.where(kept, coefficients, coefficients.conj())  # s(-g) = s(g)*
    return np.where(kept[:, None], indices, -indices).astype(np.int16), partner
