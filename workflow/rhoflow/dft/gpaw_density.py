"""Free atoms of GPAW's PAW sets, in the definition of the stored valence density.

That density is the pseudo density with compensation charges. A free atom of it is spherical: its
bound pseudo partial waves with their occupations, the pseudo core density, and a Gaussian of the
set's width that makes up the rest of the valence electrons.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from ase.units import Bohr
from gpaw.setup_data import SetupData
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from rhoflow.dft.gpaw import GPAWSpec, short_reason
from rhoflow.errors import EngineError
from rhoflow.tables import ATOM_DENSITIES

# Of the integral over the radius, in Bohr. Beyond the range even caesium has less than 1e-6
# electrons; at half the step no coefficient up to 12 1/Å changes by 1e-6.
_RANGE = 40.0
_STEP = 0.02


def form_factors(
    elements: Iterable[str], spec: GPAWSpec, g: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fourier transforms of free atoms: Σ_a f_a(g) exp(-i g·R_a) / V is their superposition.

    Args:
        elements: chemical symbols.
        spec: functional and choice of PAW sets.
        g: (n_g,) 1/Å.

    Returns:
        (n_elements, n_g) electrons; f(0) is the number of valence electrons.

    Raises:
        EngineError: there is no PAW set for an element, or it has another kind of compensation
            charge than a Gaussian.
    """
    rows = [_form_factor(_paw_set(e, spec.functional, spec.setups.get(e, "paw")), g)
            for e in elements]  # fmt: skip
    return np.array(rows).reshape(-1, len(g))


def atomic_form_factors(
    elements: Iterable[str], spec: GPAWSpec, g_max: float = 12.0, step: float = 0.05
) -> pd.DataFrame:
    """The same as a table with values at 0, step, 2 step, … g_max (1/Å).

    Returns:
        ``tables.ATOM_DENSITIES``, one row an element in alphabetical order.

    Raises:
        EngineError: as for ``form_factors``.
    """
    names = sorted(set(elements))
    g = np.arange(round(g_max / step) + 1, dtype=np.float64) * step
    factors = form_factors(names, spec, g)
    columns = {
        "element": names,
        "n_valence_electrons": factors[:, 0],
        "step_per_angstrom": step,
        "form_factor": list(factors),
    }
    return pd.DataFrame(columns, columns=ATOM_DENSITIES.names)


@cache
def _paw_set(element: str, functional: str, name: str) -> SetupData:
    try:
        paw_set = SetupData(element, functional, name=name)
    except FileNotFoundError as error:
        raise EngineError(
            f"engine gpaw: {short_reason(error)}; leave the structures with {element} out"
        ) from error
    kind = paw_set.shape_function["type"]
    if kind != "gauss":
        raise EngineError(
            f"engine gpaw: the PAW set of {element} has compensation charges of kind '{kind}', "
            "expected 'gauss'; choose another set (engines: setups)"
        )
    return paw_set


def _form_factor(paw_set: Any, g: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_g,) of one atom.

    GPAW's own superposition cuts the waves off at 8 Bohr and then scales the density of the
    whole cell to the right number of electrons; here they are as they are.
    """
    radius = paw_set.rgd.r_g  # (n_r,) Bohr
    occupied = zip(paw_set.f_j, paw_set.n_j, paw_set.phit_jg, strict=False)
    smooth = paw_set.nct_g * np.sqrt(4 * np.pi)
    for occupation, n, wave in occupied:
        if n > 0:
            smooth = smooth + occupation * wave**2  # 4π times the density
    wave_numbers = np.append(np.asarray(g, dtype=np.float64), 0.0) * Bohr
    transform = _transform(radius, smooth, wave_numbers)
    width = paw_set.shape_function["rc"]
    gaussian = np.exp(-(wave_numbers**2) * width**2 / 4)
    return (transform + (paw_set.Nv - transform[-1]) * gaussian)[:-1]


def _transform(
    radius: NDArray[np.float64], values: NDArray[np.float64], wave_numbers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n_g,) ∫ r² v(r) sin(gr)/(gr) dr; between the set's points v follows a cubic spline."""
    r = np.arange(_STEP / 2, min(_RANGE, radius[-1]), _STEP)
    weighted = _STEP * r**2 * CubicSpline(radius, values)(r)
    return np.sinc(np.outer(wave_numbers, r) / np.pi) @ weighted
