"""Orbital-free density functional theory: descent to the least learned energy.

Snyder et al., Phys. Rev. Lett. 108, 253002 (2012). A kernel model knows the kinetic energy of
densities like those that it was trained on, and nothing of others: its derivative is right along
the directions in which these differ and noise elsewhere. Each step is therefore projected on the
principal directions from the density to its nearest neighbours in the training set,
n ← n - ε P(n) δE/δn (Brockherde et al., eq. 6).
"""

import logging

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from rhoflow.models.base import Start
from rhoflow.models.hk1d.basis import principal
from rhoflow.models.hk1d.functional import check_asked, potential_energy, training_energies
from rhoflow.models.hk1d.kernels import fit_together, vectors
from rhoflow.models.hk1d.spec import OrbitalFreeSpec
from rhoflow.models.krr.fit import kernel
from rhoflow.wells import WellSet

logger = logging.getLogger(__name__)

# kcal/mol: a descent ends when its next step promises less.
TOLERANCE = 1e-6

# The first step, as a part of the reach of the training set; later ones grow while the energy falls
# by this part of what its slope promises, and shrink when it does not.
FIRST, GROW, SHRINK, KEPT = 0.01, 1.5, 0.3, 0.1

# The most directions that are tried, the parts of the training set that are left out in turn for
# this, and how many potentials of each part are descended in.
DIRECTIONS = 6
FOLDS, DESCENTS = 5, 10


class FittedOrbitalFree:
    """A learned kinetic energy, and densities of least energy.

    Densities are sums of training densities throughout. They are kept as coefficients of all
    principal components of these, in which distances and gradients are what they are on the grid.

    Args:
        spec: the descent.
        inputs: the training set.
        energies: (n,) kcal/mol.
        directions: along which a step goes.
    """

    def __init__(
        self, spec: OrbitalFreeSpec, inputs: WellSet, energies: NDArray[np.float64], directions: int
    ) -> None:
        self.spec, self.directions = spec, directions
        self.basis = principal(inputs.densities)
        self.known = self.basis.coefficients(inputs.densities)  # (m, functions)
        kinetic = energies - potential_energy(inputs.densities, inputs.potentials)
        self.model = fit_together(self.known, kinetic[:, None])
        apart = cdist(self.known, self.known)
        np.fill_diagonal(apart, np.inf)
        # No training density is further than this from the nearest other one.
        self.reach = float(apart.min(axis=1).max())

    def densities(self, inputs: WellSet) -> NDArray[np.float64]:
        """(n, points) 1/bohr of least energy, from the potentials alone."""
        return self.basis.densities(self._descend(inputs)[0])

    def predict(self, inputs: WellSet) -> NDArray[np.float64]:
        """(1, n, 1) least energies in kcal/mol, from the potentials alone."""
        return self._descend(inputs)[1][None, :, None]

    def _descend(self, inputs: WellSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, functions) coefficients and (n,) energies where descents from training densities end.

        A step that leaves the region of the training set is taken back like one that leads up: far
        from all densities the learned energy is linear in v and has no least value.
        """
        check_asked(inputs, len(self.basis.origin))
        constant, slope = self._potential(inputs.potentials)
        at, energies = self._start(constant, slope)
        length = np.linalg.norm(self._gradient(at, slope), axis=1)
        step = FIRST * self.reach / np.maximum(length, np.finfo(float).tiny)
        moving = np.arange(len(at))
        for _ in range(self.spec.max_steps):
            gradient = self._gradient(at[moving], slope[moving])
            promised = step[moving] * (gradient**2).sum(axis=1)
            on = promised > TOLERANCE
            moving, gradient, promised = moving[on], gradient[on], promised[on]
            if not len(moving):
                break
            new = at[moving] - step[moving, None] * gradient
            reached = self._kinetic(new) + constant[moving] + (new * slope[moving]).sum(axis=1)
            near = cdist(new, self.known).min(axis=1) <= self.reach
            good = near & (energies[moving] - reached >= KEPT * promised)
            at[moving[good]], energies[moving[good]] = new[good], reached[good]
            step[moving] *= np.where(good, GROW, SHRINK)
        else:
            asked = (len(moving), len(at), self.spec.max_steps)
            logger.warning("%d of %d descents still moved after %d steps", *asked)
        return at, energies

    def _potential(
        self, potentials: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """∫ n v in kcal/mol as (n,) that of the mean density and (n, functions) its slope."""
        constant = potential_energy(self.basis.origin[None], potentials)
        slope = [potential_energy(f[None], potentials) for f in self.basis.functions]
        return constant, np.stack(slope, axis=1)

    def _start(
        self, constant: NDArray[np.float64], slope: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The training density of least energy in each potential, and this energy."""
        energies = self._kinetic(self.known) + constant[:, None] + slope @ self.known.T  # (n, m)
        return self.known[energies.argmin(axis=1)], energies.min(axis=1)

    def _kinetic(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) kcal/mol of (n, functions) coefficients."""
        return self.model.predict(vectors(at))[0, :, 0]

    def _gradient(self, at: NDArray[np.float64], slope: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, functions) kcal/mol, the gradient of the energy along the directions of the data."""
        model, width = self.model, self.model.choices[0].width
        weights = kernel(model.spec, at, self.known, width) * model.weights[:, 0]  # (n, m)
        kinetic = weights @ self.known - weights.sum(axis=1, keepdims=True) * at
        whole = kinetic * model.targets.scale / width**2 + slope
        nearest = cdist(at, self.known).argsort(axis=1)[:, : self.spec.neighbours]
        ways = self.known[nearest] - at[:, None]  # (n, neighbours, functions)
        _, directions = np.linalg.eigh(np.swapaxes(ways, 1, 2) @ ways)  # by ascending spread
        directions = directions[:, :, -self.directions :]  # (n, functions, directions)
        along = np.einsum("nfd,nf->nd", directions, whole)
        return np.einsum("nfd,nd->nf", directions, along)


def fit(
    spec: OrbitalFreeSpec, inputs: WellSet, y: NDArray[np.float64], start: Start
) -> FittedOrbitalFree:
    """Fit to n solved potentials and (n, 1) energies in kcal/mol; no seed of ``start`` matters.

    Raises:
        ConfigError: targets beside the energy.
        DataError: numbers are missing, or a potential is constant.
    """
    energies = training_energies(inputs, y)
    directions = spec.directions or choose_directions(spec, inputs, energies)
    return FittedOrbitalFree(spec, inputs, energies, directions)


def choose_directions(spec: OrbitalFreeSpec, inputs: WellSet, energies: NDArray[np.float64]) -> int:
    """The number of directions with the smallest mean absolute error of energies left out.

    More training densities tell more directions apart from noise: two of them are best with 20
    densities, five with 200.
    """
    n = len(inputs)
    if n < 2 * FOLDS:
        return 1
    tried = range(1, min(DIRECTIONS, spec.neighbours) + 1)
    errors = dict.fromkeys(tried, 0.0)
    for fold in range(FOLDS):
        left = np.arange(fold, n, FOLDS)
        rest, held = np.setdiff1d(np.arange(n), left), left[:DESCENTS]
        fitted = FittedOrbitalFree(spec, inputs.take(rest), energies[rest], 1)
        for directions in tried:
            fitted.directions = directions
            predicted = fitted.predict(inputs.take(held))[0, :, 0]
            errors[directions] += float(np.abs(predicted - energies[held]).sum())
    return min(errors, key=errors.__getitem__)
