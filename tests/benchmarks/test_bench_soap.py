"""Our Gram matrix of average SOAP kernels beside DScribe's ``AverageKernel``, in one run.

    pytest tests/benchmarks/test_bench_soap.py -o addopts="--import-mode=importlib"

The group "kernel" starts from computed features, "structures to kernel" from the crystals.
``extra_info`` holds DScribe's best time over ours and the largest difference of the matrices.
"""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal as from_spacegroup
from dscribe.descriptors import SOAP
from dscribe.kernels import AverageKernel
from tests.benchmarks.peers import seconds

from rhoflow.crystal import Crystal
from rhoflow.descriptors.soap import SOAPSpec, gram, soap_vectors

ROCKSALT = {"Mg": 4.21, "Ca": 4.81, "Sr": 5.16, "Ba": 5.52, "Mn": 4.44, "Fe": 4.33, "Co": 4.26}
FLUORITE = {"Ce": 5.41, "Zr": 5.09, "Hf": 5.12, "Th": 5.60, "U": 5.47}
PEROVSKITE = {
    ("Sr", "Ti"): 3.905,
    ("Ba", "Ti"): 4.00,
    ("Ca", "Ti"): 3.84,
    ("Sr", "Zr"): 4.10,
    ("Ba", "Zr"): 4.19,
    ("Ba", "Sn"): 4.12,
}
RUTILE = {"Ti": (4.594, 2.959), "Sn": (4.737, 3.186), "Mn": (4.40, 2.87)}
SPINEL = {("Mg", "Al"): 8.08, ("Zn", "Al"): 8.09, ("Fe", "Cr"): 8.38}


def perovskite(a: str, b: str, edge: float) -> Atoms:
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms([a, b, "O", "O", "O"], scaled_positions=sites, cell=[edge] * 3, pbc=True)


def rutile(metal: str, a: float, c: float) -> Atoms:
    sites = [(0, 0, 0), (0.305, 0.305, 0)]
    return from_spacegroup((metal, "O"), sites, spacegroup=136, cellpar=[a, a, c, 90, 90, 90])


def spinel(a: str, b: str, edge: float) -> Atoms:
    sites = [(0.125,) * 3, (0.5,) * 3, (0.2624,) * 3]
    return from_spacegroup(
        (a, b, "O"),
        sites,
        spacegroup=227,
        setting=2,
        cellpar=[edge] * 3 + [90] * 3,
        primitive_cell=True,
    )


@pytest.fixture(scope="module")
def oxides() -> list[Crystal]:
    atoms = [
        *(bulk(f"{m}O", "rocksalt", a) for m, a in ROCKSALT.items()),
        *(bulk(f"{m}O2", "fluorite", a) for m, a in FLUORITE.items()),
        *(perovskite(*metals, a) for metals, a in PEROVSKITE.items()),
        *(rutile(m, *edges) for m, edges in RUTILE.items()),
        *(spinel(*metals, a) for metals, a in SPINEL.items()),
    ]
    assert len(atoms) == 24
    return [
        Crystal(str(i), np.asarray(a.cell), tuple(a.symbols), a.get_scaled_positions())
        for i, a in enumerate(atoms)
    ]


@pytest.fixture(scope="module")
def spec(oxides) -> SOAPSpec:
    elements = {s for oxide in oxides for s in oxide.symbols}
    return SOAPSpec(similarity="identity", elements=tuple(sorted(elements)))


def dscribe_soap(spec: SOAPSpec) -> SOAP:
    return SOAP(
        r_cut=spec.r_cut_angstrom,
        n_max=spec.n_max,
        l_max=spec.l_max,
        sigma=spec.sigma_angstrom,
        species=spec.elements,
        periodic=True,
    )


def dscribe_features(oxides: list[Crystal], soap: SOAP) -> list[np.ndarray]:
    return [
        np.asarray(
            soap.create(o.to_ase(), centers=[i for i, s in enumerate(o.symbols) if s == "O"])
        )
        for o in oxides
    ]


def dscribe_kernel(features: list[np.ndarray]) -> np.ndarray:
    return AverageKernel(metric="linear").create(features)


def pair_weights(soap: SOAP, spec: SOAPSpec) -> np.ndarray:
    """√2 where DScribe stores an unordered pair of channels once."""
    weights = np.full(soap.get_number_of_features(), np.sqrt(2))
    i, j = np.triu_indices(spec.n_max)
    for element in spec.elements or ():
        equal = np.tile(np.where(i == j, 1, np.sqrt(2)), spec.l_max + 1)
        weights[soap.get_location((element, element))] = equal
    return weights


@pytest.mark.benchmark(group="kernel")
def test_kernel_dscribe(benchmark, oxides, spec):
    benchmark(dscribe_kernel, dscribe_features(oxides, dscribe_soap(spec)))


@pytest.mark.benchmark(group="kernel")
def test_kernel_rhoflow(benchmark, oxides, spec):
    soap = dscribe_soap(spec)
    weights = pair_weights(soap, spec)
    features = [weights * f for f in dscribe_features(oxides, soap)]
    matrix = benchmark(gram, soap_vectors(oxides, spec))
    difference = np.abs(matrix - dscribe_kernel(features)).max()
    assert difference < 1e-9
    slower = seconds(lambda: dscribe_kernel(features), rounds=3) / benchmark.stats["min"]
    benchmark.extra_info.update(dscribe_over_rhoflow=slower, difference=difference)


@pytest.mark.benchmark(group="structures to kernel")
def test_structures_dscribe(benchmark, oxides, spec):
    soap = dscribe_soap(spec)
    benchmark(lambda: dscribe_kernel(dscribe_features(oxides, soap)))


@pytest.mark.benchmark(group="structures to kernel")
@pytest.mark.parametrize("similarity", ["identity", "electronegativity"])
def test_structures_rhoflow(benchmark, oxides, spec, similarity):
    chosen = spec if similarity == "identity" else SOAPSpec()
    matrix = benchmark(lambda: gram(soap_vectors(oxides, chosen)))
    np.testing.assert_allclose(np.diag(matrix), 1)
    soap = dscribe_soap(spec)
    theirs = seconds(lambda: dscribe_kernel(dscribe_features(oxides, soap)), rounds=3)
    benchmark.extra_info["dscribe_over_rhoflow"] = theirs / benchmark.stats["min"]
