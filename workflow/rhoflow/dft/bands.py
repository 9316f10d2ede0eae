"""What the eigenvalues of any engine say about the bands."""

import numpy as np
from numpy.typing import NDArray

# Bands farther apart than this do not belong to one valence band, eV.
BAND_SPLIT_EV = 1.0


def valence_band_width(
    eigenvalues: NDArray[np.float64], occupations: NDArray[np.float64]
) -> float | None:
    """Width of the uppermost group of occupied bands, from its bottom to the highest level.

    Going down from the highest occupied band, bands belong to the group as long as their energy
    ranges overlap it or lie less than 1 eV below: in an oxide the O 2p band, without O 2s and
    semicore levels. In a metal the top is the highest level that is at least half filled.

    Args:
        eigenvalues: (n_spins, n_kpoints, n_bands) eV, ascending along the bands.
        occupations: the same shape, 0 to 1.

    Returns:
        The width in eV, None where nothing is occupied.
    """
    levels = np.concatenate(list(eigenvalues))  # (spins * k-points, bands)
    filled = np.concatenate(list(occupations)) >= 0.5
    if not filled.any():
        return None
    top = float(levels[filled].max())
    bands = [b for b in range(levels.shape[1]) if filled[:, b].any()]
    bottom = top
    for band in reversed(bands):
        inside = levels[filled[:, band], band]
        if inside.max() < bottom - BAND_SPLIT_EV:
            break
        bottom = min(bottom, float(inside.min()))
    return top - bottom
