"""Electrostatic energy of point charges in a uniform neutralising background, by Ewald's sum.

The energy E_I of the ion cores is one of the targets of Kajita et al., Sci. Rep. 7, 16991
(2017); VASP prints it as TEWEN. The sum follows Toukmaji and Board, Comput. Phys. Commun. 95,
73 (1996), and the screening length that balances its two halves Jackson and Catlow, Mol. Simul.
1, 207 (1988).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import COULOMB_EV_ANGSTROM, reciprocal_lattice
from rhoflow.errors import DataError

_REACH = 6.0
"""Both sums end where their Gaussian has fallen to exp(-6²) = 2e-16 of its height."""

_COINCIDENT_ANGSTROM = 1e-3


def ion_energy(crystal: Crystal, charges: ArrayLike) -> float:
    """Electrostatic energy of one cell of a lattice of point charges.

    A cell with a net charge is neutralised by a uniform background. The energy is extensive: a
    supercell of n cells has n times the energy.

    Args:
        crystal: cell and positions of the charges.
        charges: (n_atoms,) float, e.

    Returns:
        Energy per cell in eV, converged to about 1e-12 of the energy of the single charges.

    Raises:
        DataError: the charges do not fit the crystal, or two charges coincide.
    """
    q = np.asarray(charges, dtype=np.float64)
    if q.shape != (crystal.n_atoms,) or not np.isfinite(q).all():
        raise DataError(
            f"{crystal.material_id}: got charges of shape {q.shape}, expected "
            f"{crystal.n_atoms} finite numbers in e, one an atom"
        )
    screening = np.sqrt(np.pi) * (crystal.n_atoms / crystal.volume**2) ** (1 / 6)  # 1/Å
    square = float(q @ q)
    background = np.pi * q.sum() ** 2 / (2 * crystal.volume * screening**2)
    energy = (
        _near(crystal, q, screening)
        + _images(crystal, square, screening)
        + _far(crystal, q, screening)
        - screening / np.sqrt(np.pi) * square
        - background
    )
    return float(COULOMB_EV_ANGSTROM * energy)


def _near(crystal: Crystal, q: NDArray[np.float64], screening: float) -> float:
    """Screened energy of the pairs of different atoms with all images, e²/Å."""
    first, second = np.triu_indices(crystal.n_atoms, k=1)
    apart = crystal.frac_coords[second] - crystal.frac_coords[first]
    apart = (apart - np.round(apart)) @ crystal.lattice  # (pairs, 3)
    reach = _REACH / screening
    shifts = _lattice_points(crystal.lattice, reach, margin=0.5)  # (images, 3)
    square = (
        np.sum(apart**2, axis=1)[:, None] + 2 * apart @ shifts.T + np.sum(shifts**2, axis=1)
    )  # (pairs, images)
    pair, image = np.nonzero(square < reach**2)
    distance = np.sqrt(square[pair, image])
    if np.any(distance < _COINCIDENT_ANGSTROM):
        clash = pair[np.argmin(distance)]
        raise DataError(
            f"{crystal.material_id}: atoms {first[clash]} and {second[clash]} lie at the same "
            "place, so their electrostatic energy is infinite; drop the structure"
        )
    product = (q[first] * q[second])[pair]
    return float(np.sum(product * _erfc(screening * distance) / distance))


def _erfc(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The complementary error function."""
    from scipy.special import erfc  # not with the config

    return erfc(x)


def _images(crystal: Crystal, charge_square: float, screening: float) -> float:
    """Screened energy of every atom with its own images, e²/Å."""
    reach = _REACH / screening
    distance = np.linalg.norm(_lattice_points(crystal.lattice, reach, margin=0.0), axis=1)
    distance = distance[(distance > 0) & (distance < reach)]
    return float(charge_square / 2 * np.sum(_erfc(screening * distance) / distance))


def _far(crystal: Crystal, q: NDArray[np.float64], screening: float) -> float:
    """Energy of the smeared charges, summed over reciprocal space, e²/Å."""
    reciprocal = reciprocal_lattice(crystal.lattice)  # (3, 3), rows
    reach = 2 * screening * _REACH
    g = _lattice_points(reciprocal, reach, margin=0.0)
    square = np.sum(g**2, axis=1)
    # |S(g)| = |S(-g)|, and the points come in an order where -g mirrors g about the middle, g = 0.
    half = slice(len(g) // 2 + 1, None)
    g, square = g[half], square[half]
    inside = square < reach**2
    g, square = g[inside], square[inside]
    phase = g @ (crystal.frac_coords @ crystal.lattice).T  # (g, n_atoms)
    structure_factor = np.cos(phase) @ q + 1j * (np.sin(phase) @ q)
    weight = np.exp(-square / (4 * screening**2)) / square
    return float(4 * np.pi / crystal.volume * np.sum(weight * np.abs(structure_factor) ** 2))


def _lattice_points(
    vectors: NDArray[np.floating], reach: float, *, margin: float
) -> NDArray[np.float64]:
    """All points n·vectors of the parallelepiped that encloses a sphere, (points, 3).

    Args:
        vectors: (3, 3), rows.
        reach: radius of the sphere, in the vectors' unit.
        margin: how far the centre of the sphere may lie from the origin along each vector, as a
            fraction of it.
    """
    spacing = 1 / np.linalg.norm(np.linalg.inv(vectors), axis=0)  # between lattice planes
    limit = np.floor(reach / spacing + margin).astype(int)
    grid = np.indices(2 * limit + 1).reshape(3, -1).T - limit  # (points, 3)
    return grid @ vectors
