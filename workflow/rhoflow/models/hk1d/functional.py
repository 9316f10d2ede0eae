"""Energies of densities: what is learned, what is added, and what is refused beforehand."""

import numpy as np
from numpy.typing import NDArray

from rhoflow.errors import ConfigError, DataError
from rhoflow.models.hk1d.kernels import fit_together, vectors
from rhoflow.models.hk1d.spec import EnergyPart
from rhoflow.wells import (
    KCAL_PER_MOL_PER_HARTREE,
    WellSet,
    check_potentials,
    von_weizsaecker,
)


class EnergyFunctional:
    """Kernel ridge from densities to what is not known of their energies.

    Brockherde et al.: a learned T[n] with ∫ n v added (eq. 7), or a learned E[n] (eq. 11). Ours: of
    T[n], von Weizsäcker's part is added too.

    Args:
        inputs: the training set, with its densities.
        energies: (n,) kcal/mol.
        part: what is learned.
    """

    def __init__(self, inputs: WellSet, energies: NDArray[np.float64], part: EnergyPart) -> None:
        self.part: EnergyPart = part
        learned = energies - self._known(inputs.densities, inputs.potentials)
        self.model = fit_together(inputs.densities, learned[:, None])

    def energies(
        self, densities: NDArray[np.float64], potentials: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(n,) kcal/mol of (n, points) densities in (n, points) potentials."""
        learned = self.model.predict(vectors(densities))[0, :, 0]
        return learned + self._known(densities, potentials)

    def _known(
        self, densities: NDArray[np.float64], potentials: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(n,) kcal/mol, the part of the energies that needs no learning."""
        match self.part:
            case "whole":
                return np.zeros(len(densities))
            case "kinetic":
                return potential_energy(densities, potentials)
            case "pauli":
                own = KCAL_PER_MOL_PER_HARTREE * von_weizsaecker(densities)
                return own + potential_energy(densities, potentials)


def potential_energy(
    densities: NDArray[np.float64], potentials: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) kcal/mol, ∫ n v of (n, points) densities and potentials; both walls count nothing."""
    spacing = 1.0 / (densities.shape[1] - 1)
    return KCAL_PER_MOL_PER_HARTREE * spacing * (densities * potentials).sum(axis=1)


def training_energies(inputs: WellSet, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) kcal/mol of a training set that is fit to learn from.

    Raises:
        ConfigError: targets beside the energy.
        DataError: numbers are not finite, a potential is constant, or no two potentials differ.
    """
    if y.shape[1] != 1:
        raise ConfigError(
            f"a map of densities learns one target, the energy, not {y.shape[1]}; give its study "
            "this target alone"
        )
    check_potentials(inputs)
    for name, values in (("density", inputs.densities), ("energy", y)):
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise DataError(
                f"the {name} of '{inputs.ids[int(np.argmin(finite))]}' is not finite "
                f"({int((~finite).sum())} of {len(inputs)} are not); expected numbers; solve the "
                "potentials again"
            )
    if len(inputs) < 2 or not np.ptp(inputs.potentials, axis=0).any():
        raise DataError(
            f"{len(inputs)} training potentials, all alike; expected two different ones at least; "
            "raise train_sizes, or size of the wells"
        )
    return y[:, 0]


def check_asked(inputs: WellSet, points: int) -> None:
    """Refuse to predict what cannot be predicted.

    Raises:
        DataError: a potential is not finite or constant, or on another grid than in training.
    """
    if inputs.potentials.shape[1] != points:
        raise DataError(
            f"potentials on {inputs.potentials.shape[1]} grid points, but the model was trained on "
            f"{points}; expected the same grid; solve both with the same number of points"
        )
    check_potentials(inputs)
