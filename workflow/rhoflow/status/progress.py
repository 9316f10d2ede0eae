"""How far jobs are: the structures of a shard, the fits of a training."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rhoflow.status.files import Tree, clean
from rhoflow.status.jobs import Job, State
from rhoflow.tables import STATUS_FAILED, STATUS_NOT_CONVERGED, STATUS_OK

NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?", re.IGNORECASE)
FOUND = re.compile(r" (\d+) of \d+ found in ")
COMPUTED = re.compile(r" \[(\d+)/\d+\] (.+) (ok|not_converged|failed) [\d.]+ s(?:: (.*))?$")
ENGINE_LOG = re.compile(r" \(log: [^()]*\)$")
FITTED = re.compile(r" (?:redraw|repeat) \d+, \d+ .*: done$")


@dataclass(frozen=True)
class Counts:
    """Structures, shards or trainings by their state; the states add up to ``all``."""

    all: int = 0
    done: int = 0
    not_converged: int = 0
    failed: int = 0
    running: int = 0
    queued: int = 0
    stopped: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Reason:
    """Why calculations failed or did not converge.

    Attributes:
        text: the reason of one of them.
        count: how many have the same but for numbers.
        example: material id of that one.
    """

    text: str
    count: int
    example: str


@dataclass(frozen=True)
class Shard:
    """Structures of one shard by what became of them.

    Attributes:
        job: the job that computes it.
        size: structures in it.
        done, not_converged, failed: of its table, or so far.
        troubles: (reason, material id) of those that failed or did not converge.
    """

    job: Job
    size: int
    done: int = 0
    not_converged: int = 0
    failed: int = 0
    troubles: tuple[tuple[str, str], ...] = ()

    @property
    def rest(self) -> int:
        """Structures still to be computed."""
        return max(0, self.size - self.done - self.not_converged - self.failed)


def read_shard(tree: Tree, job: Job, size: int) -> Shard:
    """What became of the structures of a shard, by its table or by its log so far."""
    return _by_table(tree, job, size) if job.state == "done" else _by_log(tree, job, size)


def _by_table(tree: Tree, job: Job, size: int) -> Shard:
    path = job.files["output"]
    columns = tree.columns(path, ("material_id", "status", "reason"))
    if columns is None:
        what = f"{path}: cannot be read; delete it and run snakemake again"
        return Shard(Job(job.files, "failed", job.changed, what), size)
    rows = zip(columns["material_id"], columns["status"], columns["reason"], strict=True)
    troubles = tuple((str(r or s), str(i)) for i, s, r in rows if s != STATUS_OK)
    n = Counter(columns["status"])
    return Shard(
        job=job,
        size=sum(n.values()),
        done=n[STATUS_OK],
        not_converged=n[STATUS_NOT_CONVERGED],
        failed=sum(n.values()) - n[STATUS_OK] - n[STATUS_NOT_CONVERGED],
        troubles=troubles,
    )


def _by_log(tree: Tree, job: Job, size: int) -> Shard:
    """A shard that is not finished: finished structures are found again by the next attempt."""
    found, rows = 0, {}
    for line in tree.tail(job.files["log"]).splitlines() if job.changed else ():
        if match := FOUND.search(line):
            found = int(match[1])
        elif match := COMPUTED.search(line):
            rows[int(match[1])] = (match[3], match[2], ENGINE_LOG.sub("", match[4] or ""))
    # What stood before the tail of a long log had a number too.
    earlier = max(rows, default=0) - len(rows)
    n = Counter(status for status, _, _ in rows.values())
    kept = min(size, max(0, found + earlier + n[STATUS_OK]))
    not_converged = min(size - kept, n[STATUS_NOT_CONVERGED])
    return Shard(
        job=job,
        size=size,
        done=kept,
        not_converged=not_converged,
        failed=min(size - kept - not_converged, n[STATUS_FAILED]),
        troubles=tuple((why or s, i) for s, i, why in rows.values() if s != STATUS_OK),
    )


def count_jobs(jobs: Iterable[Job]) -> Counts:
    """Jobs by their state."""
    n = Counter(job.state for job in jobs)
    return Counts(all=sum(n.values()), **n)


def count_structures(shards: Sequence[Shard]) -> Counts:
    """Structures by their state; those that a shard's job has not come to share its state.

    What a failed job did not come to counts as stopped: these calculations did not fail.
    """
    rest: Counter[State] = Counter()
    for shard in shards:
        state = shard.job.state
        rest["stopped" if state in ("failed", "done") else state] += shard.rest
    return Counts(
        all=sum(s.done + s.not_converged + s.failed + s.rest for s in shards),
        done=sum(s.done for s in shards),
        not_converged=sum(s.not_converged for s in shards),
        failed=sum(s.failed for s in shards),
        running=rest["running"],
        queued=rest["queued"],
        stopped=rest["stopped"],
        waiting=rest["waiting"],
    )


def gather_reasons(shards: Iterable[Shard]) -> list[Reason]:
    """Reasons by how often they occur; those that differ in numbers alone count as one."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for shard in shards:
        for text, name in shard.troubles:
            groups.setdefault(NUMBER.sub("#", text), []).append((text, name))
    reasons = [Reason(clean(g[0][0]), len(g), clean(g[0][1])) for g in groups.values()]
    return sorted(reasons, key=lambda r: (-r.count, r.text))


def fits_done(tree: Tree, job: Job) -> int:
    """Fits of a training that its log calls done."""
    lines = tree.tail(job.files["log"]).splitlines()
    return len({line.split(" ", 2)[-1] for line in lines if FITTED.search(line)})
