"""What a finished run cost, read from its files, and what more structures would cost.

Sources: the cost tables of calculations (processor time of each process), Snakemake's benchmarks
(its processor time is sampled every 30 s, so that of a job lacks up to its last half minute: a
lower bound; wall time is an upper bound on a machine that is not shared), and the sizes of files.
"""

import csv
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rhoflow import io, tables
from rhoflow.costs.fits import EIGENVECTOR_FLOP, FLOAT64_MB, KERNEL_MATRICES, TRIED_WIDTHS
from rhoflow.costs.training import CPU_FLOP_PER_S
from rhoflow.errors import DataError
from rhoflow.evaluation.protocol import parse_range

logger = logging.getLogger(__name__)

# How a step grows: with the structures of the data set, or with the protocol of a study alone.
WITH_STRUCTURES, WITH_PROTOCOL = "structures", "protocol"

A_STRUCTURE = (
    "archive_shard",
    "boxed_shard",
    "composition_shard",
    "coulomb_shard",
    "crystal_graph_shard",
    "density_image_shard",
    "density_shard",
    "dft_prepare",
    "fields_shard",
    "r3dvs_power_shard",
    "r3dvs_shard",
    "soap_shard",
)
# One job for a whole data set, whose work grows with it.
A_DATASET = (
    "density_truths",
    "dft_collect",
    "figure_hartree",
    "figure_known",
    "splits_make",
    "structures_select",
    "table_oxides",
)
TRAININGS = {
    "model_train": "predictions",
    "model_fit": "predictions",
    "classify_train": "classifications",
}
MB = 2**20

MEASURED = (
    "item",
    "unit",
    "grows_with",
    "n_measured",
    "core_s",
    "wall_s",
    "memory_mb",
    "disk_mb",
)


@dataclass(frozen=True)
class Benchmark:
    """One job as Snakemake measured it: processor and wall seconds, peak memory (MB)."""

    path: Path
    core_s: float
    wall_s: float
    memory_mb: float


def table(results: str | Path, sizes: Sequence[int] = (680, 10_000, 150_000)) -> pd.DataFrame:
    """What was measured per structure, training and figure, and its extrapolation.

    Args:
        results: a results folder; what is not there is left out.
        sizes: numbers of structures to extrapolate to.

    Returns:
        A row an item: ``unit`` (structure, data set, training, job), what it ``grows_with``,
        ``n_measured`` units, ``core_s``, ``wall_s`` and ``disk_mb`` of one in the mean,
        ``memory_mb`` of a process at most; and ``core_h_N`` and ``disk_gb_N`` for each size, null
        where the item does not grow with the structures.
    """
    folder = Path(results)
    counts = _shard_sizes(folder)
    rows = [
        *_calculations(folder),
        *_by_shard(folder, counts),
        *_by_dataset(folder, counts),
        *_trainings(folder),
        *_others(folder),
        *_disk(folder, counts),
    ]
    found = pd.DataFrame(rows, columns=pd.Index(MEASURED))
    grows = found["grows_with"] == WITH_STRUCTURES
    for n in sizes:
        found[f"core_h_{n}"] = (n * found["core_s"] / 3600).where(grows)
        found[f"disk_gb_{n}"] = (n * found["disk_mb"] / 1024).where(grows)
    return found


def kernel_table(
    sizes: Sequence[int], *, length: int, flop_per_s: float = CPU_FLOP_PER_S
) -> pd.DataFrame:
    """What kernel ridge regression on all of n structures takes: computed, not measured.

    Args:
        sizes: numbers of training structures n.
        length: numbers in a descriptor d.
        flop_per_s: operations a second of a core.

    Returns:
        A row a size: core hours of the kernel matrix (2 n² d), of its solution (n³/3) and of
        tuning a Gaussian's width (9 n³ a width), and memory in GB (n²).
    """
    rows = [
        {
            "n": n,
            "kernel_core_h": 2 * n**2 * length / flop_per_s / 3600,
            "solution_core_h": n**3 / 3 / flop_per_s / 3600,
            "tuning_core_h": TRIED_WIDTHS * EIGENVECTOR_FLOP * n**3 / flop_per_s / 3600,
            "memory_gb": KERNEL_MATRICES * FLOAT64_MB * n**2 / 1024,
        }
        for n in sizes
    ]
    return pd.DataFrame(rows)


