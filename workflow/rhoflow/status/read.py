"""Reads where a run stands: data sets, studies, what runs, what failed, what is missing."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from rhoflow.status.files import Tree
from rhoflow.status.jobs import QUIET_S, Job, JobFiles, RunFiles, read_job, read_run
from rhoflow.status.progress import (
    Counts,
    Reason,
    Shard,
    count_jobs,
    count_structures,
    fits_done,
    gather_reasons,
    read_shard,
)
from rhoflow.status.rest import Rest, dft_rest, training_rest

FUTURE_S = 60.0
BEGUN = ("running", "queued")
CHECKPOINTS_READ = 8


class DatasetFiles(TypedDict):
    """A data set: its size, its table of structures, the jobs of its shards.

    ``costs`` are the cost tables by job name; None for an engine that takes finished calculations.
    """

    size: int
    shard_size: int
    structures: str
    shards: Sequence[JobFiles]
    costs: Mapping[str, str] | None


class TrainingFiles(TypedDict):
    """A training: its arm, its job, and how many fits it makes."""

    arm: str
    job: JobFiles
    fits: int


class StudyFiles(TypedDict):
    """A study: its trainings, its figures by name, its report."""

    trainings: Sequence[TrainingFiles]
    figures: Mapping[str, str]
    report: str


class StageFiles(TypedDict):
    """The log and one output of the jobs of any other rule.

    As they are written, with {wildcards}, and as regular expressions with groups of these names
    that fit those jobs alone which the config asks for.
    """

    log: str
    logs: str
    output: str
    outputs: str


class Layout(TypedDict):
    """Where everything lies.

    ``snakemake`` is its own folder; in ``engine_logs`` and ``checkpoints`` running jobs write now
    and then.
    """

    snakemake: str
    datasets: Mapping[str, DatasetFiles]
    studies: Mapping[str, StudyFiles]
    stages: Mapping[str, StageFiles]
    engine_logs: str
    checkpoints: str
    report: str


@dataclass(frozen=True)
class UnderWay:
    """A job that runs: how far it is, and how long ago it last wrote (s)."""

    job: Job
    progress: str
    silent_s: float


@dataclass(frozen=True)
class DatasetStatus:
    """A data set; ``selected`` is None as long as no structures are."""

    asked: int
    selected: int | None
    structures: Counts
    shards: Counts
    rest: Rest


@dataclass(frozen=True)
class StudyStatus:
    """A study: its trainings, the figures that are not there, whether its report is."""

    trainings: Counts
    figures: int
    missing: tuple[str, ...]
    report: bool
    rest: Rest


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes:
        run: "on", "off", or "unsure": locked but silent, or not locked but not silent.
        locked_s: how long the folder is locked; None if it is not.
        silent_s: how long ago a running job last wrote; None if none runs.
        datasets, studies: by name.
        reasons: why calculations failed or did not converge, the most frequent first.
        failed: jobs that failed, of all rules.
        under_way: shards and trainings that run, the longest silent first.
        others: how many jobs of each other rule run or are queued.
        epochs: of the networks in training, those that were saved last first.
        report: whether the report is there.
        unreadable: what could not be read, and why.
        from_future: whether files are younger than now.
    """

    run: Literal["on", "off", "unsure"]
    locked_s: float | None
    silent_s: float | None
    datasets: Mapping[str, DatasetStatus]
    studies: Mapping[str, StudyStatus]
    reasons: tuple[Reason, ...]
    failed: tuple[Job, ...]
    under_way: tuple[UnderWay, ...]
    others: Mapping[str, int]
    epochs: tuple[int, ...]
    report: bool
    unreadable: Mapping[str, str]
    from_future: bool


def read(layout: Layout, now: float) -> Status:
    """Where the run of a layout stands; nothing is written.

    Args:
        layout: the paths.
        now: this moment (s since the epoch).
    """
    tree = Tree()
    return _Reader(layout, tree, read_run(tree, layout["snakemake"], now)).status()


