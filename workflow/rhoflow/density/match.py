"""Whether a spectrum can be the density of a crystal."""

import numpy as np

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.errors import DataError

# Of products of lattice vectors, Å².
_TOLERANCE = 1e-3


def require_density_of(crystal: Crystal, spectrum: Spectrum) -> None:
    """Check cell, number of atoms and numbers; the orientation of the cell does not matter.

    Raises:
        DataError: the spectrum has another lattice or number of atoms, or is not finite.
    """
    name = crystal.material_id
    if not np.isfinite(spectrum.coefficients).all():
        wrong = int(np.count_nonzero(~np.isfinite(spectrum.coefficients)))
        raise DataError(
            f"{name}: {wrong} of {len(spectrum.coefficients)} coefficients of the density are "
            "not finite; predict or compute it anew"
        )
    if spectrum.n_atoms != crystal.n_atoms:
        raise DataError(
            f"{name}: the density is of a cell of {spectrum.n_atoms} atoms, the crystal has "
            f"{crystal.n_atoms}; give both in the same cell"
        )
    metrics = [lattice @ lattice.T for lattice in (spectrum.lattice, crystal.lattice)]
    if not np.allclose(*metrics, rtol=0, atol=_TOLERANCE):
        edges = [np.sqrt(np.diag(m)).round(3).tolist() for m in metrics]
        raise DataError(
            f"{name}: the density has another lattice (edges {edges[0]} Å) than the crystal "
            f"({edges[1]} Å); give both in the same cell"
        )
