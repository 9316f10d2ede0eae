"""Expected processor time and memory of one self-consistent calculation with plane waves.

The work of an iteration at one k-point has three parts: Fourier transforms of the bands
(bands · grid points · their logarithm), products of bands with bands (bands² · plane waves) and
the diagonalisation among bands (bands³). Volume and cutoff give the plane waves, valence electrons
the bands, k-point density and cell the mesh, and the space group what is left of it. An equation
of state repeats this at several volumes with its own cutoff and tolerance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.costs.crystals import (
    OPEN_F,
    irreducible_kpoints,
    operations,
    valence_electrons,
)

# Fitted to 175 calculations of GPAW 26.7 by their processor time: 92 equations of state (600 and
# 500 eV), 71 single runs at 500 eV, 12 at 300 eV; and, for the growth with the cell, to the 17
# single runs of up to 28 atoms that were timed on an idle machine (``IDLE``).
START_S = 1.24  # a process: imports, reading back, spectra
RUN_S = 1.03  # a self-consistent run: its setup
ATOM_S = 0.20  # the same, an atom
FOURIER_S = 120e-9  # a band · plane wave · ln(grid points)
PRODUCT_S = 2.2e-9  # a band² · plane wave
DIAGONAL_S = 125e-9  # a band³
OPEN_F_WORK = 3.0  # times the iterations' work with a partly filled f shell (13 of them)

# Processor time of an idle machine over that of the shared one (17 single runs of both kinds).
IDLE = 0.52

# Iterations to a tolerance of the density of 1e-4 (mean 11.1 of 87), and how many a decade looser
# saves (at 1e-3 8.8 of 514 runs; at 2e-3 7.5 to 9.9).
ITERATIONS = 11.15
ITERATIONS_A_DECADE = 2.35
FEWEST_ITERATIONS = 5.0

# Volumes that an equation of state takes beyond its points while its window moves to the minimum:
# 5.9 instead of 5 in the mean of 87.
EXTRA_VOLUMES = 0.9

# Peak memory of a process, MB, fitted to those 175 calculations; of nine in ten the true value
# is 0.8 to 1.7 times it. MEMORY_RESERVE covers that upper end,
# with a little more for what the next 700 may bring.
MEMORY_MB = 131.0
MEMORY_WAVES = 0.83  # a MB of wave functions at all k-points
MEMORY_KPOINT = 24.0  # a MB of wave functions at one k-point
MEMORY_GRID = 237.0  # a MB of one complex field on the grid
MEMORY_RESERVE = 1.8

# Grid points a plane wave: 8.2 to 8.7 in GPAW's logs.
GRID_A_WAVE = 8.5
COMPLEX_MB = 16 / 1e6

# Wave number in 1/Å of a plane wave of 1 eV: sqrt(2 m) / ħ.
WAVE_NUMBER = 0.51232

# For a cell that is none (no volume, not numbers): 30 Å³ an atom is roomy for a solid.
ROOMY_ANGSTROM3 = 30.0
TIGHTEST_ANGSTROM3 = 2.0
ROOMIEST_ANGSTROM3 = 1e5

# A k-mesh or basis beyond this is no calculation that anyone runs; it keeps numbers finite.
MOST = 1e7

# Settings of an engine that names none: those of GPAW's spec.
DEFAULTS = {"cutoff_ev": 500.0, "kpoint_density": 1.6, "density_tolerance": 2e-3}

# VASP was not timed. It is counted as GPAW with the same cutoff, mesh and number of electrons, and
# a tolerance as tight as the archive's; a site that has timed it gives the ratio as ``factor``.
VASP_TOLERANCE = 1e-4

# Seconds a structure that is only read. An archive: 28 structures in 1.1 to 1.4 s with start-up.
# Finished VASP runs: 5 to 50 s for shards of up to 34 small ones; a large CHGCAR takes seconds.
READING_S = {"archive": 0.05, "outputs": 5.0}
READING_MB = {"archive": 2.0, "outputs": 50.0}


@dataclass(frozen=True)
class Run:
    """Self-consistent runs of one kind that a calculation takes.

    Attributes:
        cutoff: plane-wave cutoff, eV.
        iterations: of each run.
        count: how many runs.
        even: whether the k-mesh is rounded up to even numbers.
    """

    cutoff: float
    iterations: float
    count: float
    even: bool


@dataclass(frozen=True, eq=False)
class Estimate:
    """What structures are expected to cost, in the order of the rows.

    Attributes:
        core_s: (n,) processor seconds.
        memory_mb: (n,) peak memory of the process, MB (2²⁰ bytes), with reserve.
    """

    core_s: NDArray[np.float64]
    memory_mb: NDArray[np.float64]


def structure_costs(
    rows: pd.DataFrame, settings: Mapping[str, Any], *, factor: float = 1.0
) -> Estimate:
    """Expected cost of each structure.

    Args:
        rows: rows of ``tables.STRUCTURES``; cells and numbers that are none count as roomy cells
            without symmetry.
        settings: those of an engine, as ``EngineSpec.crystal_settings`` gives them.
        factor: processor time of the site over that of the machine that was measured.
    """
    kind = settings.get("kind", "gpaw")
    n = len(rows)
    if kind in READING_S:
        return Estimate(np.full(n, factor * READING_S[kind]), np.full(n, READING_MB[kind]))
    known = _vasp_settings(settings) if kind == "vasp" else dict(settings)
    columns = (rows[c].tolist() for c in ("lattice_angstrom", "symbols", "spacegroup_number"))
    pairs = [
        _one(cell, symbols, number, known) for cell, symbols, number in zip(*columns, strict=True)
    ]
    core_s, memory_mb = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return Estimate(factor * core_s, MEMORY_RESERVE * memory_mb)


def runs(settings: Mapping[str, Any]) -> list[Run]:
    """The self-consistent runs of a calculation, the one at its final volume first."""
    cutoff = float(settings.get("cutoff_ev") or DEFAULTS["cutoff_ev"])
    tolerance = float(settings.get("density_tolerance") or DEFAULTS["density_tolerance"])
    most = float(settings.get("max_iterations") or 100)
    found = [Run(cutoff, iterations(tolerance, most), 1, True)]
    volumes = settings.get("equation_of_state")
    if volumes:
        looser = tolerance * volumes.get("tolerance_factor", 10.0)
        count = min(volumes.get("points", 5) + EXTRA_VOLUMES, volumes.get("max_points", 13))
        steps = iterations(looser, most)
        found.append(Run(float(volumes.get("cutoff_ev") or cutoff), steps, count, False))
    return found


def iterations(density_tolerance: float, most: float = 100) -> float:
    """Iterations to a tolerance of the density (electrons per valence electron)."""
    expected = ITERATIONS + ITERATIONS_A_DECADE * float(np.log10(1e-4 / density_tolerance))
    return min(most, max(FEWEST_ITERATIONS, expected))


def _vasp_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Cutoff and k-mesh of VASP's settings: its INCAR's, else the preset's."""
    from rhoflow.dft.vasp_inputs import load_preset, preset_names

    name = settings.get("preset", "pbe")
    preset = load_preset(name if name in preset_names() else "pbe")
    return {
        "cutoff_ev": {**preset.incar, **settings.get("incar", {})}["ENCUT"],
        "kpoint_density": settings.get("kpoint_density") or preset.kpoint_density,
        "density_tolerance": VASP_TOLERANCE,
        "spin_polarised": settings.get("spin_polarised", False),
    }


