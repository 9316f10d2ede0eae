"""Specs, shapes, order and errors of the vector descriptors."""

import numpy as np
import pytest
from pydantic import ValidationError

from rhoflow.crystal import Crystal
from rhoflow.descriptors.base import VectorSet
from rhoflow.descriptors.composition import ELEMENTS, CompositionSpec, composition_vectors
from rhoflow.descriptors.coulomb import (
    CoulombSpec,
    coulomb_matrix,
    coulomb_vectors,
    ewald_eigenvalues,
)
from rhoflow.descriptors.soap import (
    SOAPSpec,
    electronegativities,
    gram,
    soap_vectors,
    species_basis,
)
from rhoflow.errors import ConfigError, DataError

SMALL = SOAPSpec(n_max=2, l_max=1)


def crystal(name: str, *symbols: str) -> Crystal:
    n = len(symbols)
    frac_coords = np.arange(n)[:, None] / n + [0.0, 0.1, 0.2]
    return Crystal(name, np.diag([3.0 * n, 4.0, 5.0]), symbols, frac_coords)


OXIDES = [crystal("b", "Mg", "O"), crystal("a", "Ti", "O", "O"), crystal("c", "Sr", "O")]


@pytest.mark.parametrize(
    "compute",
    [
        lambda crystals: soap_vectors(crystals, SMALL),
        lambda crystals: coulomb_vectors(crystals, CoulombSpec()),
        lambda crystals: composition_vectors(crystals, CompositionSpec()),
    ],
    ids=["soap", "coulomb", "composition"],
)
class TestEveryDescriptor:
    def test_keeps_the_order(self, compute):
        vectors = compute(OXIDES)
        assert vectors.ids == ("b", "a", "c")
        backwards = compute(OXIDES[::-1])
        np.testing.assert_array_equal(backwards.values[::-1], vectors.values)

    def test_is_the_same_alone_and_in_company(self, compute):
        alone = compute(OXIDES[1:2]).values[0]
        together = compute(OXIDES).values[1]
        np.testing.assert_array_equal(together[: len(alone)], alone)

    def test_of_nothing_is_empty(self, compute):
        nothing = compute([])
        assert len(nothing) == 0
        assert nothing.values.shape[0] == 0


def test_composition_counts_elements_and_volume():
    vectors = composition_vectors(OXIDES, CompositionSpec())
    assert vectors.values.shape == (3, 95)
    assert (ELEMENTS[0], ELEMENTS[7], ELEMENTS[93]) == ("H", "O", "Pu")
    expected = np.zeros(95)
    expected[[21, 7, 94]] = 1 / 3, 2 / 3, 9 * 4 * 5 / 3
    np.testing.assert_allclose(vectors.values[1], expected, rtol=1e-12)


def test_composition_without_volume():
    values = composition_vectors(OXIDES, CompositionSpec(volume=False)).values
    assert values.shape == (3, 94)
    np.testing.assert_allclose(values.sum(axis=1), 1)


@pytest.mark.parametrize("symbol", ["Am", "X", "Ox"])
def test_composition_refuses_what_has_no_column(symbol):
    with pytest.raises(DataError, match=f"bad: element '{symbol}' is outside H to Pu"):
        composition_vectors([OXIDES[0], crystal("bad", "O", symbol)], CompositionSpec())


def test_coulomb_eigenvalues_are_ascending_and_sum_to_the_trace():
    spec = CoulombSpec()
    for oxide, values in zip(OXIDES, ewald_eigenvalues(OXIDES, spec), strict=True):
        assert values.shape == (oxide.n_atoms,)
        assert np.all(np.diff(values) >= 0)
        trace = np.trace(coulomb_matrix(oxide, spec))
        assert values.sum() * oxide.n_atoms == pytest.approx(trace, rel=1e-12)


def test_coulomb_vectors_end_in_zeros():
    vectors = coulomb_vectors(OXIDES, CoulombSpec())
    assert vectors.values.shape == (3, 3)
    np.testing.assert_array_equal(vectors.values[[0, 2], 2], 0)
    assert np.all(vectors.values[:, :2] != 0)


