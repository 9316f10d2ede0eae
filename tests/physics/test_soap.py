"""The alchemical average kernel against sums written out and DScribe's own kernel."""

from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal as from_spacegroup
from dscribe.descriptors import SOAP
from dscribe.kernels import AverageKernel

from rhoflow.crystal import Crystal
from rhoflow.descriptors.soap import (
    SOAPSpec,
    electronegativities,
    gram,
    power_spectrum,
    soap_vectors,
    species_basis,
)

ELEMENTS = ("O", "Mg", "Ca", "Ti", "Sr")


def named(name: str, atoms: Atoms) -> Crystal:
    return Crystal(name, np.asarray(atoms.cell), tuple(atoms.symbols), atoms.get_scaled_positions())


def rutile() -> Atoms:
    return from_spacegroup(
        ("Ti", "O"),
        [(0, 0, 0), (0.305, 0.305, 0)],
        spacegroup=136,
        cellpar=[4.594, 4.594, 2.959, 90, 90, 90],
    )


def perovskite() -> Atoms:
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms("SrTiO3", scaled_positions=sites, cell=[3.905] * 3, pbc=True)


@pytest.fixture(scope="module")
def oxides() -> list[Crystal]:
    return [
        named("MgO", bulk("MgO", "rocksalt", 4.21)),
        named("TiO2", rutile()),
        named("SrTiO3", perovskite()),
    ]


def dscribe_environments(crystals, spec, species) -> list[np.ndarray]:
    """DScribe's power spectra of each crystal's centres over one list of species."""
    soap = SOAP(
        r_cut=spec.r_cut_angstrom,
        n_max=spec.n_max,
        l_max=spec.l_max,
        sigma=spec.sigma_angstrom,
        species=species,
        periodic=True,
    )
    weights = np.empty(soap.get_number_of_features())
    for a, b in product(species, species):
        place = soap.get_location((a, b))
        if a == b:  # n <= n' only: the unequal ones stand for two
            pairs = [
                1.0 if i == j else 2.0 for i in range(spec.n_max) for j in range(i, spec.n_max)
            ]
            weights[place] = np.tile(pairs, spec.l_max + 1)
        else:  # each unordered pair of species once
            weights[place] = 2.0
    return [
        np.sqrt(weights)
        * soap.create(
            c.to_ase(),
            centers=[i for i, s in enumerate(c.symbols) if spec.centre_element in (None, s)],
        )
        for c in crystals
    ]


@pytest.mark.parametrize("centre", ["O", None], ids=["oxygen", "all"])
def test_identity_is_the_average_kernel_of_dscribe(oxides, centre):
    spec = SOAPSpec(similarity="identity", elements=ELEMENTS, centre_element=centre)
    environments = dscribe_environments(oxides, spec, list(ELEMENTS))
    expected = AverageKernel(metric="linear").create(environments)
    np.testing.assert_allclose(gram(soap_vectors(oxides, spec)), expected, atol=1e-10)
    assert expected[0, 1] < 0.95  # the crystals differ, so the comparison says something


@pytest.mark.parametrize(
    "settings", [{"sigma_angstrom": 0.8}, {"r_cut_angstrom": 3.5, "n_max": 5}, {"l_max": 3}]
)
def test_settings_reach_dscribe(oxides, settings):
    spec = SOAPSpec(similarity="identity", elements=ELEMENTS, **settings)
    environments = dscribe_environments(oxides, spec, list(ELEMENTS))
    expected = AverageKernel(metric="linear").create(environments)
    np.testing.assert_allclose(gram(soap_vectors(oxides, spec)), expected, atol=1e-10)


def ordered_pair(soap: SOAP, flat: np.ndarray, first: str, second: str) -> np.ndarray:
    """p^{αα'}_{nn'l} out of DScribe's vector, (l, n, n')."""
    block = flat[soap.get_location((first, second))].reshape(3, -1)  # (l, pairs)
    if first != second:
        full = block.reshape(3, 3, 3)
        lower_number_first = ELEMENTS.index(first) < ELEMENTS.index(second)
        return full if lower_number_first else full.transpose(0, 2, 1)
    full = np.zeros((3, 3, 3))
    rows, columns = np.triu_indices(3)
    full[:, rows, columns] = full[:, columns, rows] = block
    return full


def test_contraction_is_the_sum_over_four_species(oxides):
    """Equation 8 in its power spectra, written out term by term, for all pairs of crystals."""
    spec = SOAPSpec(n_max=3, l_max=2, rank_tolerance=1e-12)
    mu = electronegativities()
    kappa = {(a, b): np.exp(-((mu[a] - mu[b]) ** 2) / 2) for a, b in product(ELEMENTS, ELEMENTS)}
    partial = []
    for oxide in oxides:
        species = sorted(set(oxide.symbols), key=ELEMENTS.index)
        soap = SOAP(
            r_cut=5.0, n_max=3, l_max=2, sigma=0.5, species=species, periodic=True, average="outer"
        )
        centres = [i for i, s in enumerate(oxide.symbols) if s == "O"]
        flat = np.asarray(soap.create(oxide.to_ase(), centers=centres))
        partial.append(
            {(a, b): ordered_pair(soap, flat, a, b) for a, b in product(species, species)}
        )
    kernel = np.array(
        [
            [
                sum(
                    kappa[a, b] * kappa[a2, b2] * np.sum(p[a, a2] * q[b, b2])
                    for (a, a2), (b, b2) in product(p, q)
                )
                for q in partial
            ]
            for p in partial
        ]
    )
    norm = np.sqrt(np.diag(kernel))
    ours = gram(soap_vectors(oxides, spec))
    np.testing.assert_allclose(ours, kernel / np.outer(norm, norm), rtol=1e-9)