def _one(
    cell: Any, symbols: Sequence[str], number: Any, settings: Mapping[str, Any]
) -> tuple[float, float]:
    """Processor seconds and peak memory (MB, no reserve) of one structure."""
    symbols = [] if symbols is None else list(symbols)
    lattice = _lattice(cell, len(symbols))
    volume = abs(float(np.linalg.det(lattice)))
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(lattice), axis=0)  # (3,) 1/Å
    density = float(settings.get("kpoint_density") or DEFAULTS["kpoint_density"])
    bands = _bands(valence_electrons(symbols), settings)
    order = operations(number if isinstance(number, int | float) else None)
    spins = 2 if settings.get("spin_polarised") else 1
    work = spins * (OPEN_F_WORK if OPEN_F.intersection(symbols) else 1.0)
    core_s, memory_mb = START_S, MEMORY_MB
    for run in runs(settings):
        waves = plane_waves(volume, run.cutoff)
        mesh = _mesh(density * lengths, even=run.even)
        kpoints = irreducible_kpoints(mesh, order)
        step = iteration_s(bands, waves)
        core_s += run.count * (RUN_S + ATOM_S * len(symbols))
        core_s += run.count * run.iterations * kpoints * work * step
        memory_mb = max(memory_mb, _memory_mb(bands, waves, spins * kpoints))
    return core_s, memory_mb


def iteration_s(bands: float, waves: float) -> float:
    """Processor seconds of one iteration at one k-point."""
    fourier = FOURIER_S * bands * waves * np.log(max(np.e, GRID_A_WAVE * waves))
    return float(fourier + PRODUCT_S * bands**2 * waves + DIAGONAL_S * bands**3)


def plane_waves(volume: float, cutoff: float) -> float:
    """Plane waves below a cutoff (eV) in a cell of some volume (Å³)."""
    return min(MOST, max(1.0, volume * (WAVE_NUMBER * cutoff**0.5) ** 3 / (6 * np.pi**2)))


def _memory_mb(bands: float, waves: float, kpoints: float) -> float:
    one = bands * waves * COMPLEX_MB
    grid = GRID_A_WAVE * waves * COMPLEX_MB
    return MEMORY_MB + MEMORY_WAVES * kpoints * one + MEMORY_KPOINT * one + MEMORY_GRID * grid


def _bands(electrons: int, settings: Mapping[str, Any]) -> int:
    occupied = int(np.ceil(electrons / 2))
    percent = float(settings.get("empty_bands_percent", 20.0))
    empty = max(int(np.ceil(occupied * percent / 100)), int(settings.get("min_empty_bands", 4)))
    return occupied + empty


def _mesh(wanted: NDArray[np.float64], *, even: bool) -> list[int]:
    """(3,) k-points along each axis, from how many are wanted; at least one."""
    enough = np.clip(np.ceil(wanted), 1, MOST)
    evened = 2 * np.ceil(enough / 2)
    return [int(k) for k in (evened if even else enough)]


def _lattice(cell: Any, n_atoms: int) -> NDArray[np.float64]:
    """(3, 3) Å; a roomy cube where there is no cell, or one that no crystal has."""
    n = max(1, n_atoms)
    try:
        lattice = np.asarray(cell, dtype=np.float64).reshape(3, 3)
        volume = abs(float(np.linalg.det(np.nan_to_num(lattice))))
    except (TypeError, ValueError):
        volume, lattice = 0.0, np.eye(3)
    if TIGHTEST_ANGSTROM3 * n <= volume <= ROOMIEST_ANGSTROM3 * n:
        return lattice
    return np.eye(3) * (ROOMY_ANGSTROM3 * n) ** (1 / 3)
