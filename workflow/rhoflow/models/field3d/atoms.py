"""Free atoms whose form factors are fitted to densities of crystals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from rhoflow.density.atoms import structure_factors
from rhoflow.density.spectrum import reciprocal_lattice
from rhoflow.descriptors.fields import FieldSet

# Of the mean of the normal equations' diagonal: an element in few crystals moves little.
_RIDGE = 1e-5


def radial_basis(g: NDArray[np.float64], g_cut: float, n: int) -> NDArray[np.float64]:
    """(m, n) Gaussians of |g|, evenly spaced from 0 to g_cut and as wide as their distance."""
    centres = np.linspace(0.0, g_cut, n)
    return np.exp(-0.5 * ((g[:, None] - centres) / centres[1]) ** 2)


class AtomCorrections:
    """What atoms of each element differ by from free ones, functions of |g|.

    Δρ(g) ≈ Σ_a δf(|g|) exp(-i g·R_a) / V with δf(0) = 0: no electrons come or go. They are the
    least squares of the density's error in space, each crystal's by its volume, with a ridge that
    leaves an atom free where the training set does not tell.

    Args:
        g_cut: radius of the sphere, 1/Å.
        weights: (n,) of the radial functions, by element; e.
    """

    def __init__(self, g_cut: float, weights: Mapping[str, NDArray[np.float64]]) -> None:
        self.g_cut, self.weights = g_cut, dict(weights)

    @classmethod
    def fitted(cls, inputs: FieldSet, g_cut: float, n_functions: int) -> "AtomCorrections":
        """Fit to what the densities of a training set differ by from free atoms."""
        elements = [chemical_symbols[z] for z in np.unique(inputs.numbers)]
        place = {element: i for i, element in enumerate(elements)}
        size = len(elements) * n_functions
        matrix, right = np.zeros((size, size)), np.zeros(size)
        for i in range(len(inputs)):
            rows = inputs.rows(i)
            columns, names = _columns(inputs, i, g_cut, n_functions)  # (m, elements, n)
            error = (inputs.density[rows] - inputs.atoms[rows]).astype(np.complex128)
            where = np.concatenate([place[e] * n_functions + np.arange(n_functions) for e in names])
            columns = columns.reshape(len(error), -1)
            volume = abs(np.linalg.det(inputs.lattices[i]))
            matrix[np.ix_(where, where)] += volume * (columns.conj().T @ columns).real
            right[where] += volume * (columns.conj().T @ error).real
        ridge = _RIDGE * matrix.diagonal().mean()
        solved = np.linalg.solve(matrix + ridge * np.eye(size), right)
        weights = solved.reshape(len(elements), n_functions)
        return cls(g_cut, dict(zip(elements, weights, strict=True)))

    def added(self, inputs: FieldSet) -> NDArray[np.complex128]:
        """(coefficients,) e/Å³ to be added to free atoms; 0 for elements that are not known."""
        if not self.weights:
            return np.zeros(len(inputs.hkl), dtype=np.complex128)
        n = len(next(iter(self.weights.values())))
        parts = [np.zeros(0, dtype=np.complex128)]
        for i in range(len(inputs)):
            columns, names = _columns(inputs, i, self.g_cut, n)
            weights = np.asarray([self.weights.get(e, np.zeros(n)) for e in names])
            parts.append(np.einsum("men,en->m", columns, weights))
        return np.concatenate(parts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights by element, and the radius."""
        return {"g_cut": np.array([self.g_cut]), **{f"w_{e}": w for e, w in self.weights.items()}}

    @classmethod
    def known(cls, arrays: Mapping[str, NDArray[Any]]) -> "AtomCorrections":
        """The corrections that ``arrays`` tells."""
        weights = {n.removeprefix("w_"): w for n, w in arrays.items() if n.startswith("w_")}
        return cls(float(arrays["g_cut"][0]), weights)


def _columns(
    inputs: FieldSet, index: int, g_cut: float, n: int
) -> tuple[NDArray[np.complex128], list[str]]:
    """(m, elements, n) density of each radial function at the atoms of each element of a crystal.

    That they vanish at g = 0 keeps the number of electrons.
    """
    lattice, hkl = inputs.lattices[index], inputs.hkl[inputs.rows(index)]
    first, last = inputs.atom_offsets[index], inputs.atom_offsets[index + 1]
    symbols = [chemical_symbols[z] for z in inputs.numbers[first:last]]
    phases = structure_factors(hkl, symbols, inputs.frac_coords[first:last])
    g = np.linalg.norm(hkl @ reciprocal_lattice(lattice), axis=1)
    radial = radial_basis(g, g_cut, n) * (hkl != 0).any(axis=1, keepdims=True)
    each = np.asarray(list(phases.values())).T  # (m, elements)
    volume = abs(np.linalg.det(lattice))
    return each[:, :, None] * radial[:, None, :] / volume, list(phases)
