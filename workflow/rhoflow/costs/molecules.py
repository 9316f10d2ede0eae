"""Run time and memory of jobs that compute molecules with PySCF, or take what is known of them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from ase.data import atomic_numbers
from numpy.typing import NDArray

from rhoflow.costs.resources import (
    JOB_START_S,
    PARENT_MB,
    SHARD_RESERVE,
    Resources,
    list_schedule_s,
    request,
)

# Spherical functions of hydrogen and helium, of lithium to neon, and of heavier atoms.
FUNCTIONS = {
    "6-31g": (2, 9, 13),
    "6-31g(d)": (2, 14, 18),
    "6-31g(2df,p)": (5, 26, 30),
    "def2-svp": (5, 14, 18),
    "def2-tzvp": (6, 31, 37),
}
LARGEST = (6, 31, 37)

# Processor seconds of B3LYP with 6-31G(2df,p) on one core: water 0.1 with density fitting and 0.3
# with exact integrals, ethanol (108 functions) 1.0 and 3.6, benzene 2.7 and 13.8, toluene (222
# functions) 5.3 and 30.3.
ETHANOL_FUNCTIONS = 108
FITTED_S, FITTED_POWER = 1.0, 2.3
EXACT_S, EXACT_POWER = 3.6, 3.0
# Six fields with starting orbitals from the calculation without one.
POLARIZABILITY = 5.0

# A process of PySCF; exact integrals in memory are n⁴ bytes (toluene: 3.2 GB in all), fitted ones
# eight bytes a pair of functions and auxiliary function, which are about four times as many.
PYSCF_MB = 200.0
MOST_INTEGRALS_MB = 4000.0
# Basis functions and their gradients that stay between iterations (dft/pyscf_xc.py), on points of
# which level 1 has 3,200 an atom, and every further level about twice as many. With them 632 MB
# for 17 atoms and 190 functions, 1,335 MB for 14 atoms and 322.
POINTS_AN_ATOM = 3200
MOST_KEPT_MB = 1500.0
# Records that a source told: a table in memory, a millisecond each.
GIVEN_S, GIVEN_MB = 1e-3, 0.01


def functions(rows: pd.DataFrame, basis: str) -> NDArray[np.int64]:
    """(n,) basis functions of each molecule of a table; of an unknown basis, as many as any."""
    light, second, heavy = FUNCTIONS.get(basis, LARGEST)
    of = {s: light if z <= 2 else second if z <= 10 else heavy for s, z in atomic_numbers.items()}
    counted = (sum(of[str(s)] for s in symbols) for symbols in rows["symbols"])
    return np.fromiter(counted, dtype=np.int64, count=len(rows))


def molecules_resources(
    rows: pd.DataFrame,
    settings: Mapping[str, Any],
    *,
    threads: int = 1,
    attempt: int = 1,
    time_limit_s: float | None = None,
) -> Resources:
    """Run time and memory of a job that computes a shard of molecules.

    Args:
        rows: the shard's rows of ``tables.MOLECULES``.
        settings: the engine's.
        threads: molecules at once.
        attempt: 1, 2, …
        time_limit_s: wall time after which a molecule is given up; None or 0: never.
    """
    if settings["kind"] == "given":
        memory = PARENT_MB + GIVEN_MB * len(rows)
        return request(JOB_START_S + GIVEN_S * len(rows), memory, attempt=attempt)
    n = functions(rows, str(settings["basis"]))
    fitted = settings["density_fitting"]
    seconds = (
        FITTED_S * (n / ETHANOL_FUNCTIONS) ** FITTED_POWER
        if fitted
        else EXACT_S * (n / ETHANOL_FUNCTIONS) ** EXACT_POWER
    )
    seconds = seconds * (1 + POLARIZABILITY * bool(settings["polarizability"]))
    if time_limit_s:
        seconds = np.minimum(seconds, time_limit_s / SHARD_RESERVE)
    integrals = 16 * n.astype(np.float64) ** 3 if fitted else n.astype(np.float64) ** 4
    each = PYSCF_MB + np.minimum(MOST_INTEGRALS_MB, integrals / 2**20)
    atoms = rows["symbols"].map(len).to_numpy()
    points = POINTS_AN_ATOM * 2.0 ** (settings["grid_level"] - 1) * atoms
    each = each + 1.15 * np.minimum(MOST_KEPT_MB, 4 * 8e-6 * points * n)
    memory = PARENT_MB + float(np.sort(each)[-max(1, threads) :].sum())
    run_s = SHARD_RESERVE * list_schedule_s(seconds.tolist(), max(1, threads))
    return request(JOB_START_S + run_s, math.ceil(memory), attempt=attempt)
