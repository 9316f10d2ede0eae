"""Vectors of molecules: what they must have in common, and lengths that the paper tells."""

import numpy as np
import pytest
from ase.build import molecule as g2
from scipy.spatial.transform import Rotation

from rhoflow.descriptors.molecular import (
    AtomCountsSpec,
    MBTRSpec,
    MoleculeSOAPSpec,
    molecular_vectors,
)
from rhoflow.errors import DataError
from rhoflow.molecule import Molecule

SPECS = [
    AtomCountsSpec(),
    MBTRSpec(),
    MoleculeSOAPSpec(),
    MBTRSpec(average="mean"),
    MoleculeSOAPSpec(average="mean"),
]


def named(name: str) -> Molecule:
    atoms = g2(name)
    return Molecule(name, tuple(atoms.get_chemical_symbols()), atoms.get_positions())


def changed(m: Molecule, positions: np.ndarray, order: np.ndarray | None = None) -> Molecule:
    order = np.arange(m.n_atoms) if order is None else order
    return Molecule(m.material_id, tuple(m.symbols[i] for i in order), positions[order])


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.kind}-{s.average}")
def test_moving_turning_mirroring_and_listing_atoms_anew_change_nothing(spec):
    m = named("CH3CONH2")
    turn = Rotation.from_euler("zyz", [0.7, 1.1, -2.3]).as_matrix()
    same = [
        changed(m, m.positions + np.array([3.0, -7.0, 0.5])),
        changed(m, m.positions @ turn.T),
        changed(m, m.positions * [1, -1, 1]),
        changed(m, m.positions, np.random.default_rng(3).permutation(m.n_atoms)),
    ]
    first, *others = molecular_vectors([m, *same], spec).values
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-6, atol=1e-8 * np.abs(first).max())


@pytest.mark.parametrize("spec", SPECS[1:], ids=lambda s: f"{s.kind}-{s.average}")
def test_a_stretched_bond_changes_them(spec):
    m = named("HCN")
    stretched = changed(m, m.positions * 1.05)
    a, b = molecular_vectors([m, stretched], spec).values
    assert np.abs(a - b).max() > 1e-3 * np.abs(a).max()


@pytest.mark.parametrize("name", ["CH3CONH2", "C6H6", "HCN", "H2O"])
def test_mbtr_has_the_numbers_of_dscribe(name, monkeypatch):
    from dscribe.core import System
    from dscribe.descriptors import MBTR

    # DScribe's System takes masses for velocities with ASE 3.29.
    bare = staticmethod(lambda a: System(symbols=a.symbols, positions=a.positions))
    monkeypatch.setattr(System, "from_atoms", bare)
    spec, m = MBTRSpec(), named(name)
    decay = {"function": "exp", "scale": spec.decay_inverse_angstrom, "threshold": 1e-12}
    terms = [
        ("atomic_number", 0.0, 10.0, spec.sigma_number, {"function": "unity"}),
        ("inverse_distance", 0.0, 1.0, spec.sigma_inverse_angstrom, decay),
        ("cosine", -1.0, 1.0, spec.sigma_cosine, decay),
    ]
    theirs = [
        MBTR(
            species=list(spec.elements),
            geometry={"function": function},
            grid={"min": low, "max": high, "sigma": sigma, "n": spec.n},
            weighting=weighting,
            normalization="none",
        ).create(m.to_ase())
        for function, low, high, sigma, weighting in terms
    ]
    ours = np.split(molecular_vectors([m], spec).values[0], [25, 100])
    for a, b in zip(ours, theirs, strict=True):
        # They list pairs and triples of elements in another order.
        np.testing.assert_allclose(np.sort(a), np.sort(b), rtol=1e-6, atol=1e-9)


def test_lengths_are_those_of_the_paper():
    water = [named("H2O")]
    assert molecular_vectors(water, MBTRSpec()).values.shape == (1, 475)
    assert molecular_vectors(water, MoleculeSOAPSpec()).values.shape == (1, 480)


@pytest.mark.parametrize("spec", [AtomCountsSpec(), MoleculeSOAPSpec(r_cut_angstrom=4.0)])
def test_sums_of_two_molecules_far_apart_add_up(spec):
    a, b = named("CH4"), named("NH3")
    both = Molecule("both", a.symbols + b.symbols, np.vstack([a.positions, b.positions + 50.0]))
    separate = molecular_vectors([a, b], spec).values.sum(axis=0)
    np.testing.assert_allclose(molecular_vectors([both], spec).values[0], separate, rtol=1e-9)


def test_atom_counts_are_counts():
    values = molecular_vectors([named("CH3CONH2"), named("HCN")], AtomCountsSpec()).values
    np.testing.assert_array_equal(values, [[5, 2, 1, 1, 0], [1, 1, 1, 0, 0]])


def test_an_element_that_is_not_listed_is_an_error():
    with pytest.raises(DataError, match=r"SiH4: holds Si.*H, C, N, O, F.*add them"):
        molecular_vectors([named("SiH4")], MBTRSpec())


def test_no_molecules_make_no_vectors():
    assert len(molecular_vectors([], AtomCountsSpec())) == 0
