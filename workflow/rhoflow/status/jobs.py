"""In which state a job is: from its output, its log, and Snakemake's markers and locks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

from rhoflow.status.files import Tree, clean, marked_outputs

State = Literal["done", "failed", "running", "queued", "stopped", "waiting"]

# Without a sign of life for so long, a locked folder may be one whose run was killed.
QUIET_S = 900.0
# A job's log may be some moments older than its marker on another machine's clock.
SLACK_S = 5.0
RUN_LOGS = 5
RUN_LOG_BYTES = 1024 * 1024
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
TRACEBACK = "Traceback (most recent call last)"
OWN_ERROR = "rhoflow: "
COMPLAINT = re.compile(r"\s*Error in rule \w+")
UNTOLD = "the job, or another one of its group, failed; its log does not say why"
ENTRY = re.compile(r"\s+(message|log): (.*)")


class JobFiles(TypedDict):
    """The files of one job: what it is called, its rule, and where it writes.

    ``output`` is one of its files, the one that counts.
    """

    name: str
    rule: str
    output: str
    log: str
    benchmark: str


@dataclass(frozen=True)
class RunFiles:
    """What Snakemake leaves behind of a run.

    Attributes:
        now: this moment (s since the epoch).
        locked_since: when the folder was locked; None if no run holds it.
        marks: outputs in progress, and since when.
        complaints: what Snakemake says of jobs that failed, by their log.
    """

    now: float
    locked_since: float | None
    marks: Mapping[str, float]
    complaints: Mapping[str, str]

    def holds(self, output: str) -> bool:
        """Whether the run that holds the folder has begun this output or handed its job over."""
        since = self.marks.get(output)
        if since is None or self.locked_since is None:
            return False
        return since >= self.locked_since - SLACK_S


@dataclass(frozen=True)
class Job:
    """A job and what became of it.

    Attributes:
        files: its paths.
        state: done, failed, running, queued (handed over, no log yet), stopped, or waiting.
        changed: when its output was written, or else its log (s since the epoch).
        error: the last line of what went wrong.
    """

    files: JobFiles
    state: State
    changed: float | None = None
    error: str = ""


def read_run(tree: Tree, folder: str, now: float) -> RunFiles:
    """Markers, locks and complaints in Snakemake's own folder."""
    locks = tree.newest(f"{folder}/locks", ".lock")
    locked_since = min((time for time, _ in locks), default=None)
    return RunFiles(
        now=now,
        locked_since=locked_since,
        marks=marked_outputs(tree, f"{folder}/incomplete"),
        complaints=_complaints(tree, f"{folder}/log", locked_since),
    )


def read_job(tree: Tree, run: RunFiles, files: JobFiles) -> Job:
    """The state of a job.

    A marker without a lock, or older than the lock, is what an interrupted run left. The job may
    live on in a cluster whose Snakemake was killed: then its log grows.
    """
    written, logged = tree.mtime(files["output"]), tree.mtime(files["log"])
    marked = run.marks.get(files["output"])
    if marked is not None:
        begun = logged is not None and logged >= marked - SLACK_S
        if run.holds(files["output"]):
            return Job(files, "running" if begun else "queued", logged if begun else marked)
        alive = logged is not None and begun and run.now - logged < QUIET_S
        return Job(files, "running" if alive else "stopped", logged)
    if written is not None:
        return Job(files, "done", written)
    error = last_error(tree.tail(files["log"])) or run.complaints.get(files["log"], "")
    of_before = run.locked_since is not None and (logged or 0) < run.locked_since - SLACK_S
    if error and of_before and files["log"] not in run.complaints:
        return Job(files, "waiting", logged)  # the run that goes on will try it again
    if error:
        return Job(files, "failed", logged, error)
    return Job(files, "waiting" if logged is None else "stopped", logged)


def last_error(text: str) -> str:
    """The error that a log ends with, as one line; empty if it does not end with one."""
    lines = [line for line in text.splitlines() if line.strip()]
    for i in range(len(lines) - 1, -1, -1):
        if STAMP.match(lines[i]):
            return ""
        if lines[i].startswith(OWN_ERROR):
            return clean(lines[i].removeprefix(OWN_ERROR))
        if lines[i].startswith(TRACEBACK):
            raised = [line for line in lines[i + 1 :] if not line[0].isspace()]
            return clean(raised[0] if raised else lines[-1])
    return ""


def _complaints(tree: Tree, folder: str, since: float | None) -> dict[str, str]:
    """What the last runs say of failed jobs, by the job's log; later ones win.

    While a run holds the folder it is the only one that counts: what failed before, it tries again.

    The log of a job that was killed for its memory or time tells nothing; Snakemake's does.
    """
    found: dict[str, str] = {}
    logs = sorted(
        name
        for name in tree.folder(folder)
        if name.endswith(".snakemake.log")
        and (since is None or (tree.mtime(f"{folder}/{name}") or 0) >= since - SLACK_S)
    )
    for name in logs[-RUN_LOGS:]:
        message, inside = "", False
        for line in tree.tail(f"{folder}/{name}", RUN_LOG_BYTES).splitlines():
            if COMPLAINT.match(line):
                message, inside = "", True
            elif inside and (entry := ENTRY.match(line)):
                told = clean(entry[2])
                if entry[1] == "message":
                    message = "" if told == "None" else told.split(" For further error")[0]
                    continue
                log, *more = told.split(" (check log file")[0].split(", ")
                found[log] = "; see ".join([message or UNTOLD, *more])
                inside = False
    return found
