"""Child processes: they find this very package, keep to their threads, end with their parent."""

import os
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import rhoflow

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment(threads: int = 1, *, without: Collection[str] = ()) -> dict[str, str]:
    """The environment of a child: this very package importable, threads limited.

    Args:
        threads: of each numerical library.
        without: variables that the child must not see.
    """
    package_root = str(Path(rhoflow.__file__).resolve().parents[1])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **{name: value for name, value in os.environ.items() if name not in without},
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": os.pathsep.join(paths),
    }


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that children are ended; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_at_end_of_stdin() -> None:
    """End this process when its parent is gone: even a parent killed outright closes the pipe."""
    while os.read(0, 1):
        pass
    os._exit(1)


def why_ended(code: int, output: Path) -> str:
    """Why a process ended that left no result.

    Args:
        code: its return code; negative: the signal that ended it.
        output: file with what it printed.
    """
    if code == -signal.SIGKILL:
        return "killed by signal 9 (out of memory?)"
    if code < 0:
        return f"killed by signal {-code}"
    lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"worker ended with code {code}: {lines[-1][:200] if lines else 'no output'}"
