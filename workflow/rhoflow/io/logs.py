"""The log of a rule."""

import logging
import sys
from pathlib import Path
from types import TracebackType

from rhoflow.errors import RhoflowError
from rhoflow.io.files import PathLike


def start_log(path: PathLike, *, show: str | None = None) -> None:
    """Send logging, stdout and uncaught errors of this process to a rule's log file.

    An error that rhoflow raises on purpose is shown as its message, in the log and on the
    terminal; any other keeps its traceback in the log.

    Args:
        path: the log file.
        show: a logger whose lines appear on the terminal too, for steps that take long.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    stream = target.open("w", buffering=1, encoding="utf-8")
    terminal = sys.stderr
    sys.stdout = sys.stderr = stream
    logging.basicConfig(
        stream=stream, level=logging.INFO, format="%(asctime)s %(message)s", force=True
    )
    logging.captureWarnings(True)
    if show:
        echo = logging.StreamHandler(terminal)
        echo.setFormatter(logging.Formatter("  %(message)s"))
        logging.getLogger(show).addHandler(echo)

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if isinstance(error, RhoflowError):
            for out in (stream, terminal):
                print(f"\nrhoflow: {error}\n", file=out, flush=True)
        else:
            sys.__excepthook__(kind, error, trace)
            print(f"rhoflow: {kind.__name__}: {error} (log: {path})", file=terminal, flush=True)

    sys.excepthook = report
