"""Jobs in Slurm that a killed run left behind.

A Snakemake that dies without a word (SIGKILL, a login node that restarts) cannot cancel its jobs.
They go on writing while the next run, which does not know them, submits the same work again.
"""

import getpass
import subprocess
import time
from pathlib import Path

from rhoflow.errors import RhoflowError

# An answer of squeue takes milliseconds; a controller that restarts, up to a minute.
ANSWER_S = 90.0
# Slurm asks a job to end and kills it KillWait (30 s by default) later.
END_S = 300.0
POLL_S = 1.0


class SlurmError(RhoflowError):
    """Slurm does not answer, or a job does not end."""


def jobs_logging_below(folder: Path) -> list[str]:
    """Numbers of this user's jobs in the queue whose log lies below a folder.

    Raises:
        SlurmError: squeue fails.
    """
    words = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--Format=JobID:24,StdOut:4000"]
    lines = _answer(words).splitlines()
    found = [(line[:24].strip(), line[24:].strip()) for line in lines]
    below = folder.resolve()
    return [job for job, log in found if log and Path(log).resolve().is_relative_to(below)]


def end_leftovers(folder: Path) -> list[str]:
    """Cancel the jobs whose log lies below a folder, and wait until they have ended.

    Only for the holder of a run's lock, before it submits anything: such jobs are of a run that
    was killed.

    Args:
        folder: where a run's Slurm logs are.

    Returns:
        The jobs that were cancelled.

    Raises:
        SlurmError: a Slurm command fails, or a job does not end.
    """
    jobs = jobs_logging_below(folder)
    if not jobs:
        return []
    _answer(["scancel", *jobs])
    deadline = time.monotonic() + END_S
    while left := jobs_logging_below(folder):
        if time.monotonic() > deadline:
            raise SlurmError(
                f"jobs of a run that was killed do not end: {', '.join(left)}; they write to the "
                "same files, so nothing is submitted. Look at them with squeue, and start again "
                "when they are gone"
            )
        time.sleep(POLL_S)
    return jobs


def _answer(words: list[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmError(f"{words[0]} does not answer: {error}") from None
    if done.returncode:
        raise SlurmError(f"{words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
