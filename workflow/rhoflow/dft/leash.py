"""Runs a command that ends when its parent does: ``python leash.py COMMAND...``.

A worker that is killed outright cannot end the program it started, and an MPI launcher in a
process group of its own would run on. Linux tells the launcher; elsewhere the command runs
unleashed.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> None:
    """Become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
