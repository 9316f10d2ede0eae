"""The training loop against its bound, seeds side by side, and a loader of stored voxels.

Spot sets have the size of real oxides. What is compared runs in turns, so that whatever else the
machine does meets both, and medians are compared. ``extra_info`` holds samples per second and
ratios. The last one needs a GPU, and so does half of the others.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.benchmarks.peers import seconds
from torch import nn
from torch.utils.data import DataLoader, Dataset

from rhoflow.density.spectrum import half_sphere, reciprocal_lattice
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.voxels import SpotBatcher
from rhoflow.models.cnn3d.fit import ReplicaSampler, _scaled, train_networks
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.training.devices import make_deterministic, pick_device
from rhoflow.training.ensemble import Ensemble, seeded
from rhoflow.training.loop import Batch, autocast, train
from rhoflow.training.losses import sum_of_mean_squares
from rhoflow.training.spec import OptimiserSpec

BOUND = 0.8
LOADER = 5.0
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = [pytest.param("cpu"), pytest.param("cuda", marks=CUDA)]

# The paper's voxels and a network of its kind; the quick config's.
PAPER = (R3DVSSpec(), CNN3DSpec(channels=(16, 32, 64), dense=(128,)))
QUICK = (
    R3DVSSpec(length_angstrom=6.4, deposit="linear", value="squared", per="atom"),
    CNN3DSpec(channels=(4, 8, 16), dense=(32,)),
)
SIZES = {"paper": PAPER, "quick": QUICK}
# Structures and replicas of an epoch, and samples of a batch: seconds on either device.
LOADS = {
    ("paper", "cpu"): (32, 1, 16),
    ("quick", "cpu"): (64, 6, 64),
    ("paper", "cuda"): (640, 6, 64),
    ("quick", "cuda"): (640, 12, 64),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    make_deterministic()


def random_spots(n: int) -> SpotSet:
    """Spots of cells of 60 to 200 Å³ inside 7.854 1/Å, amplitudes that fall with g."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(n):
        lattice = rng.uniform(60, 200) ** (1 / 3) * (np.eye(3) + 0.1 * rng.normal(size=(3, 3)))
        parts.append(half_sphere(lattice, R3DVSSpec().g_cut) @ reciprocal_lattice(lattice))
    g = np.concatenate(parts)
    amplitude = np.exp(-np.linalg.norm(g, axis=1) / 2) * rng.uniform(size=len(g))
    return SpotSet(
        tuple(str(i) for i in range(n)),
        np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64),
        g.astype(np.float32),
        amplitude[None].astype(np.float32),
        rng.uniform(9, 20, size=n),
    )


class Setting:
    """What both sides of a comparison share: spots, targets, network and batches of an epoch."""

    def __init__(self, size: str, device: str, precision: str = "float32") -> None:
        structures, replicas, batch_size = LOADS[size, device]
        self.voxels, model = SIZES[size]
        self.optimiser = OptimiserSpec(epochs=1, batch_size=batch_size, precision=precision)
        self.spec = model.model_copy(update={"replicas": replicas, "optimiser": self.optimiser})
        self.device = torch.device(device)
        self.data = random_spots(structures)
        self.answers = torch.randn(structures, 1, generator=torch.Generator().manual_seed(0))
        self.n_samples = structures * replicas
        self.batcher = SpotBatcher(self.data, self.voxels, self.device)

    def networks(self, seeds: tuple[int, ...] = (0,)) -> Ensemble:
        network = seeded(lambda: VoxelCNN(self.spec, self.voxels.grid_shape), seeds)
        return network.to(self.device)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """As training makes them: rotated spots, deposited when they are asked for."""
        answers, scale = self.answers.to(self.device), torch.ones(1, device=self.device)
        sampler = ReplicaSampler(len(self.data), self.spec, 0)
        for sample, rotation in sampler.epoch(epoch):
            grid = _scaled(self.batcher.voxels(sample, rotation), scale)
            yield Batch(grid, answers[sample.to(self.device)])

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def loop(self, model: nn.Module, batches: Callable[[int], Any]) -> None:
        train(model, batches, sum_of_mean_squares, self.optimiser)
        self.wait()


