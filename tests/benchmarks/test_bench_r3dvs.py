"""Densities to spots, and spots to rotated voxels, against plain Python loops over spots.

Both sides get the same densities of the size of real oxides, the same rotations and one
thread, in the same run. A loop works on a share of the batch and is scaled up.
"""

import math

import numpy as np
import pytest
import scipy.fft
import torch
from tests.benchmarks.peers import compare, seconds

from rhoflow.density.spectrum import from_grid, reciprocal_lattice
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet, spots
from rhoflow.descriptors.voxels import SpotBatcher, random_rotations

BATCH = 64
SPEC = R3DVSSpec()


@pytest.fixture(scope="module")
def densities() -> list[tuple[np.ndarray, np.ndarray]]:
    """(lattice, density) in cells of 60 to 200 Å³ on grids that resolve 12 1/Å."""
    rng = np.random.default_rng(0)
    lattices = [
        rng.uniform(60, 200) ** (1 / 3) * (np.eye(3) + 0.1 * rng.normal(size=(3, 3)))
        for _ in range(BATCH)
    ]
    return [(lattice, rng.random((36, 36, 36))) for lattice in lattices]


def to_spots(densities: list[tuple[np.ndarray, np.ndarray]]) -> SpotSet:
    spectra = {
        str(i): from_grid(density, lattice, 10, SPEC.g_cut)
        for i, (lattice, density) in enumerate(densities)
    }
    return spots(spectra, SPEC)


def spots_by_loop(lattice: np.ndarray, density: np.ndarray, hkl: np.ndarray) -> list[float]:
    """|s(g)| by the sum of the paper's eq. (3), one spot after the other."""
    axes = [np.arange(n) / n for n in density.shape]
    fractions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = density.ravel()
    return [
        abs(complex((np.exp(-2j * np.pi * (fractions @ indices)) * values).mean()))
        for indices in hkl
    ]


def voxels_by_loop(
    g: list[list[float]], amplitude: list[float], rotation: list[list[float]]
) -> np.ndarray:
    """One structure's voxels, one spot after the other."""
    n, pitch = SPEC.n_voxels, SPEC.pitch
    grid = np.zeros((n, n, n), dtype=np.float32)
    for spot, value in zip(g, amplitude, strict=True):
        turned = [sum(rotation[i][j] * spot[j] for j in range(3)) for i in range(3)]
        for sign in (1, -1) if any(spot) else (1,):
            x, y, z = (min(max(math.floor(sign * t / pitch + n / 2), 0), n - 1) for t in turned)
            grid[x, y, z] += value
    return grid


@pytest.mark.benchmark(group="64 densities to spots")
def test_densities_to_spots(benchmark, densities):
    data = benchmark(to_spots, densities)
    lattice, density = densities[0]
    g = data.g[: data.offsets[1]]
    hkl = np.rint(g @ np.linalg.inv(reciprocal_lattice(lattice)))
    share = 20
    loop_s = min(seconds(lambda: spots_by_loop(lattice, density, hkl[:share])) for _ in range(3))
    np.testing.assert_allclose(
        spots_by_loop(lattice, density, hkl[:share]),
        data.amplitude[0, :share],
        rtol=1e-4,
        atol=1e-7,
    )
    compare(benchmark, "plain loop over spots", loop_s * len(data.g) / share, "median")
    fft_s = min(seconds(lambda: [scipy.fft.rfftn(d) for _, d in densities]) for _ in range(5))
    compare(benchmark, "bound: the bare Fourier transforms", fft_s, "median")


@pytest.mark.benchmark(group="spots to 64 rotated voxel descriptors")
def test_spots_to_voxels(benchmark, densities):
    torch.set_num_threads(1)
    data = to_spots(densities)
    rotations = random_rotations(BATCH, torch.Generator().manual_seed(0))
    batcher = SpotBatcher(data, SPEC, torch.device("cpu"))
    result = benchmark(batcher.voxels, torch.arange(BATCH), rotations)
    share = 4
    rows = [slice(*data.offsets[i : i + 2]) for i in range(share)]
    inputs = [
        (data.g[r].tolist(), data.amplitude[0, r].tolist(), rotation.tolist())
        for r, rotation in zip(rows, rotations, strict=False)
    ]
    loop_s = min(seconds(lambda: [voxels_by_loop(*i) for i in inputs]) for _ in range(3))
    for i, one in enumerate(inputs):
        # The two round at different places, so a spot on a face may change sides.
        grid = voxels_by_loop(*one)
        assert np.abs(result[i, 0].numpy() - grid).sum() < 2e-2 * grid.sum()
    compare(
        benchmark, "plain loop over spots", loop_s * len(data.g) / data.offsets[share], "median"
    )


@pytest.mark.benchmark(group="spots to 64 rotated voxel descriptors")
def test_spots_to_voxels_linear(benchmark, densities):
    torch.set_num_threads(1)
    spec = SPEC.model_copy(update={"deposit": "linear"})
    batcher = SpotBatcher(to_spots(densities), spec, torch.device("cpu"))
    rotations = random_rotations(BATCH, torch.Generator().manual_seed(0))
    grid = benchmark(batcher.voxels, torch.arange(BATCH), rotations)
    assert grid.shape == (BATCH, 1, 32, 32, 32)
