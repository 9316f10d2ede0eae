"""Images of densities: what making them adds to a training step, and other ways to make them.

Spectra have the size of real oxides, known up to 9 1/Å like the shipped ones. What is compared
gets the same structures and poses on one thread in the same run. ``extra_info`` holds seconds and
ratios.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.benchmarks.peers import compare, seconds

from rhoflow.density.spectrum import Spectrum, half_sphere, reciprocal_lattice
from rhoflow.descriptors.image import ImageSet, ImageSpec, images
from rhoflow.descriptors.resample import ImageBatcher, random_poses
from rhoflow.models.cnn3d.fit import _scaled
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.training.devices import make_deterministic

BATCH = 32
FRAMES = {"cell": ImageSpec(), "box": ImageSpec(frame="box")}
NETWORKS = {
    "plain": CNN3DSpec(channels=(16, 32, 64), dense=(128,)),
    "multi-scale attention": CNN3DSpec(
        channels=(16, 32, 64), dense=(128,), block="multi_scale", attention="both",
        padding="circular", pooling="mean",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    make_deterministic()


def random_images(spec: ImageSpec) -> ImageSet:
    """Densities of cells of 60 to 200 Å³ whose coefficients fall with g."""
    rng, spectra = np.random.default_rng(0), {}
    for i in range(BATCH):
        lattice = rng.uniform(60, 200) ** (1 / 3) * (np.eye(3) + 0.1 * rng.normal(size=(3, 3)))
        hkl = half_sphere(lattice, 9.0)
        g = np.linalg.norm(hkl @ reciprocal_lattice(lattice), axis=1)
        wave = np.exp(2j * np.pi * rng.uniform(size=len(g)) * (g > 0))
        spectra[str(i)] = Spectrum(lattice, 10, hkl, (np.exp(-g / 2) * wave).astype("c8"), 9.0)
    return images(spectra, spec)


def batcher(frame: str) -> tuple[ImageBatcher, Callable[[], torch.Tensor], ImageSet, torch.Tensor]:
    """Coefficients on the processor, what makes one batch of them, and what it is made of."""
    spec = FRAMES[frame]
    data, every = random_images(spec), torch.arange(BATCH)
    poses = random_poses(spec, BATCH, torch.Generator().manual_seed(0))
    made = ImageBatcher(data, spec, torch.device("cpu"))
    return made, lambda: made.voxels(every, poses), data, poses


@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize("frame", list(FRAMES))
@pytest.mark.benchmark(group="32 images of 24³ voxels against forward, backward and step on them")
def test_images_and_the_step_that_reads_them(benchmark, frame, network):
    """The bound: a step on images that lie ready on the device."""
    _, make, _, _ = batcher(frame)
    model = VoxelCNN(NETWORKS[network], (24, 24, 24))
    optimiser = torch.optim.AdamW(model.parameters())
    resident = _scaled(make(), torch.ones(1))

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        model(resident).square().mean().backward()
        optimiser.step()

    step()
    step_s = seconds(step, 5)
    benchmark.pedantic(make, warmup_rounds=1, rounds=9)
    ratio = compare(benchmark, f"step of the {network} network", step_s)
    print(f"{frame}: making images takes {1 / ratio:.1%} of a step")


@pytest.mark.benchmark(group="32 box images of 24³ voxels, made in other ways")
def test_box_images_against_other_ways(benchmark):
    made, make, data, poses = batcher("box")
    result = benchmark(make)
    g, values = waves(data, poses)

    def padded() -> torch.Tensor:
        """All crystals at once, zeros after the shorter lists of waves."""
        joined = [torch.nn.utils.rnn.pad_sequence([a.T for a in part], True).mT
                  for part in (g, values)]  # fmt: skip
        return torch.vmap(made._box)(*joined)

    def direct() -> torch.Tensor:
        """One crystal's sum over its waves at every point, which the products take apart."""
        axis = torch.cat([-made.upper.flip(0), made.upper])
        points = torch.cartesian_prod(axis, axis, axis)  # (n³, 3)
        phase = points @ g[0]
        weight = torch.where((g[0] == 0).all(dim=0), 1, 2) * values[0][0]
        return phase.cos() @ weight.real - phase.sin() @ weight.imag

    torch.testing.assert_close(padded(), result, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(direct(), result[0, 0].flatten(), rtol=1e-4, atol=1e-3)
    compare(benchmark, "padded to the longest", seconds(padded, 5))
    compare(benchmark, "sum at every point", BATCH * seconds(direct, 3))


def waves(data: ImageSet, poses: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Turned wave vectors (3, m), 1/Å, and values (1, m) of each structure."""
    g, values = [], []
    for i, pose in enumerate(poses.double().numpy()):
        rows = slice(*data.offsets[i : i + 2])
        hkl = data.hkl[rows].astype(float)
        turned = pose[:, :3] @ (hkl @ reciprocal_lattice(data.lattices[i])).T
        shifted = data.coefficients[:, rows] * np.exp(2j * np.pi * hkl @ pose[:, 3])
        g.append(torch.from_numpy(turned).float())
        values.append(torch.from_numpy(shifted).to(torch.complex64))
    return g, values
