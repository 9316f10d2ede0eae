"""What the eigenvalues of any engine say about the bands."""

import numpy as np
from numpy.typing import NDArray

# Bands farther apart than this do not belong to one valence band, eV.
BAND_SPLIT_EV = 1.0


def band_terms(
    eigenvalues: NDArray[np.float64],
    occupations: NDArray[np.float64],
    fermi_level: float | None = None,
) -> dict[str, float | None]:
    """Gap, valence-band maximum and valence band width.

    A level is filled if it is occupied by at least one half. A spin whose number of filled bands
    changes with k is metallic, whatever small difference the k-mesh leaves between its highest
    filled and lowest empty level.

    Args:
        eigenvalues: (n_spins, n_kpoints, n_bands) eV, ascending along the bands.
        occupations: the same shape, 0 to 1.
        fermi_level: eV, where the width of a metal's valence band ends; None if unknown.

    Returns:
        Columns of ``tables.DFT_RECORDS``; those that nothing can be said about are left out.
    """
    filled = occupations >= 0.5
    if not filled.any():
        return {}
    top = float(eigenvalues[filled].max())
    if filled.all():
        return {"valence_band_width_ev": valence_band_width(eigenvalues, top)}
    counts = filled.sum(axis=2)  # (spins, k-points)
    gap = float(eigenvalues[~filled].min()) - top
    insulating = gap > 0 and bool((counts == counts[:, :1]).all())
    if not insulating:
        top = top if fermi_level is None else fermi_level
    return {
        "band_gap_ev": gap if insulating else 0.0,
        "valence_band_maximum_ev": top if insulating else None,
        "valence_band_width_ev": valence_band_width(eigenvalues, top),
    }


def valence_band_width(eigenvalues: NDArray[np.float64], top: float) -> float:
    """Width of the uppermost group of occupied bands, from its bottom to the highest level.

    Going down from the highest occupied band, bands belong to the group as long as their energy
    ranges overlap it or lie less than 1 eV below: in an oxide the O 2p band, without O 2s and
    semicore levels.

    Args:
        eigenvalues: (n_spins, n_kpoints, n_bands) eV, ascending along the bands.
        top: valence-band maximum, or a metal's Fermi level, eV.

    Returns:
        The width in eV.
    """
    levels = np.concatenate(list(eigenvalues))  # (spins * k-points, bands)
    occupied = levels <= top + 1e-9
    bottom = top
    for band in reversed(np.flatnonzero(occupied.any(axis=0))):
        inside = levels[occupied[:, band], band]
        if inside.max() < bottom - BAND_SPLIT_EV:
            break
        bottom = min(bottom, float(inside.min()))
    return top - bottom
