"""Runs VASP in a folder through custodian, which corrects the errors it knows.

custodian is imported here alone, and only where a calculation runs.
"""

import gzip
import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from rhoflow.dft import leash
from rhoflow.errors import EngineError

OUTPUT, ERRORS = "vasp.out", "std_err.txt"
# Files that custodian or VASP leave and nobody reads again; POTCAR is licensed.
_NEVER_KEPT = ("POTCAR", "WAVECAR", "CHG", "TMPCAR")
_LARGE = ("CHGCAR", "LOCPOT")
_ALWAYS_KEPT = ("INCAR", "POSCAR", "KPOINTS", "POTCAR.spec", "custodian.json")
_POLL_S = 1
_CHECK_EVERY = 30
_FROZEN_S = 6 * 3600
_SETTLE_ATTEMPTS = 3


def check_command(command: Sequence[str]) -> list[str]:
    """The site's command, on a leash.

    Raises:
        EngineError: there is none, or its program is not found.
    """
    if not command:
        raise EngineError(
            "engines.NAME.command is not set: how does your site start VASP? For example "
            "command: srun vasp_std"
        )
    if shutil.which(command[0]) is None:
        raise EngineError(
            f"engines.NAME.command: no program '{command[0]}' is found on this machine; load "
            "VASP's module, or name the program with its full path"
        )
    return [sys.executable, leash.__file__, *command]


def run(
    folder: Path, command: Sequence[str], max_errors: int, *, tasks: int = 1
) -> tuple[str, list[str]]:
    """Run VASP until it ends well or custodian gives up.

    Args:
        folder: holds the inputs and gets the outputs.
        command: arguments, no shell.
        max_errors: corrections after which custodian gives up.
        tasks: MPI tasks that the job got for the command.

    Returns:
        Why it failed, empty if it did not; and the errors that custodian corrected.

    Raises:
        EngineError: the command is not there, or custodian is not installed.
    """
    custodian = _custodian(folder, check_command(command), max_errors)
    if tasks > 1 and "SLURM_JOB_ID" in os.environ:
        # Snakemake's job steps hide what Slurm told the job; without it srun starts one task.
        os.environ.setdefault("SLURM_NTASKS", str(tasks))
    from custodian.custodian import CustodianError

    problem = ""
    try:
        custodian.run()
    except CustodianError as error:
        problem = str(error.message)
    return _told(problem, folder, custodian.run_log)


def _custodian(folder: Path, command: list[str], max_errors: int) -> Any:
    """One job with the handlers that concern a static run.

    Raises:
        EngineError: custodian is not installed.
    """
    try:
        from custodian.custodian import Custodian
        from custodian.vasp import handlers
        from custodian.vasp.jobs import VaspJob
    except ImportError as error:
        raise EngineError(
            f"engine vasp: custodian is not installed ({error}); install envs/dft.yaml"
        ) from error
    job = VaspJob(command, output_file=OUTPUT, stderr_file=ERRORS, backup=False, auto_gamma=False)
    return Custodian(
        [
            handlers.VaspErrorHandler(),
            handlers.StdErrHandler(),
            handlers.UnconvergedErrorHandler(),
            handlers.FrozenJobErrorHandler(OUTPUT, timeout=_FROZEN_S),
        ],
        [job],
        max_errors=max_errors,
        polling_time_step=_POLL_S,
        monitor_freq=_CHECK_EVERY,
        directory=str(folder),
    )


def _told(problem: str, folder: Path, log: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """Outcome of custodian in one line, and the names of the errors it corrected."""
    corrections = [c for entry in log for c in entry["corrections"]]
    names = [str(name).lower() for c in corrections for name in c["errors"]]
    unsolved = [c for c in corrections if not c["actions"]]
    if problem.startswith("Job return code"):
        code = problem.split()[4].rstrip(".")
        how = f"was killed by signal {code[1:]}" if code.startswith("-") else f"ended with {code}"
        problem = f"VASP {how}: {_last_line(folder)}"
    elif unsolved:
        told = ", ".join(str(name) for name in unsolved[-1]["errors"])
        problem = f"an error of VASP that custodian cannot correct: {told.lower()}"
    elif problem:
        problem = f"custodian gave up after {len(corrections)} corrections: {', '.join(names[-5:])}"
    return problem, list(dict.fromkeys(names))


def _last_line(folder: Path) -> str:
    """What VASP said last, for people."""
    for name in (ERRORS, OUTPUT):
        try:
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        lines = [line.strip(" |") for line in text.splitlines() if line.strip(" |-")]
        if lines:
            return "".join(c for c in lines[-1] if c.isprintable())[:150]
    return "no output"


def _licensed(name: str) -> bool:
    """Whether a file may not be kept; nor are those that nobody reads again."""
    return name in _NEVER_KEPT or (name.startswith("POTCAR") and name != "POTCAR.spec")


def tidy(folder: Path, keep: Sequence[str], *, failed: bool) -> None:
    """Pack what is kept; remove the rest, and the licensed POTCAR in any case.

    A failed run keeps all but the large files, so that one can see why.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir(), key=lambda path: not _licensed(path.name)):
        name = path.name
        wanted = name in keep or name in _ALWAYS_KEPT or (failed and name not in _LARGE)
        if _licensed(name) or not wanted:
            path.unlink() if not path.is_dir() else shutil.rmtree(path)
        elif name in keep:
            with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed)
            path.unlink()


def new_folder(log_path: Path, keep: Sequence[str]) -> Path:
    """Name of a folder of this process's own beside the log: others may run the same structure.

    What processes of this machine left there when they were killed is settled first.
    """
    host = re.sub(r"[^A-Za-z0-9-]", "-", platform.node())
    for folder in sorted(log_path.parent.glob(f"{log_path.stem}.*.vasp")):
        match = re.search(rf"\.{re.escape(host)}_(\d+)_[0-9a-f]+\.vasp$", folder.name)
        if match and not _lives(int(match[1])):
            settle(folder, log_path, keep, failed=True)
    return log_path.with_name(f"{log_path.stem}.{host}_{os.getpid()}_{uuid4().hex}.vasp")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def settle(folder: Path, log_path: Path, keep: Sequence[str], *, failed: bool) -> str:
    """Tidy a run's folder and give it the log's name with the ending ``.vasp``.

    An earlier run's folder of that name makes way; a run that left no folder takes none away.

    Returns:
        Why it could not be done, empty if it was: the folder then keeps its own name.
    """
    if not folder.is_dir():
        return ""
    final, problem = log_path.with_suffix(".vasp"), ""
    try:
        tidy(folder, keep, failed=failed)
    except OSError as error:
        return f"files of the run could not be packed: {error.strerror or error}"
    for _ in range(_SETTLE_ATTEMPTS):  # another run of the structure may end at the same time
        shutil.rmtree(final, ignore_errors=True)
        try:
            folder.rename(final)
        except OSError as error:
            problem = f"the run's folder could not be renamed {final.name}: {error.strerror}"
        else:
            return ""
    return problem
