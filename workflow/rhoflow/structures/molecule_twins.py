"""Which molecules are equal: by their bonds where these are known, otherwise by their distances.

Two molecules with SMILES are equal if the canonical SMILES are: conformers then count as one.
Molecules without are equal if formula, charge and the sorted distances between atoms are, to
1e-3 Å; so mirror images count as one, which have the same energies.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rhoflow.molecule import Molecule
from rhoflow.structures.molecule_candidates import require_rdkit

TOLERANCE_ANGSTROM = 1e-3
_CHUNK_NUMBERS = 5_000_000


def twins(molecules: Sequence[Molecule]) -> dict[int, int]:
    """For each molecule that equals an earlier one, its place and that of the earlier one.

    Raises:
        EngineError: SMILES are known, and RDKit, which compares them, is not installed.
    """
    bonds: dict[tuple[str, int], int] = {}
    formulas: dict[tuple, list[int]] = defaultdict(list)
    found: dict[int, int] = {}
    if any(m.smiles is not None for m in molecules):
        require_rdkit("drop_duplicates")
    for place, molecule in enumerate(molecules):
        name = None if molecule.smiles is None else _canonical(molecule.smiles)
        if name is None:
            formulas[(*sorted(molecule.symbols), molecule.charge)].append(place)
            continue
        first = bonds.setdefault((name, molecule.charge), place)
        if first != place:
            found[place] = first
    for places in formulas.values():
        if len(places) > 1:
            found |= _equal_shapes(places, molecules)
    return dict(sorted(found.items()))


@cache
def _canonical(smiles: str) -> str | None:
    """RDKit's canonical SMILES; None where RDKit cannot read it."""
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    return None if molecule is None else Chem.MolToSmiles(molecule)


def _equal_shapes(places: Sequence[int], molecules: Sequence[Molecule]) -> dict[int, int]:
    """Those of one formula that have the distances of an earlier one.

    Equal distances have equal means: only molecules whose means are that near are compared.
    """
    distances = _distances([molecules[place] for place in places])
    means = distances.mean(axis=1)
    order = np.argsort(means, kind="stable")
    ends = np.searchsorted(means[order], means[order] + TOLERANCE_ANGSTROM, side="right")
    n_near = ends - np.arange(len(order)) - 1
    one = np.repeat(np.arange(len(order)), n_near)
    other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(n_near) - n_near, n_near)
    pairs = _equal_pairs(distances, order[one], order[other])
    earlier: dict[int, int] = {}
    for first, second in sorted((min(p), max(p)) for p in pairs):
        # Whoever equals one that falls itself is compared with those that stay.
        if first not in earlier:
            earlier.setdefault(second, first)
    return {places[second]: places[first] for second, first in earlier.items()}


def _equal_pairs(
    distances: NDArray[np.float64], one: NDArray[np.int64], other: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """The pairs of rows whose distances are all equal within the tolerance."""
    found: list[tuple[int, int]] = []
    step = max(1, _CHUNK_NUMBERS // max(1, distances.shape[1]))
    for begin in range(0, len(one), step):
        a, b = one[begin : begin + step], other[begin : begin + step]
        equal = (np.abs(distances[a] - distances[b]) <= TOLERANCE_ANGSTROM).all(axis=1)
        found += zip(a[equal].tolist(), b[equal].tolist(), strict=True)
    return found


def _distances(molecules: Sequence[Molecule]) -> NDArray[np.float64]:
    """(molecules, pairs) sorted distances in Å of molecules of one size; one zero for an atom."""
    positions = np.stack([m.positions for m in molecules])  # (molecules, atoms, 3)
    first, second = np.triu_indices(positions.shape[1], 1)
    if len(first) == 0:
        return np.zeros((len(molecules), 1))
    differences = positions[:, first] - positions[:, second]  # (molecules, pairs, 3)
    return np.sort(np.sqrt((differences**2).sum(axis=2)), axis=1)
