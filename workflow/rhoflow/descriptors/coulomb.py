"""Coulomb matrix of a crystal by Ewald sums, as the sorted vector of its eigenvalues.

Faber, Lindmaa, von Lilienfeld and Armiento, Int. J. Quantum Chem. 115, 1094 (2015), as used in
the methods section of Kajita et al., Sci. Rep. 7, 16991 (2017): nuclei in a uniform compensating
background, the matrix of their pair energies with all periodic images, its eigenvalues over
their count, ascending, zeros at the end. The vector depends on the choice of the cell.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rhoflow.crystal import Crystal
from rhoflow.descriptors.base import VectorSet, stack_padded
from rhoflow.spec import Spec


class CoulombSpec(Spec):
    """How far the Ewald sums go."""

    kind: Literal["coulomb"] = "coulomb"
    algorithm: Literal[1] = 1
    accuracy: float = Field(
        default=1e-8,
        gt=1e-14,
        le=1e-2,
        description="Both Ewald sums end where their terms have fallen to this fraction.",
    )


def coulomb_vectors(crystals: Sequence[Crystal], spec: CoulombSpec) -> VectorSet:
    """Eigenvalues of each crystal's Coulomb matrix, zeros at the end of the shorter vectors.

    Args:
        crystals: the structures.
        spec: accuracy of the sums.

    Returns:
        (n, atoms of the largest cell) in e²/Å.
    """
    return stack_padded([c.material_id for c in crystals], ewald_eigenvalues(crystals, spec))


def ewald_eigenvalues(crystals: Sequence[Crystal], spec: CoulombSpec) -> list[NDArray[np.float64]]:
    """Eigenvalues of each crystal's Coulomb matrix over their count, ascending.

    Args:
        crystals: the structures.
        spec: accuracy of the sums.

    Returns:
        One (n_atoms,) vector a crystal, e²/Å.
    """
    return [
        np.linalg.eigvalsh(coulomb_matrix(crystal, spec)) / crystal.n_atoms for crystal in crystals
    ]


def coulomb_matrix(crystal: Crystal, spec: CoulombSpec) -> NDArray[np.float64]:
    """Pair energies of the nuclei with all their periodic images.

    The upper triangle with the diagonal sums to the electrostatic energy of the nuclei in a
    uniform compensating background.

    Args:
        crystal: the structure.
        spec: accuracy of the sums.

    Returns:
        (n_atoms, n_atoms) symmetric, e²/Å.
    """
    # Imported on use: reading the config needs the spec alone, and DScribe takes a second.
    from dscribe.descriptors import EwaldSumMatrix

    n = crystal.n_atoms
    ewald = EwaldSumMatrix(n_atoms_max=n, permutation="none")
    flat = ewald.create(crystal.to_ase(), accuracy=spec.accuracy)
    matrix = np.asarray(flat, dtype=np.float64).reshape(n, n)
    return (matrix + matrix.T) / 2
