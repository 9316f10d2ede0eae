"""One training on several devices: a process a device, each with its share of every batch.

Every process of a group runs the same program on the same inputs, with the same splits and seeds.
Only the batches of a training are shared: each process works through its own part, and
DistributedDataParallel adds up the gradients. The result is that of one device at equal global
batch, up to the order in which numbers are added.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rhoflow.errors import ConfigError, TrainingError

logger = logging.getLogger(__name__)

# How long a process waits for another that is alive but silent; a dead one is noticed at once.
TIMEOUT = timedelta(minutes=10)

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Share:
    """The part of a global batch that one process works through.

    Attributes:
        rows: positions in the global batch, never none of them: a process that is left without
            a sample goes along with the first one, which then does not count.
        weight: samples that count over those of the global batch.
    """

    rows: slice
    weight: float


@dataclass(frozen=True)
class Group:
    """The processes that share a training.

    Attributes:
        rank: number of this process in its job.
        size: processes that share the batches of a training; 1: none are shared.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one process that writes files."""
        return self.rank == 0

    def share(self, n: int) -> Share:
        """This process's part of a global batch of n samples."""
        if self.size == 1:
            return Share(slice(0, n), 1.0)
        first, last = self.rank * n // self.size, (self.rank + 1) * n // self.size
        if first == last:
            return Share(slice(0, 1), 0.0)
        return Share(slice(first, last), (last - first) / n)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the processes; a process alone gets it as is."""
        if self.size == 1:
            return model
        # Without this flag the order of gradients is arranged anew after the first step, which a
        # resumed training would do at another time: sums over three and more would round apart.
        return DistributedDataParallel(model, find_unused_parameters=True)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The values of all processes, added up."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def wait(self) -> None:
        """Return when every process has come here."""
        self.sum(torch.zeros(1))

    def from_first(self, state: State | None) -> State | None:
        """The first process's tensors on every process; what the others hold is not looked at.

        Args:
            state: tensors on the processor, or None.
        """
        if self.size == 1:
            return state
        listed = {n: (str(v.dtype)[6:], list(v.shape)) for n, v in (state or {}).items()}
        text = b"" if state is None or not self.is_first else json.dumps(listed).encode()
        length = _broadcast(torch.tensor([len(text)]))
        if not int(length):
            return None
        letters = torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else None
        letters = _broadcast(torch.empty(int(length), dtype=torch.uint8), letters)
        return {
            name: _broadcast(
                torch.empty(shape, dtype=getattr(torch, dtype)),
                state[name] if state is not None and self.is_first else None,
            )
            for name, (dtype, shape) in json.loads(bytes(letters.numpy())).items()
        }


ALONE = Group()


def _broadcast(room: torch.Tensor, content: torch.Tensor | None = None) -> torch.Tensor:
    """The first process's tensor: its content, or else its room."""
    value = room if content is None else content.contiguous()
    dist.broadcast(value, src=0)
    return value


def world_size() -> int:
    """Processes of this job."""
    joined = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if joined else 1


def group(devices: int) -> Group:
    """The group for a training on so many devices.

    A training on one device is done by every process of a job for itself, so that all of them go
    on with its result.

    Raises:
        ConfigError: the job has another number of processes.
    """
    size = world_size()
    rank = dist.get_rank() if size > 1 else 0
    if devices == 1 or size == 1:
        if devices > 1:
            logger.warning("optimiser.devices is %d, but this process trains alone", devices)
        return Group(rank)
    if devices != size:
        raise ConfigError(
            f"optimiser.devices is {devices}, but the job of this training has {size} processes; "
            "start as many processes as devices"
        )
    return Group(rank, size)


@dataclass(frozen=True)
class Place:
    """Where a process stands: among all, and among those of its machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def place(environ: Mapping[str, str]) -> Place:
    """What torchrun, or else srun, says of this process in the environment; else it is alone.

    Raises:
        ConfigError: the numbers contradict each other.
    """
    if "RANK" in environ:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    elif "SLURM_PROCID" in environ:
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS")
    else:
        return Place(0, 1, 0, 1)
    said = {name: environ.get(name, "") for name in names}
    try:
        found = Place(*(int(said[name]) for name in names))
    except ValueError:
        found = None
    if found is None or not (0 <= found.local_rank <= found.rank < found.size):
        raise ConfigError(
            f"the environment does not say which process of a training this is: got {said}, "
            "expected the number of the process and that of all processes; start it with "
            "torchrun or srun"
        )
    return found


@contextmanager
def joined(meeting: Path | None = None) -> Iterator[Group]:
    """Be one of the processes that the environment speaks of.

    The group is left at the end, but not after an error: then others may be gone, and to wait for
    them would hide it.

    Args:
        meeting: a file name that all processes can reach, in a folder of this job alone, at which
            they meet; without it they need MASTER_ADDR and MASTER_PORT, as torchrun sets them.

    Raises:
        ConfigError: the machine has fewer GPUs than processes, or nobody says where to meet.
        TrainingError: the others did not come.
    """
    here = place(os.environ)
    if here.size == 1:
        yield ALONE
        return
    if meeting is None and "MASTER_ADDR" not in os.environ:
        raise ConfigError("MASTER_ADDR is not set; start the processes with torchrun")
    _meet(here, _take_device(here), meeting)
    yield Group(here.rank, here.size)
    dist.destroy_process_group()


def _meet(here: Place, backend: str, meeting: Path | None) -> None:
    """Wait for the other processes."""
    store = None
    if "MASTER_ADDR" not in os.environ:
        store = dist.FileStore(str(meeting), here.size)  # pyright: ignore[reportPrivateImportUsage]
        store.set_timeout(TIMEOUT)
    try:
        dist.init_process_group(
            backend, store=store, rank=here.rank, world_size=here.size, timeout=TIMEOUT
        )
    except RuntimeError as error:
        raise TrainingError(
            f"process {here.rank + 1} of {here.size} did not meet the others of its training "
            f"within {TIMEOUT.total_seconds() / 60:g} min ({error}); expected all of them to start "
            "on this machine. Is it overloaded, or one of them stuck? Run the job again"
        ) from error


def _take_device(here: Place) -> str:
    """Make this process's GPU the one that "cuda" stands for; how processes talk to each other."""
    if not torch.cuda.is_available():
        if here.rank == 0:
            logger.info("no GPU: %d processes share the processor", here.size)
        return "gloo"
    found = torch.cuda.device_count()
    if here.local_size > found:
        raise ConfigError(
            f"optimiser.devices: got {here.local_size}, but this machine shows {found} GPU(s) to "
            f"the job; expected at most {found}. Ask for more GPUs in the resources of the rule "
            "(gres), or lower optimiser.devices"
        )
    torch.cuda.set_device(here.local_rank)
    return "cpu:gloo,cuda:nccl"


def lost_another(error: Exception) -> bool:
    """Whether an error says that another process of the group is gone, not what happened to it."""
    named = any(name in str(error).lower() for name in ("gloo", "nccl"))
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and named)


def check_weights(weights: torch.Tensor) -> None:
    """Check that each global batch was shared, none given to several processes.

    Args:
        weights: (steps,) sums over the group.

    Raises:
        TrainingError: it was not.
    """
    if (weights - 1).abs().max() > 1e-6:
        raise TrainingError(
            "the processes of a group worked through parts of batches that do not add up to whole "
            f"ones (weights from {weights.min():g} to {weights.max():g}, expected 1): a model's "
            "batches must be those of Group.share"
        )
