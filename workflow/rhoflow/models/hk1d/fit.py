"""Fitting the map and predicting densities and energies with it."""

import numpy as np
from numpy.typing import NDArray

from rhoflow.models.base import Start
from rhoflow.models.hk1d.basis import make_basis
from rhoflow.models.hk1d.functional import EnergyFunctional, check_asked, training_energies
from rhoflow.models.hk1d.kernels import fit_each, fit_together, vectors
from rhoflow.models.hk1d.spec import HKMapSpec
from rhoflow.wells import WellSet


class FittedHKMap:
    """A map from potentials to densities, and a functional from these to energies.

    Args:
        spec: basis and functional.
        inputs: the training set.
        energies: (n,) kcal/mol.
    """

    def __init__(self, spec: HKMapSpec, inputs: WellSet, energies: NDArray[np.float64]) -> None:
        self.basis = make_basis(spec, inputs.densities)
        fit_map = fit_together if spec.coefficients == "together" else fit_each
        self.map = fit_map(inputs.potentials, self.basis.coefficients(inputs.densities))
        self.functional = EnergyFunctional(inputs, energies, spec.energy)

    def densities(self, inputs: WellSet) -> NDArray[np.float64]:
        """(n, points) 1/bohr, predicted from the potentials alone.

        With one width and ridge for all coefficients, a prediction is a sum of training densities
        whose weights add up to one: it holds their number of particles. It may be below zero where
        a density is almost nothing.
        """
        check_asked(inputs, self.map.x.shape[1])
        return self.basis.densities(self.map.predict(vectors(inputs.potentials))[0])

    def predict(self, inputs: WellSet) -> NDArray[np.float64]:
        """(1, n, 1) energies in kcal/mol, predicted from the potentials alone."""
        energies = self.functional.energies(self.densities(inputs), inputs.potentials)
        return energies[None, :, None]


def fit(spec: HKMapSpec, inputs: WellSet, y: NDArray[np.float64], start: Start) -> FittedHKMap:
    """Fit to n solved potentials and (n, 1) energies in kcal/mol; no seed of ``start`` matters.

    Raises:
        ConfigError: targets beside the energy, or more functions than grid points.
        DataError: numbers are missing, or a potential is constant.
    """
    return FittedHKMap(spec, inputs, training_energies(inputs, y))
