"""Where torch models train, and how their numbers stay reproducible."""

import os

import torch


def pick_device() -> torch.device:
    """The first CUDA device if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_deterministic() -> None:
    """Ask torch for algorithms whose result does not vary from run to run.

    Where a device has no such algorithm for an operation, torch warns and uses the other.
    """
    # CUDA's matrix products ask for it before they start.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