def as_markdown(found: pd.DataFrame) -> str:
    """A table as Markdown, numbers to three digits; what does not apply stays empty."""
    lines = [list(map(str, found.columns)), ["---"] * len(found.columns)]
    lines += [[_text(value) for value in row] for row in found.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        digits = 0 if abs(value) >= 100 else 3
        return f"{value:,.{digits}f}" if digits == 0 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|")


def _row(item: str, unit: str, grows_with: str, n: int, **measured: float) -> dict[str, Any]:
    return {"item": item, "unit": unit, "grows_with": grows_with, "n_measured": n, **measured}


def _measured(jobs: Sequence[Benchmark], n: int) -> dict[str, float]:
    """Time a unit and largest memory of some jobs that hold n units together."""
    return {
        "core_s": sum(j.core_s for j in jobs) / n,
        "wall_s": sum(j.wall_s for j in jobs) / n,
        "memory_mb": max(j.memory_mb for j in jobs),
    }


def _read(path: Path, schema: Any = None) -> pd.DataFrame | None:
    """A table, or None with a line in the log: a damaged file must not hide the others."""
    try:
        return io.read_table(path, schema)
    except DataError as error:
        logger.warning("left out: %s", error)
        return None


def _benchmarks(folder: Path, rule: str) -> list[Benchmark]:
    """The jobs of a rule."""
    found = [_benchmark(path) for path in sorted((folder / "benchmarks" / rule).rglob("*.tsv"))]
    whole = (folder / "benchmarks" / f"{rule}.tsv",)
    found += [_benchmark(path) for path in whole if path.exists()]
    return [job for job in found if job is not None]


def _benchmark(path: Path) -> Benchmark | None:
    """The last line of a benchmark; a job too short to be sampled has 0 or NA."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            last = list(csv.DictReader(lines, delimiter="\t"))[-1]
        numbers = [_number(last.get(name)) for name in ("cpu_time", "s", "max_rss")]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        logger.warning("left out: benchmark %s cannot be read (%s)", path, error)
        return None
    return Benchmark(path, *numbers)


def _number(text: str | None) -> float:
    return 0.0 if text in (None, "", "NA", "-") else float(text)


def _shard_sizes(folder: Path) -> dict[tuple[str, str], int]:
    """Structures of every shard, by data set and shard."""
    sizes = {}
    for path in sorted((folder / "dft").glob("*/*.cost.parquet")):
        cost = _read(path, tables.DFT_COST)
        if cost is not None:
            sizes[path.parent.name, path.name.split(".")[0]] = len(cost)
    return sizes


def _calculations(folder: Path) -> Iterator[dict[str, Any]]:
    """Calculations by engine, from their own cost tables."""
    parts = []
    for path in sorted((folder / "dft").glob("*/*.cost.parquet")):
        cost = _read(path, tables.DFT_COST)
        records = _read(path.with_name(path.name.replace(".cost", "")), tables.DFT_RECORDS)
        if cost is not None and records is not None:
            joined = cost.merge(records, on="material_id")
            parts.append(joined[[*tables.DFT_COST.names, "engine", "bulk_modulus_gpa"]])
    if not parts:
        return
    every = pd.concat(parts, ignore_index=True).dropna(subset="cpu_time_s")
    every["volumes"] = every["bulk_modulus_gpa"].notna()
    for (engine, volumes), group in every.groupby(["engine", "volumes"]):
        yield _row(
            f"calculation, {engine}" + (", equation of state" if volumes else ""),
            "structure",
            WITH_STRUCTURES,
            len(group),
            core_s=float(group["cpu_time_s"].mean()),
            wall_s=float(group["wall_time_s"].mean()),
            memory_mb=float(group["peak_memory_mb"].max()),
        )


def _by_shard(folder: Path, counts: dict[tuple[str, str], int]) -> Iterator[dict[str, Any]]:
    for rule in A_STRUCTURE:
        jobs = _benchmarks(folder, rule)
        groups: dict[str, list[Benchmark]] = {}
        for job in jobs:
            above = job.path.parent.relative_to(folder / "benchmarks" / rule).parts
            groups.setdefault(" ".join((rule, *above[:-1])), []).append(job)
        for item, group in groups.items():
            n = sum(counts.get((j.path.parent.name, j.path.stem), 0) for j in group)
            if n:
                yield _row(item, "structure", WITH_STRUCTURES, n, **_measured(group, n))


def _by_dataset(folder: Path, counts: dict[tuple[str, str], int]) -> Iterator[dict[str, Any]]:
    """Jobs that see all structures: their time by the structures of the run's data sets."""
    n_datasets = len({dataset for dataset, _ in counts})
    for rule in A_DATASET:
        jobs = _benchmarks(folder, rule)
        if jobs and n_datasets:
            # A study's figure tells no data set; their mean size stands for it.
            n = max(1, round(len(jobs) * sum(counts.values()) / n_datasets))
            yield _row(rule, "structure", WITH_STRUCTURES, n, **_measured(jobs, n))


def _trainings(folder: Path) -> Iterator[dict[str, Any]]:
    """Trainings by kind of model; one is a fit of all seeds to one training set."""
    for rule, made in TRAININGS.items():
        groups: dict[str, tuple[list[Benchmark], list[int]]] = {}
        for job in _benchmarks(folder, rule):
            inside = job.path.relative_to(folder / "benchmarks" / rule).with_suffix(".parquet")
            told = _training(folder / made / inside)
            if told is not None:
                jobs, numbers = groups.setdefault(f"{rule} {told[0]}", ([], []))
                jobs.append(job)
                numbers.append(told[1])
        for item, (jobs, numbers) in sorted(groups.items()):
            n = sum(numbers)
            yield _row(item, "training", WITH_PROTOCOL, n, **_measured(jobs, n))


def _training(path: Path) -> tuple[str, int] | None:
    """The model of a job's predictions, and how many fits they took; None if it cannot be told."""
    try:
        spec = io.read_spec(path)
        arm, protocol = spec["arm"], spec["protocol"]
        sizes = protocol.get("train_sizes") or protocol["replicas"]
        name = arm["model"]["kind"]
        if arm.get("first"):
            name = f"{arm['first']['model']['kind']} + {name}"
        return name, len(sizes) * len(parse_range(path.stem))
    except (DataError, KeyError, TypeError, ValueError) as error:
        logger.warning("left out: %s does not tell its training (%s)", path, error)
        return None


def _others(folder: Path) -> Iterator[dict[str, Any]]:
    """Every other rule, by job: figures, scores, reports."""
    # Calculations are counted by their own processes, which is nearly all of dft_run.
    known = {*A_STRUCTURE, *A_DATASET, *TRAININGS, "dft_run"}
    places = sorted({p.stem for p in (folder / "benchmarks").glob("*")} - known)
    for rule in places:
        jobs = _benchmarks(folder, rule)
        if jobs:
            yield _row(rule, "job", WITH_PROTOCOL, len(jobs), **_measured(jobs, len(jobs)))


def _disk(folder: Path, counts: dict[tuple[str, str], int]) -> Iterator[dict[str, Any]]:
    """Bytes on disk a structure, by what they hold."""
    n_structures = sum(counts.values())
    datasets = {dataset for dataset, _ in counts}
    places = {"dft, full spectra and records": [folder / "dft" / d for d in datasets]}
    places["density spectra"] = [folder / "density"]
    for place in sorted((folder / "descriptors").glob("*")):
        places[f"descriptor {place.name}"] = [place]
    done = folder / "dft" / "done"
    for item, paths in places.items():
        size = _bytes(file for path in paths for file in path.rglob("*"))
        if size and n_structures:
            disk = size / n_structures / MB
            yield _row(f"disk: {item}", "structure", WITH_STRUCTURES, n_structures, disk_mb=disk)
    kept = list(done.glob("*.npz"))
    if kept:
        disk = _bytes(done.glob("*")) / len(kept) / MB
        item = "disk: finished calculations and their logs"
        yield _row(item, "structure", WITH_STRUCTURES, len(kept), disk_mb=disk)


def _bytes(files: Iterable[Path]) -> int:
    """Size of those files that are still there: a running workflow renames its own."""
    total = 0
    for file in files:
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError as error:
            logger.info("not counted: %s", error)
    return total
