"""One self-consistent run from a given density, in a process of its own.

Imported by worker processes, so neither by nor with pandas.
"""

from pathlib import Path
from typing import Any

import numpy as np

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.dft.gpaw import GPAWSpec, short_reason
from rhoflow.errors import DataError, EngineError

# Raised whenever a start leads to other numbers.
ALGORITHM = 1


def write_start(path: Path, density: Spectrum) -> None:
    """A density as the file that a worker process reads."""
    np.savez(
        path,
        allow_pickle=False,
        lattice=density.lattice,
        n_atoms=density.n_atoms,
        hkl=density.hkl,
        coefficients=density.coefficients,
        g_max=density.g_max,
    )


def read_start(path: Path) -> Spectrum:
    """The inverse of ``write_start``."""
    with np.load(path, allow_pickle=False) as file:
        return Spectrum(
            file["lattice"],
            int(file["n_atoms"]),
            file["hkl"],
            file["coefficients"],
            float(file["g_max"]),
        )


def run_start(
    crystal: Crystal, spec: GPAWSpec, start: Spectrum | None, log_path: Path
) -> dict[str, Any]:
    """One run in this process.

    Args:
        crystal: any cell, at the volume that counts.
        spec: the settings.
        start: the density to begin from; None: superposed atoms.
        log_path: where GPAW's own text goes.

    Returns:
        Columns of ``tables.START_RUNS``: status ``ok`` with numbers, ``not_converged`` or
        ``failed`` with a reason.

    Raises:
        EngineError: GPAW is not installed or its interface is not the one known here.
    """
    from gpaw import KohnShamConvergenceError

    from rhoflow.dft import gpaw_start

    try:
        with log_path.open("w", encoding="utf-8") as log:
            done = gpaw_start.iterations(crystal, spec, start, log)
        return {"status": "ok", "reason": None, **done}
    except EngineError:
        raise
    except KohnShamConvergenceError:
        reason = f"not self-consistent after {spec.max_iterations} iterations"
        return {"status": "not_converged", "reason": reason}
    except DataError as error:
        return {"status": "failed", "reason": str(error)}
    # GPAW raises whatever its libraries raise: as in ``gpaw.calculate``, failure becomes data.
    except Exception as error:
        return {"status": "failed", "reason": short_reason(error)}
