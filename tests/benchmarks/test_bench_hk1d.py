"""Wells in a box: 300 energies and densities by the map, by descent and by diagonalisation.

    pytest tests/benchmarks/test_bench_hk1d.py -o addopts="--import-mode=importlib"

``extra_info`` holds the peer's time over ours. The peer of the solver is LAPACK's lowest state of
second differences on the same 500 points, which is off by 0.02 kcal/mol.
"""

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal
from tests.benchmarks.peers import compare, seconds

from rhoflow import wells
from rhoflow.models.base import Start
from rhoflow.models.hk1d import fit as hk_map
from rhoflow.models.hk1d import orbital_free
from rhoflow.models.hk1d.spec import HKMapSpec, OrbitalFreeSpec


@pytest.fixture(scope="module")
def solved():
    return wells.solve(wells.WellsSpec(size=500))


@pytest.fixture(scope="module")
def train(solved):
    few = solved.take(range(200))
    return few, wells.KCAL_PER_MOL_PER_HARTREE * few.energies[:, None]


def second_differences(potentials):
    h = 1 / (potentials.shape[1] - 1)
    beside = np.full(potentials.shape[1] - 3, -0.5 / h**2)
    for v in potentials:
        eigh_tridiagonal(1 / h**2 + v[1:-1], beside, select="i", select_range=(0, 0))


@pytest.mark.benchmark(group="300 ground states of one particle")
def test_sines(benchmark, solved):
    test = solved.potentials[200:]
    benchmark.pedantic(wells.ground_states, (test, 1), rounds=3)
    compare(benchmark, "second_differences", seconds(lambda: second_differences(test), 3))


@pytest.mark.benchmark(group="300 ground states of one particle")
def test_map(benchmark, solved, train):
    fitted, test = hk_map.fit(HKMapSpec(), *train, Start()), solved.take(range(200, 500))
    benchmark.pedantic(fitted.predict, (test,), rounds=5)
    descent = orbital_free.fit(OrbitalFreeSpec(directions=5), *train, Start())
    compare(benchmark, "sines", seconds(lambda: wells.ground_states(test.potentials, 1), 3))
    compare(
        benchmark, "second_differences", seconds(lambda: second_differences(test.potentials), 3)
    )
    compare(benchmark, "descent", seconds(lambda: descent.predict(test)))


@pytest.mark.benchmark(group="training on 200 potentials")
def test_training(benchmark, train):
    benchmark.pedantic(lambda: hk_map.fit(HKMapSpec(), *train, Start()), rounds=3)