class _Reader:
    """One reading of a layout: each file is looked at once."""

    def __init__(self, layout: Layout, tree: Tree, run: RunFiles) -> None:
        self.layout, self.tree, self.run = layout, tree, run
        self.jobs: list[Job] = []
        self.under_way: list[UnderWay] = []
        self.shards: list[Shard] = []
        self.training_since: list[float] = []

    def status(self) -> Status:
        """All of it."""
        layout, tree, run = self.layout, self.tree, self.run
        datasets = {n: self._dataset(files) for n, files in layout["datasets"].items()}
        studies = {n: self._study(files) for n, files in layout["studies"].items()}
        counted = len(self.jobs)
        for rule, files in layout["stages"].items():
            self._stage(rule, files)
        silent_s = self._silent_s()
        return Status(
            run=_run_state(run, silent_s),
            locked_s=None if run.locked_since is None else run.now - run.locked_since,
            silent_s=silent_s,
            datasets=datasets,
            studies=studies,
            reasons=tuple(gather_reasons(self.shards)),
            failed=tuple(job for job in self.jobs if job.state == "failed"),
            under_way=tuple(sorted(self.under_way, key=lambda u: -u.silent_s)),
            others=Counter(j.files["rule"] for j in self.jobs[counted:] if j.state in BEGUN),
            epochs=self._epochs(),
            report=tree.mtime(layout["report"]) is not None,
            unreadable=tree.unreadable,
            from_future=any((job.changed or 0) > run.now + FUTURE_S for job in self.jobs),
        )

    def _dataset(self, files: DatasetFiles) -> DatasetStatus:
        selected = self.tree.rows(files["structures"])
        n, size = files["size"] if selected is None else selected, files["shard_size"]
        shards = []
        for i, job in enumerate(files["shards"]):
            of_shard = min(size, max(0, n - i * size))
            shards.append(read_shard(self.tree, read_job(self.tree, self.run, job), of_shard))
        self.shards += shards
        self.jobs += [shard.job for shard in shards]
        for s in shards:
            self._note_running(s.job, f"{s.size - s.rest} of {s.size} structures")
        return DatasetStatus(
            asked=files["size"],
            selected=selected,
            structures=count_structures(shards),
            shards=count_jobs(shard.job for shard in shards),
            rest=dft_rest(self.tree, self.run, shards, files["costs"]),
        )

    def _study(self, files: StudyFiles) -> StudyStatus:
        trainings = []
        for training in files["trainings"]:
            job = read_job(self.tree, self.run, training["job"])
            fits = 0
            if job.state in ("running", "stopped"):
                fits = min(training["fits"], fits_done(self.tree, job))
            self._note_running(job, f"{fits} of {training['fits']} fits")
            if job.state == "running":
                self.training_since.append(self.run.marks[job.files["output"]])
            trainings.append((training["arm"], job, fits / max(1, training["fits"])))
        self.jobs += [job for _, job, _ in trainings]
        figures = files["figures"]
        return StudyStatus(
            trainings=count_jobs(job for _, job, _ in trainings),
            figures=len(figures),
            missing=tuple(n for n, path in figures.items() if self.tree.mtime(path) is None),
            report=self.tree.mtime(files["report"]) is not None,
            rest=training_rest(self.tree, self.run, trainings),
        )

    def _stage(self, rule: str, files: StageFiles) -> None:
        """Jobs of a rule that left a log or a marker."""
        top = str(Path(files["log"].split("{")[0] + "*").parent)
        paths = (*_matches(files["logs"], self.tree.walk(top)),)
        for values in {*paths, *_matches(files["outputs"], self.run.marks)}:
            wildcards = dict(values)
            job: JobFiles = {
                "name": "/".join(wildcards.values()),
                "rule": rule,
                "output": files["output"].format(**wildcards),
                "log": files["log"].format(**wildcards),
                "benchmark": "",
            }
            self.jobs.append(read_job(self.tree, self.run, job))

    def _note_running(self, job: Job, progress: str) -> None:
        if job.state == "running":
            silent_s = max(0.0, self.run.now - (job.changed or self.run.now))
            self.under_way.append(UnderWay(job, progress, silent_s))

    def _silent_s(self) -> float | None:
        """How long no running job has written (s), by their logs, else by their engines."""
        signs = [j.changed for j in self.jobs if j.state == "running" and j.changed is not None]
        if not signs:
            return None
        if self.run.now - max(signs) > QUIET_S:
            signs += [t for t, _ in self.tree.newest(self.layout["engine_logs"], ".txt")[:1]]
            signs += [t for t, _ in self.tree.newest(self.layout["checkpoints"], ".npz")[:1]]
        return max(0.0, self.run.now - max(signs))

    def _epochs(self) -> tuple[int, ...]:
        """Epochs behind the networks that this run trains, those saved last first.

        A checkpoint's name tells not whose it is.
        """
        if not self.training_since:
            return ()
        newest = self.tree.newest(self.layout["checkpoints"], ".npz")[:CHECKPOINTS_READ]
        epochs = [
            self.tree.epochs(path) for time, path in newest if time >= min(self.training_since)
        ]
        return tuple(e for e in epochs if e is not None)


def _run_state(run: RunFiles, silent_s: float | None) -> Literal["on", "off", "unsure"]:
    """A lock outlives a run that was killed; jobs of a cluster outlive a lock."""
    if run.locked_since is None:
        return "off" if silent_s is None else "unsure"
    if run.now - run.locked_since <= QUIET_S or (silent_s is not None and silent_s <= QUIET_S):
        return "on"
    return "unsure"


def _matches(pattern: str, paths: Iterable[str]) -> Iterable[tuple[tuple[str, str], ...]]:
    """The wildcards, by name, of the paths that a regular expression fits."""
    fits = re.compile(pattern).fullmatch
    return (tuple(match.groupdict().items()) for path in paths if (match := fits(path)))
