"""The expected rest: what finished jobs took, and how fast this run finishes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rhoflow.status.files import Tree
from rhoflow.status.jobs import Job, RunFiles
from rhoflow.status.progress import Shard

# So many of the last finished jobs tell what one takes.
SAMPLE = 40
# A rate needs some jobs, finished in some time, over several of their durations.
RATE_JOBS = 3
RATE_WINDOW_S = 600.0
RATE_DURATIONS = 5
SECONDS = 3600.0


@dataclass(frozen=True)
class Rest:
    """What is still to be done.

    Attributes:
        jobs: that are not done.
        core_hours: CPU time of what can be estimated; None if nothing can.
        hours: wall time at the present rate; None if nothing runs or too little is finished.
        unknown: kinds of jobs of which none is finished yet.
    """

    jobs: int
    core_hours: float | None = None
    hours: float | None = None
    unknown: tuple[str, ...] = ()


def dft_rest(
    tree: Tree, run: RunFiles, shards: Sequence[Shard], costs: Mapping[str, str] | None
) -> Rest:
    """The rest of a data set's calculations.

    Args:
        tree: the files.
        run: its markers and locks.
        shards: all of the data set.
        costs: the cost table of each shard by its job's name; None for an engine that takes what
            others computed, whose jobs tell what that takes.
    """
    left = [s for s in shards if s.job.state != "done"]
    done = _last([s.job for s in shards if s.job.state == "done" and s.size])
    sizes = {s.job.files["name"]: s.size for s in shards}
    seconds = [
        (sizes[job.files["name"]], cpu)
        for job in done
        if (cpu := _cpu_of_shard(tree, job, costs)) is not None
    ]
    n, cpu = sum(size for size, _ in seconds), sum(cpu for _, cpu in seconds)
    structures = sum(s.rest for s in left)
    if not n or not structures:
        return Rest(len(left))
    # Structures, unlike their CPU time, are known of every finished shard.
    finished = [(s.job, float(s.size)) for s in shards if s.job.state == "done" and s.size]
    rate = _rate(tree, run, finished)
    return Rest(
        jobs=len(left),
        core_hours=structures * cpu / n / SECONDS,
        hours=structures / rate / SECONDS if rate else None,
    )


def _cpu_of_shard(tree: Tree, job: Job, costs: Mapping[str, str] | None) -> float | None:
    """CPU time (s) of the structures of a shard."""
    if costs is None:
        measured = tree.benchmark(job.files["benchmark"])
        return measured[1] if measured else None
    columns = tree.columns(costs[job.files["name"]], ("cpu_time_s",))
    known = [v for v in (columns or {"cpu_time_s": []})["cpu_time_s"] if v is not None and v >= 0]
    # Of structures that failed the time is not known; they count as the others of the shard.
    return fmean(known) * len((columns or {})["cpu_time_s"]) if known else None


def training_rest(tree: Tree, run: RunFiles, trainings: Sequence[tuple[str, Job, float]]) -> Rest:
    """The rest of a study's trainings.

    Args:
        tree: the files.
        run: its markers and locks.
        trainings: the kind of each (its arm), its job, and the share of it that is done.
    """
    left = [(kind, share) for kind, job, share in trainings if job.state != "done"]
    means = {}
    for kind in dict.fromkeys(kind for kind, _, _ in trainings):
        jobs = _last([j for k, j, _ in trainings if k == kind and j.state == "done"])
        taken = [m[1] for j in jobs if (m := tree.benchmark(j.files["benchmark"]))]
        if taken:
            means[kind] = fmean(taken)
    unknown = tuple(dict.fromkeys(kind for kind, _ in left if kind not in means))
    known = [(1 - share) * means[kind] for kind, share in left if kind in means]
    if not known:
        return Rest(len(left), unknown=unknown)
    finished = [(j, means[k]) for k, j, _ in trainings if j.state == "done" and k in means]
    rate = _rate(tree, run, finished)
    return Rest(
        jobs=len(left),
        core_hours=sum(known) / SECONDS,
        hours=sum(known) / rate / SECONDS if rate else None,
        unknown=unknown,
    )


def _last(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that finished last."""
    return sorted(jobs, key=lambda job: -(job.changed or 0))[:SAMPLE]


def _rate(tree: Tree, run: RunFiles, finished: Sequence[tuple[Job, float]]) -> float | None:
    """Work a second of this run: what its jobs finished in the last few of their durations.

    Jobs that start together end together, so the window is several durations wide; it never
    reaches back before this run. Files from the future tell nothing.
    """
    if run.locked_since is None:
        return None
    mine = [
        (job, work)
        for job, work in finished
        if job.changed is not None and run.locked_since <= job.changed <= run.now
    ]
    walls = [m[0] for j in _last([j for j, _ in mine]) if (m := tree.benchmark(_timed(j)))]
    window = max(RATE_WINDOW_S, RATE_DURATIONS * fmean(walls)) if walls else RATE_WINDOW_S
    start = max(run.locked_since, run.now - window)
    recent = [work for job, work in mine if (job.changed or 0) >= start]
    if len(recent) < RATE_JOBS:  # few and long jobs: the whole run
        start, recent = run.locked_since, [work for _, work in mine]
    if len(recent) < RATE_JOBS or run.now <= start:
        return None
    return sum(recent) / (run.now - start) or None


def _timed(job: Job) -> str:
    return job.files["benchmark"]
