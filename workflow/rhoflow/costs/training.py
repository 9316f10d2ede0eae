"""Run time and memory of training jobs, from their settings and protocol alone."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rhoflow.costs import maps
from rhoflow.costs.fits import FLOAT32_MB, FLOAT64_MB, STEP_S, Fit, Work, spots_of, vector_length
from rhoflow.costs.resources import JOB_START_S, request
from rhoflow.descriptors.fields import FieldsSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.evaluation.classification import ClassificationSpec
from rhoflow.evaluation.protocol import LearningCurveSpec, parse_range
from rhoflow.models.base import devices
from rhoflow.models.cnn3d.spec import VoxelsSpec
from rhoflow.models.registry import ArmTraining, PairSpec, is_random

# Operations a second of one core in the backward and forward passes of the quick configs' networks
# (8, 16, 32 filters on 16³ voxels): 16 to 20e9. Larger ones do more (32³ voxels, 16 to 64 filters:
# 29 to 35e9; 16³: 40e9), products of matrices 20 to 70e9.
CPU_FLOP_PER_S = 20e9

# ASSUMPTION, no GPU was measured: what one GPU of a data centre sustains on these networks in
# float32. Its nominal rates are 10 to 60 times this; small layers and memory keep it from them.
GPU_FLOP_PER_S = 1e12

# Time asked for over time expected. Six jobs of voxel networks of a minute and more had used 0.72
# to 1.02 times the expected processor time at the last sample of Snakemake's benchmark, which may
# be 30 s before their end; a job of dense networks, start included, 1.45 times.
TRAINING_RESERVE = 2.0

# Memory: a job without networks began at 167 to 178 MB, one with torch at 430 to 490 MB.
PLAIN_MB = 200.0
TORCH_MB = 490.0
# ASSUMPTION: what CUDA's libraries add in the memory of the host, and on the device.
CUDA_HOST_MB = 3000.0
CUDA_DEVICE_MB = 1000.0
# A file of vectors takes six times their size while it is read (SOAP: 61 MB for 9.8 MB).
READING_VECTORS = 6
# Spots are held as read, as taken for a training, and on the device.
COPIES_OF_SPOTS = 3
# Eight jobs of networks held 0.85 to 1.03 times the expected memory.
MEMORY_RESERVE = 1.3

# ASSUMPTION: the share of p devices' work that p devices of one training do.
DEVICES_EFFICIENCY = 0.7

# Mean volume of a cell, Å³: the shipped oxides have 92 (7.2 atoms).
VOLUME_ANGSTROM3 = 92.0


class TrainingResources(NamedTuple):
    """A request: run time in minutes, memory in MB of the host, and of each GPU (0 without)."""

    minutes: int
    memory_mb: int
    device_memory_mb: int


def training_resources(
    spec: Mapping[str, Any],
    redraws: str,
    *,
    n_structures: int,
    attempt: int = 1,
    gpu: bool = False,
    flop_per_s: float | None = None,
    volume: float = VOLUME_ANGSTROM3,
) -> TrainingResources:
    """Run time and memory of a job of the rules ``model_train`` and ``classify_train``.

    Args:
        spec: the rule's ``params.spec``: arm, protocol and, of a learning curve, targets.
        redraws: range of redraws or repeats that the job works through, as '0-4'.
        n_structures: of the data set.
        attempt: 1, 2, …
        gpu: whether networks train on a GPU; other models never do.
        flop_per_s: operations a second of the device; None: that of one core or of a GPU.
        volume: mean volume of a cell in Å³.
    """
    pair = ArmTraining.model_validate(spec["arm"])
    pairs = [p for p in (pair, pair.first) if p is not None]
    networks = any(is_random(p.model) for p in pairs)
    gpu = gpu and networks
    rate = flop_per_s or (GPU_FLOP_PER_S if gpu else CPU_FLOP_PER_S)
    work = training_work(spec, redraws, volume=volume)
    n_devices = devices(*(p.model for p in pairs))
    together = max(1.0, DEVICES_EFFICIENCY * n_devices)
    seconds = JOB_START_S + TRAINING_RESERVE * expected_s(work, rate * together)
    inputs = sum(_inputs_mb(p, n_structures, volume) for p in pairs)
    libraries = TORCH_MB + (CUDA_HOST_MB if gpu else 0) if networks else PLAIN_MB
    # Each device has a process of its own, with the inputs.
    host = MEMORY_RESERVE * (n_devices * (libraries + inputs) + (0 if gpu else work.memory_mb))
    device = MEMORY_RESERVE * (CUDA_DEVICE_MB + inputs + work.memory_mb) if gpu else 0.0
    minutes, memory = request(seconds, host, attempt=attempt)
    return TrainingResources(minutes, memory, round(max(1, attempt) * device))


def expected_s(work: Work, flop_per_s: float = CPU_FLOP_PER_S) -> float:
    """Seconds of some work on a device of this rate, without start-up and reserve."""
    return work.flop / flop_per_s + work.steps * STEP_S


def training_work(
    spec: Mapping[str, Any], redraws: str, *, volume: float = VOLUME_ANGSTROM3
) -> Work:
    """Operations of a training job.

    Raises:
        pydantic.ValidationError: the settings are not those of a training.
    """
    arm = ArmTraining.model_validate(spec["arm"])
    n_draws = len(parse_range(redraws))
    if spec["protocol"].get("kind") == "classification":
        protocol = ClassificationSpec.model_validate(spec["protocol"])
        return classification_work(arm, protocol, volume).times(n_draws)
    curve = LearningCurveSpec.model_validate(spec["protocol"])
    one = Work()
    for size in curve.train_sizes:
        one += arm_work(arm, size, len(spec["targets"]), curve, volume)
    return one.times(n_draws)


def arm_work(
    arm: ArmTraining, size: int, targets: int, protocol: LearningCurveSpec, volume: float
) -> Work:
    """One training size of one redraw: fits, and predictions of the test set."""
    second = _fit(arm, size, targets, protocol.seeds, volume)
    work = second.training() + _tested(second, protocol)
    if arm.first is None:
        return work
    first = _fit(arm.first, size, targets, protocol.seeds, volume)
    work += first.training() + _tested(first, protocol)
    if not arm.residual_folds:
        return work + first.prediction(size)
    folds = min(arm.residual_folds, size)
    part = _fit(arm.first, size - size // folds, targets, protocol.seeds, volume)
    return work + part.training().times(folds) + part.prediction(size)


def classification_work(pair: PairSpec, protocol: ClassificationSpec, volume: float) -> Work:
    """One repeat: a network for each number of replicas, and the originals shown to it."""
    work = Work()
    for replicas in protocol.replicas:
        update = {"replicas": replicas, "shown": protocol.shown(replicas)}
        shown = pair.model_copy(update={"model": pair.model.model_copy(update=update)})
        fit = _fit(shown, protocol.classes, protocol.classes, 1, volume)
        work += fit.training() + fit.prediction(protocol.classes)
        if replicas in protocol.feature_replicas:
            work += fit.prediction(protocol.classes, protocol.feature_poses)
    return work


def _fit(pair: PairSpec, n: int, targets: int, seeds: int, volume: float) -> Fit:
    return Fit(pair.descriptor, pair.model, n, targets, seeds, volume)


def _tested(fit: Fit, protocol: LearningCurveSpec) -> Work:
    poses = getattr(fit.model, "test_poses", 1) + protocol.spread_poses
    # Of all larger structures, where a redraw tests as many as there are, the number is not known.
    larger = protocol.larger_size or (protocol.train_max_atoms is not None) * protocol.test_size
    return fit.prediction(protocol.test_size + larger, poses)


def _inputs_mb(pair: PairSpec, n: int, volume: float) -> float:
    """Memory of the descriptors of all structures, MB."""
    descriptor = pair.descriptor
    if isinstance(descriptor, VoxelsSpec):
        # Real amplitudes of spots, complex coefficients of images.
        each = len(descriptor.channels) * (1 if isinstance(descriptor, R3DVSSpec) else 2)
        numbers = spots_of(descriptor, volume) * (3 + each)
        return COPIES_OF_SPOTS * FLOAT32_MB * n * numbers
    if isinstance(descriptor, FieldsSpec):
        return COPIES_OF_SPOTS * FLOAT32_MB * n * maps.numbers(descriptor, volume)
    return READING_VECTORS * FLOAT64_MB * n * vector_length(descriptor)
