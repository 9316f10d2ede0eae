"""Exchange and correlation of small molecules with the basis functions kept between iterations.

PySCF evaluates the basis functions on the grid anew in every iteration, and multiplies them with
a slower matrix product than numpy's: together two thirds of a small molecule's time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf.dft import numint

# Values of basis functions and their gradients that are kept, MB; of larger molecules none.
MOST_KEPT_MB = 1500.0
# Points at once: their functions and what is made of them stay in a core's cache.
_BLOCK = 1024


class KeptFunctions(numint.NumInt):
    """PySCF's integration for closed shells and gradient-corrected functionals, functions kept.

    Everything else is left to PySCF.
    """

    def __init__(self) -> None:
        super().__init__()
        self._points: NDArray[np.float64] | None = None
        self._blocks: list[NDArray[np.float64]] = []

    def nr_rks(self, mol: Any, grids: Any, xc_code: str, dms: Any, *args: Any, **kw: Any) -> Any:
        """Electrons, energy (Hartree) and (n_ao, n_ao) matrix of a functional; see PySCF."""
        if grids.coords is None:
            grids.build(with_non0tab=True)
        kept_mb = 4 * 8e-6 * grids.weights.size * mol.nao
        occupied = _occupied(dms)
        if self._xc_type(xc_code) != "GGA" or occupied is None or kept_mb > MOST_KEPT_MB:
            return super().nr_rks(mol, grids, xc_code, dms, *args, **kw)
        n_electrons, energy = 0.0, 0.0
        half = np.zeros((mol.nao, mol.nao))
        begin = 0
        for functions in self._functions(mol, grids):
            weights = grids.weights[begin : begin + functions.shape[1]]
            begin += len(weights)
            density = _density(functions, occupied)
            per_electron, potential = self.eval_xc_eff(xc_code, density, deriv=1, xctype="GGA")[:2]
            electrons = density[0] * weights
            n_electrons += electrons.sum()
            energy += electrons @ per_electron
            potential = weights * potential  # (4, points)
            potential[0] /= 2  # the matrix and its transpose are added up
            weighted = potential[0, :, None] * functions[0]
            for axis in (1, 2, 3):
                weighted += potential[axis, :, None] * functions[axis]
            half += functions[0].T @ weighted
        return n_electrons, energy, half + half.T

    def _functions(self, mol: Any, grids: Any) -> list[NDArray[np.float64]]:
        """Blocks (4, points, n_ao) of basis functions and their gradients, atomic units."""
        if self._points is not grids.coords:
            self._points = grids.coords
            self._blocks = [
                np.ascontiguousarray(self.eval_ao(mol, grids.coords[i : i + _BLOCK], deriv=1))
                for i in range(0, len(grids.coords), _BLOCK)
            ]
        return self._blocks


def _occupied(dms: Any) -> NDArray[np.float64] | None:
    """(n_ao, n) occupied orbitals times the roots of their occupations; None where not known."""
    coefficients, occupations = (getattr(dms, n, None) for n in ("mo_coeff", "mo_occ"))
    if coefficients is None or occupations is None or np.ndim(coefficients) != 2:
        return None
    filled = occupations > 0
    return np.asarray(coefficients[:, filled] * np.sqrt(occupations[filled]))


def _density(functions: NDArray[np.float64], occupied: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, points) density and its gradient of (4, points, n_ao) functions, atomic units."""
    orbitals = functions @ occupied  # (4, points, n)
    density = np.einsum("pn,xpn->xp", orbitals[0], orbitals)
    density[1:] *= 2
    return density
