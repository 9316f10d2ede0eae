"""Where trainings keep their state, so that a killed job goes on and ends with the same numbers."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rhoflow import io
from rhoflow.errors import DataError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class FileCheckpoint:
    """The state of one training in one file (``rhoflow.training.loop.Checkpoint``)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> "dict[str, torch.Tensor] | None":
        """The last state saved; None without one, or where its file is damaged."""
        import torch  # kernel ridge jobs do without it

        if not self.path.exists():
            return None
        try:
            arrays, _ = io.read_arrays(self.path)
        except DataError as error:
            logger.warning("training starts anew: %s", error)
            return None
        return {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}

    def save(self, state: "dict[str, torch.Tensor]") -> None:
        """Replace the state."""
        io.write_arrays(self.path, {n: v.detach().cpu().numpy() for n, v in state.items()})


class CheckpointStore:
    """Checkpoints of one job's trainings, named by what decides each.

    Args:
        folder: shared by all jobs.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.used: list[Path] = []

    def __call__(self, digest: str) -> FileCheckpoint:
        """The checkpoint of the training with this digest."""
        path = self.folder / f"{digest}.npz"
        self.used.append(path)
        return FileCheckpoint(path)

    def clear(self) -> None:
        """Forget this job's checkpoints: its predictions are written."""
        for path in self.used:
            path.unlink(missing_ok=True)
