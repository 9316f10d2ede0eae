"""What a predicted density is judged by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.density.spectrum import Spectrum, hartree_energy, to_grid
from rhoflow.evaluation.metrics import density_distance

# Targets that are judged on densities; each is 0, or a property of the computed one.
OF_DENSITIES = ("density_error_percent", "electrons_per_atom", "hartree_energy_ev_per_atom")

# Every map has it right but for rounding, so a figure of its error would show noise.
CONSERVED = "electrons_per_atom"

# Sizes whose fast Fourier transforms are fast: no prime factor above 5.
FAST_SIZES = tuple(
    sorted(2**a * 3**b * 5**c for a in range(11) for b in range(7) for c in range(5))
)


def worth_showing(targets: Iterable[str]) -> list[str]:
    """Each target once, without what every map has right; that alone where it is the only one."""
    named = list(dict.fromkeys(targets))
    return [name for name in named if name != CONSERVED] or named


def grid_shape(hkl: NDArray[np.integer]) -> tuple[int, int, int]:
    """Points along each axis of the least fast grid that holds these indices."""
    needed = 2 * np.abs(hkl).max(axis=0, initial=0) + 1
    n1, n2, n3 = (next(n for n in FAST_SIZES if n >= least) for least in needed)
    return n1, n2, n3


def density_error_percent(predicted: Spectrum, true: Spectrum) -> float:
    """Normalised mean absolute error in percent: 100 ∫|ρ' - ρ| dr / ∫|ρ| dr.

    Both on the least grid that holds their wave vectors.
    """
    shape = grid_shape(true.hkl)
    return density_distance(to_grid(predicted, shape), to_grid(true, shape))


def observables(
    predicted: Spectrum, true: Spectrum, names: Sequence[str]
) -> tuple[list[float], list[float]]:
    """What ``OF_DENSITIES`` names, of the computed density and of the predicted one.

    The Hartree energy is that of the wave vectors at hand, of both densities alike.
    """
    n = true.n_atoms
    values = {
        "density_error_percent": lambda s: 0.0 if s is true else density_error_percent(s, true),
        "electrons_per_atom": lambda s: s.n_electrons / n,
        "hartree_energy_ev_per_atom": lambda s: hartree_energy(s) / n,
    }
    of_true, of_predicted = ([values[name](s) for name in names] for s in (true, predicted))
    return of_true, of_predicted


def truths(spectra: Mapping[str, Spectrum]) -> pd.DataFrame:
    """A row a computed density: material_id and ``OF_DENSITIES``."""
    rows = [observables(s, s, OF_DENSITIES)[0] for s in spectra.values()]
    table = pd.DataFrame(rows, columns=list(OF_DENSITIES), dtype=np.float64)
    table.insert(0, "material_id", list(spectra))
    return table


def negative_percent(spectrum: Spectrum) -> float:
    """100 ∫|ρ| over where ρ is below zero, over ∫|ρ|.

    Computed densities inside a sphere of g have such places too.
    """
    values = to_grid(spectrum, grid_shape(spectrum.hkl))
    return float(-100 * values[values < 0].sum() / np.abs(values).sum())


def mean_spectrum(spectra: Sequence[Spectrum]) -> Spectrum:
    """The mean of several densities of one crystal."""
    values = np.mean([s.coefficients for s in spectra], axis=0)
    return replace(spectra[0], coefficients=values.astype(np.complex64))