def test_soap_vectors_have_unit_length():
    n_pseudo = species_basis(SMALL)[1].shape[1]
    channels = n_pseudo * SMALL.n_max
    vectors = soap_vectors(OXIDES, SMALL)
    assert vectors.values.shape == (3, channels * (channels + 1) // 2 * (SMALL.l_max + 1))
    np.testing.assert_allclose(np.linalg.norm(vectors.values, axis=1), 1, rtol=1e-12)


def test_soap_gram_between_two_sets():
    vectors = soap_vectors(OXIDES, SMALL)
    np.testing.assert_allclose(gram(vectors.take([0]), vectors), gram(vectors)[:1], rtol=1e-12)


def test_soap_gram_refuses_vectors_of_different_settings():
    with pytest.raises(DataError, match="different settings"):
        gram(VectorSet(("a",), np.ones((1, 3))), VectorSet(("b",), np.ones((1, 4))))


def test_soap_refuses_a_structure_without_centres():
    with pytest.raises(DataError, match="salt: no O atom"):
        soap_vectors([crystal("salt", "Na", "Cl")], SMALL)


def test_soap_refuses_an_element_without_electronegativity():
    with pytest.raises(DataError, match=r"balloon: .* He: without a Pauling electronegativity"):
        soap_vectors([crystal("balloon", "He", "O")], SMALL)


def test_soap_identity_refuses_an_element_that_is_not_listed():
    spec = SOAPSpec(similarity="identity", elements=("O", "Mg"), n_max=2, l_max=1)
    with pytest.raises(DataError, match=r"a: .* Ti: it has only O, Mg"):
        soap_vectors(OXIDES, spec)


def test_soap_identity_does_not_depend_on_the_order_of_elements():
    first, second = (
        soap_vectors(OXIDES, SOAPSpec(similarity="identity", elements=e, n_max=2, l_max=1))
        for e in (("Sr", "O", "Mg", "Ti"), ("O", "Mg", "Ti", "Sr"))
    )
    np.testing.assert_array_equal(first.values, second.values)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"similarity": "identity"}, "elements is required"),
        ({"elements": ("O",)}, "elements is required"),
        ({"similarity": "identity", "elements": ()}, "elements is required"),
        ({"similarity": "identity", "elements": ("O", "O")}, "twice"),
        ({"similarity": "identity", "elements": ("O", "Mgg")}, "did you mean 'Mg'"),
        ({"centre_element": "oxygen"}, "'oxygen' is not an element"),
        ({"centre_element": "X"}, "'X' is not an element"),
        ({"r_cut_angstrom": 0.9}, "greater than 1"),
        ({"l_mac": 3}, "l_mac"),
    ],
)
def test_soap_spec_refuses(settings, message):
    with pytest.raises(ValidationError, match=message):
        SOAPSpec(**settings)


def test_soap_says_which_settings_have_no_basis():
    with pytest.raises(ConfigError, match=r"n_max = 16 .* r_cut_angstrom = 2"):
        soap_vectors(OXIDES, SOAPSpec(n_max=16, r_cut_angstrom=2))


def test_soap_spec_survives_the_trip_through_a_rule():
    spec = SOAPSpec(similarity="identity", elements=("O", "Mg"))
    assert SOAPSpec.model_validate(spec.model_dump()) == spec


def test_species_basis_is_pinned():
    """Stored vectors depend on this table; if it changes, raise the spec's algorithm."""
    table = electronegativities()
    assert (table["O"], table["F"], table["Na"], table["Ti"]) == (3.44, 3.98, 0.93, 1.54)
    assert "He" not in table
    assert len(table) == 100
    assert sum(table.values()) == pytest.approx(171.30, abs=1e-9)
    elements, basis = species_basis(SOAPSpec())
    assert basis.shape == (100, 8)
    assert elements[6] == "O"  # He has none
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(8)]
    assert np.all(largest > 0)