def in_turns(
    benchmark, ours: Callable[[], object], peer: Callable[[], object], rounds: int
) -> float:
    """Median time of the peer over ours; the peer runs before every round of ours."""
    for side in (peer, ours):  # warm up
        side()
    times: list[float] = []
    benchmark.pedantic(ours, setup=lambda: times.append(seconds(peer)), rounds=rounds)
    ratio = float(np.median(times)) / benchmark.stats["median"]
    benchmark.extra_info.update(peer_s=float(np.median(times)), peer_over_ours=ratio)
    return ratio


def say(benchmark, setting: Setting, text: str) -> None:
    rate = setting.n_samples / benchmark.stats["median"]
    benchmark.extra_info["samples_per_s"] = rate
    print(f"\n{setting.device}: {rate:.4g} samples/s, {text}")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.benchmark(group="the loop against forward, backward and step on resident voxels")
def test_the_loop_keeps_up_with_its_bound(benchmark, size, device):
    """At least 80 % of the rate of the network alone, whose batches lie ready on the device."""
    setting = Setting(size, device)
    model, alone = setting.networks(), setting.networks()
    resident = list(setting.batches(0))
    optimiser = torch.optim.AdamW(alone.parameters(), lr=1e-3)

    def bound() -> None:
        for batch in resident:
            optimiser.zero_grad(set_to_none=True)
            sum_of_mean_squares(alone(batch.inputs), batch.targets).backward()
            optimiser.step()
        setting.wait()

    ratio = in_turns(benchmark, lambda: setting.loop(model, setting.batches), bound, rounds=9)
    say(benchmark, setting, f"{size}: {ratio:.0%} of forward, backward and step alone")
    assert ratio > BOUND


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.benchmark(group="five seeds side by side against one after the other")
def test_seeds_side_by_side(benchmark, size, device):
    """Five networks that share their rotated voxels, and the same five trained by themselves."""
    if torch.device(device) != pick_device():
        pytest.skip("trainings take the GPU where there is one")
    setting, seeds = Setting(size, device), (0, 1, 2, 3, 4)

    def trained(chosen: tuple[int, ...]) -> None:
        train_networks(
            setting.spec, setting.voxels, setting.data, setting.answers,
            sum_of_mean_squares, n_outputs=1, seeds=chosen,
        )  # fmt: skip
        setting.wait()

    ratio = in_turns(
        benchmark, lambda: trained(seeds), lambda: [trained((s,)) for s in seeds], rounds=5
    )
    say(benchmark, setting, f"{size}, five networks: {ratio:.2f} times one after the other")


class StoredVoxels(Dataset):
    """One file a rotated replica, as one would write them without thinking further."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.files: list[Path] = []
        self.targets: list[float] = []
        sampler = ReplicaSampler(len(setting.data), setting.spec, 0)
        batcher = SpotBatcher(setting.data, setting.voxels, torch.device("cpu"))
        for sample, rotation in sampler.epoch(0):
            for i, grid in zip(sample.tolist(), batcher.voxels(sample, rotation), strict=True):
                self.files.append(folder / f"{len(self.files)}.npy")
                self.targets.append(float(setting.answers[i, 0]))
                np.save(self.files[-1], grid.numpy())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(np.load(self.files[i])), torch.tensor([self.targets[i]])


@CUDA
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.benchmark(group="the loop against a loader of stored rotated voxels")
def test_a_loader_of_stored_voxels(benchmark, tmp_path, precision):
    """At least 5 times as fast as files, workers and pinned memory."""
    against_a_loader(benchmark, Setting("paper", "cuda", precision), tmp_path)


def against_a_loader(benchmark, setting: Setting, folder: Path) -> None:
    stored = StoredVoxels(folder, setting)
    loader = DataLoader(
        stored,
        batch_size=setting.optimiser.batch_size,
        shuffle=True,
        num_workers=4,
        pin_memory=setting.device.type == "cuda",
        persistent_workers=True,
    )
    model, other = setting.networks(), VoxelCNN(setting.spec, setting.voxels.grid_shape)
    other.to(setting.device)
    optimiser = torch.optim.AdamW(other.parameters(), lr=1e-3)

    def loaded() -> None:
        for grids, targets in loader:
            optimiser.zero_grad()
            with autocast(setting.device, setting.optimiser):
                answer = other(grids.to(setting.device, non_blocking=True))
            nn.functional.mse_loss(answer.float(), targets.to(setting.device)).backward()
            optimiser.step()
        setting.wait()

    ratio = in_turns(benchmark, lambda: setting.loop(model, setting.batches), loaded, rounds=5)
    say(benchmark, setting, f"{ratio:.2f} times the loader of stored voxels")
    assert ratio > LOADER