def test_kernel_is_the_rotational_integral_of_equation_8():
    """Lone atoms about a centre, equation 8 by quadrature over rotations in real space.

    One neighbour on either side: the overlap of two Gaussians depends on the angle between them
    alone, and the centres overlap with everything at every angle alike.
    """
    sigma, near, far = 0.5, 1.4, 1.9
    spec = SOAPSpec(n_max=12, l_max=12, centre_element="O", rank_tolerance=1e-12)
    crystals = [
        Crystal("A", 40 * np.eye(3), ("O", "Mg"), np.array([[0, 0, 0], [near / 40, 0, 0]])),
        Crystal("B", 40 * np.eye(3), ("O", "Ti"), np.array([[0, 0, 0], [0, far / 40, 0]])),
    ]
    mu = electronegativities()
    neighbours = [("Mg", near), ("Ti", far)]
    cosine, weight = np.polynomial.legendre.leggauss(80)

    def kappa(a, b):
        return np.exp(-((mu[a] - mu[b]) ** 2) / 2)

    def overlap(square):
        return np.exp(-square / (4 * sigma**2))

    def kernel(a, b):
        (first, r), (second, s) = a, b
        total = (
            overlap(0)
            + kappa(first, "O") * overlap(r**2)
            + kappa("O", second) * overlap(s**2)
            + kappa(first, second) * overlap(r**2 + s**2 - 2 * r * s * cosine)
        )
        return np.sum(weight * total**2) / 2

    exact = np.array([[kernel(a, b) for b in neighbours] for a in neighbours])
    norm = np.sqrt(np.diag(exact))
    np.testing.assert_allclose(
        gram(soap_vectors(crystals, spec)), exact / np.outer(norm, norm), atol=2e-6
    )


def test_equal_elements_make_equal_geometries_identical():
    magnesia = named("MgO", bulk("MgO", "rocksalt", 4.21))
    calcia = named("CaO", bulk("CaO", "rocksalt", 4.21))
    blind = soap_vectors([magnesia, calcia], SOAPSpec(delta=1e6))
    np.testing.assert_allclose(gram(blind), 1, atol=1e-10)
    alchemical = gram(soap_vectors([magnesia, calcia], SOAPSpec()))[0, 1]
    strict = gram(
        soap_vectors([magnesia, calcia], SOAPSpec(similarity="identity", elements=ELEMENTS))
    )[0, 1]
    assert strict < alchemical - 0.1 < 0.9 < alchemical < 1 - 1e-4


def test_kernel_is_normalised_and_positive_semidefinite():
    edges = np.linspace(4.0, 5.0, 4)
    crystals = [named(f"{m}{a}", bulk(f"{m}O", "rocksalt", a)) for m in ("Mg", "Ca") for a in edges]
    matrix = gram(soap_vectors(crystals, SOAPSpec(n_max=4, l_max=3)))
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12
    off_diagonal = matrix[~np.eye(len(matrix), dtype=bool)]
    assert off_diagonal.max() < 1
    assert off_diagonal.min() > 0


def test_default_rank_keeps_the_kernel_to_a_millionth(oxides):
    exact = gram(soap_vectors(oxides, SOAPSpec(rank_tolerance=1e-12)))
    assert np.abs(gram(soap_vectors(oxides, SOAPSpec())) - exact).max() < 1e-6
    rough = gram(soap_vectors(oxides, SOAPSpec(rank_tolerance=1e-2)))
    assert np.abs(rough - exact).max() > 1e-5


def test_basis_reproduces_the_similarity():
    elements, basis = species_basis(SOAPSpec())
    pick = [elements.index(s) for s in ("O", "Mg", "Cs")]
    mu = np.array([3.44, 1.31, 0.79])  # Pauling
    expected = np.exp(-((mu[:, None] - mu) ** 2) / 2)
    np.testing.assert_allclose((basis @ basis.T)[np.ix_(pick, pick)], expected, atol=2e-6)


def test_power_spectrum_of_one_centre_is_a_gram_matrix_of_its_coefficients():
    """Σ_m c_{αnlm} c_{α'n'lm}: as a matrix of channels positive, of rank 2l + 1 at most.

    Any confusion of n with n', or of the species, in reading DScribe's layout breaks the rank.
    """
    sites = np.array([[0.0, 0, 0], [0.32, 0.11, 0.93], [0.58, 0.47, 0.35], [0.83, 0.71, 0.55]])
    crystal = Crystal("one", np.diag([5.0, 5.6, 6.1]), ("O", "Ti", "Mg", "Sr"), sites)
    species, spectrum = power_spectrum(crystal, SOAPSpec(n_max=4, l_max=3))
    assert species == ("O", "Mg", "Ti", "Sr")
    assert spectrum.shape == (4, 4, 4, 4, 4)
    for degree in range(4):
        eigenvalues = np.linalg.eigvalsh(spectrum[..., degree].reshape(16, 16))[::-1]
        rank = 2 * degree + 1
        assert eigenvalues[rank - 1] > 1e-10 * eigenvalues[0]
        assert np.abs(eigenvalues[rank:]).max() < 1e-12 * eigenvalues[0]
