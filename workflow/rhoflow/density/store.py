"""What is kept of a computed density."""

import logging
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from rhoflow.density.spectrum import Spectrum, electron_tolerance, require_reach, truncate
from rhoflow.errors import DataError
from rhoflow.spec import Spec

logger = logging.getLogger(__name__)


class DensitySpec(Spec):
    """What is kept of a density."""

    algorithm: Literal[1] = 1
    g_store: float = Field(
        default=12.0,
        gt=0.5,
        le=60,
        description="Largest |g| of the stored density spectrum in 1/Å; at least the g_cut of "
        "every descriptor that reads it.",
    )


def store(
    spectra: Mapping[str, Spectrum], n_electrons: Mapping[str, float], spec: DensitySpec
) -> dict[str, Spectrum]:
    """Spectra inside |g| ≤ g_store, each checked against its number of valence electrons.

    Args:
        spectra: densities at the engine's own resolution, by material id.
        n_electrons: valence electrons of the cell, by material id.
        spec: the radius that is kept.

    Raises:
        DataError: s(0)·V is not the number of valence electrons, or the engine's own
            resolution ends before g_store.
    """
    for name, spectrum in spectra.items():
        expected, got = n_electrons[name], spectrum.n_electrons
        if not abs(got - expected) <= electron_tolerance(spectrum.n_atoms):
            raise DataError(
                f"{name}: its density integrates to {got:.6f} electrons, its record says "
                f"{expected:.6f}; the two files of the shard do not belong together: delete both"
            )
    return keep(spectra, spec)


def keep(spectra: Mapping[str, Spectrum], spec: DensitySpec) -> dict[str, Spectrum]:
    """Spectra of any field inside |g| ≤ g_store, by material id.

    Raises:
        DataError: the engine's own resolution ends before g_store.
    """
    kept = {}
    for name, spectrum in spectra.items():
        require_reach(spectrum, spec.g_store, name)
        kept[name] = truncate(spectrum, spec.g_store)
    logger.info("%d spectra kept inside %.2f 1/Å", len(kept), spec.g_store)
    return kept
