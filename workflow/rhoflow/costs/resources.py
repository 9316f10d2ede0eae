"""What a job asks the scheduler for: minutes and memory, by its content and its attempt.

Runs resume: what a shard has finished and where a training stood is kept when a job reaches its
limit. So requests aim at 95 of 100 jobs ending in time at the first attempt, not at all of them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from rhoflow.costs.dft import READING_S, structure_costs

# A request below this gains nothing: start-up and the scheduler's own steps take a part of it.
LEAST_MINUTES = 10
# A request above this waits long or is refused by many sites' partitions.
MOST_MINUTES = 24 * 60

# Time asked for over time expected (sum over threads plus the longest). Of 2,000 random shards of
# 4 to 30 of the measured equations of state on 1 to 8 threads, 95 % took up to 1.48 times the
# expected processor time; of single runs at 500 eV, in which one of 71 took ten times its share,
# up to 2.1 times on 1 and 2 threads, up to 4.1 on 8.
SHARD_RESERVE = 2.0

# Start of a job. A trivial one occupies 3 to 7 s of a one-node Slurm; the rest is an allowance,
# not measured, for modules and packages that come from a shared file system.
JOB_START_S = 60.0

# Parent of the processes: 164 to 173 MB measured; its spectra, a MB a structure on disk, in memory
# while they are read, cut and written.
PARENT_MB = 250.0
PARENT_MB_A_STRUCTURE = 4.0

# An isolated atom: 75 all-electron atoms took 1.6 s and 120 MB in the mean (2.6 s, 129 MB at
# most), 6 boxed oxygens 7.3 s and 296 MB (8.4 s, 301 MB at most).
ATOM_S = 8.4
ATOM_MB = 302.0

# ASSUMPTION, not measured: the share of p cores' work that p MPI ranks of one calculation do, and
# what each rank holds besides its part of the wave functions, MB.
MPI_EFFICIENCY = 0.5
RANK_MB = 200.0


class Resources(NamedTuple):
    """A request: run time in minutes, memory in MB (2²⁰ bytes)."""

    minutes: int
    memory_mb: int


def request(
    seconds: float, memory_mb: float, *, attempt: int = 1, most_minutes: float = MOST_MINUTES
) -> Resources:
    """A request that grows with the attempt, within bounds.

    Args:
        seconds: run time to be asked for at the first attempt.
        memory_mb: memory to be asked for at the first attempt.
        attempt: 1, 2, …
        most_minutes: what no attempt needs more of.
    """
    attempt = max(1, int(attempt))
    most = max(LEAST_MINUTES, min(MOST_MINUTES, most_minutes))
    minutes = attempt * max(seconds / 60, LEAST_MINUTES)
    return Resources(math.ceil(min(most, minutes)), math.ceil(attempt * memory_mb))


def list_schedule_s(seconds: Sequence[float], threads: int) -> float:
    """Upper bound of the run time of jobs taken one by one by free threads.

    Whatever the order, the thread that ends last began its last job when the others were busy:
    the mean over threads plus the longest job is enough (Graham, 1969).
    """
    if len(seconds) <= threads:
        return max(seconds, default=0.0)
    others = 1 - 1 / max(1, threads)
    return sum(seconds) / max(1, threads) + others * max(seconds)


def shard_resources(
    rows: pd.DataFrame,
    settings: Mapping[str, Any],
    *,
    threads: int = 1,
    attempt: int = 1,
    time_limit_s: float | None = None,
    cores: int = 1,
    factor: float = 1.0,
) -> Resources:
    """Run time and memory of a job that computes a shard.

    Args:
        rows: the shard's rows of ``tables.STRUCTURES``.
        settings: the engine's (``EngineSpec.crystal_settings``).
        threads: structures at once.
        attempt: 1, 2, …
        time_limit_s: wall time after which a structure is given up; None or 0: never.
        cores: MPI ranks of each structure.
        factor: processor time of the site over that of the machine that was measured.
    """
    expected = structure_costs(rows, settings, factor=factor)
    seconds = expected.core_s / max(1.0, MPI_EFFICIENCY * max(1, cores))
    most_minutes = float(MOST_MINUTES)
    if time_limit_s:
        seconds = np.minimum(seconds, time_limit_s / SHARD_RESERVE)
        rounds = math.ceil(len(rows) / max(1, threads))
        most_minutes = (rounds * time_limit_s + JOB_START_S) / 60
    if settings.get("kind") in READING_S:  # one after the other, in the job's own process
        threads = 1
        memory = float(expected.memory_mb.sum())
    else:
        each = expected.memory_mb + RANK_MB * (max(1, cores) - 1)
        memory = float(np.sort(each)[-max(1, threads) :].sum())
    memory += PARENT_MB + PARENT_MB_A_STRUCTURE * len(rows)
    run_s = SHARD_RESERVE * list_schedule_s(seconds.tolist(), max(1, threads))
    return request(JOB_START_S + run_s, memory, attempt=attempt, most_minutes=most_minutes)


def boxed_atoms(elements: Sequence[str], box_angstrom: float) -> pd.DataFrame:
    """Isolated atoms in cubic boxes, as rows that ``shard_resources`` takes."""
    return pd.DataFrame(
        {
            "lattice_angstrom": [np.ravel(box_angstrom * np.eye(3)) for _ in elements],
            "symbols": [[element] for element in elements],
            "spacegroup_number": 1,
        }
    )


def atoms_resources(n_elements: int, *, threads: int = 1, attempt: int = 1) -> Resources:
    """Run time and memory of a job that computes isolated atoms with GPAW, all as if boxed."""
    at_once = max(1, min(threads, n_elements))
    run_s = SHARD_RESERVE * list_schedule_s([ATOM_S] * n_elements, threads)
    memory = PARENT_MB + 1.5 * ATOM_MB * at_once
    return request(JOB_START_S + run_s, memory, attempt=attempt)
