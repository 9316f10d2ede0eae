"""A status as a page of plain text."""

import os
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import TextIO

from rhoflow.status.progress import Counts
from rhoflow.status.read import DatasetStatus, Status
from rhoflow.status.rest import Rest

SHOWN = 5
NARROWEST = 60
TITLES = {
    "all": "all",
    "done": "done",
    "not_converged": "not conv.",
    "failed": "failed",
    "running": "running",
    "queued": "queued",
    "stopped": "stopped",
    "waiting": "waiting",
}
ALWAYS = ("all", "done", "failed", "running", "waiting")


def render(status: Status, width: int = 80) -> str:
    """The page.

    Args:
        status: of a run.
        width: columns of the terminal; paths are never cut.
    """
    width = max(width, NARROWEST)
    sections = [
        _wrapped(_headline(status), width),
        *_tables(status, width),
        _under_way(status),
        _reasons(status, width),
        _failed(status, width),
        _unreadable(status, width),
        _rest(status, width),
        _figures(status, width),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def show(page: str, stream: TextIO) -> None:
    """Print a page on any stream: characters that it cannot write become question marks.

    Whoever reads may stop before its end, as ``head`` does.
    """
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(page.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends; nobody is there to read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def duration(seconds: float) -> str:
    """A time for people: '12 s', '3 min', '2 h 10 min', '3 d 4 h'."""
    seconds = max(0.0, seconds)
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _headline(status: Status) -> str:
    """Whether a run goes on, as far as the files tell."""
    wrote = (
        "" if status.silent_s is None else f"its jobs last wrote {duration(status.silent_s)} ago"
    )
    if status.run == "off":
        text = "No run holds this folder."
    elif status.locked_s is None:
        text = (
            f"No run holds this folder, but a job wrote {duration(status.silent_s or 0)} ago: it "
            "was stopped just now, or it goes on without its Snakemake."
        )
    elif status.run == "on":
        text = f"A run has held this folder for {duration(status.locked_s)}"
        text += f"; {wrote}." if wrote else "; at this moment none of its jobs has a log."
    else:
        text = (
            f"Locked for {duration(status.locked_s)}, {wrote or 'but no job writes'}: running or "
            "interrupted. If no Snakemake runs any more: snakemake --unlock."
        )
    if status.from_future:
        text += " Some files are from the future: a clock was wrong, and so are times below."
    return text


def _tables(status: Status, width: int) -> list[list[str]]:
    """Structures and shards of each data set, and trainings of each study, by state."""
    counts = [c for d in status.datasets.values() for c in (d.structures, d.shards)]
    counts += [study.trainings for study in status.studies.values()]
    columns = [c for c in TITLES if c in ALWAYS or any(getattr(n, c) for n in counts)]
    widths = (
        [max(len(TITLES[c]), *(len(f"{getattr(n, c):,}") for n in counts), 6) + 1 for c in columns]
        if counts
        else []
    )
    label = max(12, min(width - sum(widths), 24))

    def row(name: str, cells: Iterable[str]) -> str:
        numbers = "".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        return (
            f"{name:<{label}}{numbers}" if len(name) <= label else f"{name}\n{'':{label}}{numbers}"
        )

    def states(name: str, n: Counts) -> str:
        return row(name, [f"{getattr(n, c):,}" if getattr(n, c) else "." for c in columns])

    # Silent for long: not said to run.
    doubt = "?" if status.run == "unsure" else ""
    titles = [TITLES[c] + (doubt if c == "running" else "") for c in columns]
    data = [row("Data sets", titles)]
    for name, dataset in status.datasets.items():
        data.append(f"{name}{_selection(dataset)}")
        data.append(states("  structures", dataset.structures))
        data.append(states("  shards", dataset.shards))
    trainings = [row("Trainings", titles)]
    trainings += [states(name, study.trainings) for name, study in status.studies.items()]
    return [t for t in (data, trainings) if len(t) > 1]


def _selection(dataset: DatasetStatus) -> str:
    if dataset.selected is None:
        return f": not selected yet, {dataset.asked:,} asked"
    if dataset.selected != dataset.asked:
        return f": {dataset.selected:,} selected, {dataset.asked:,} asked"
    return ""


def _under_way(status: Status) -> list[str]:
    """Jobs that run, the longest silent first; other jobs by their rule."""
    if not (status.under_way or status.others):
        return []
    shown = status.under_way[: SHOWN + 1]
    names = [f"  {u.job.files['rule']} {u.job.files['name']}" for u in shown]
    room = min(46, max((len(name) for name in names), default=0))
    lines = ["Under way, the longest silent first" if len(names) > 1 else "Under way"]
    lines += [
        f"{name:<{room}}  {u.progress}, {duration(u.silent_s)} ago"
        for name, u in zip(names, shown, strict=True)
    ]
    lines += _more(len(status.under_way) - len(shown))
    if status.epochs:
        epochs = ", ".join(str(n) for n in status.epochs)
        lines.append(f"  networks in training, by their checkpoints: after epoch {epochs}")
    if status.others:
        listed = ", ".join(f"{n} {rule}" for rule, n in sorted(status.others.items()))
        lines.append(f"  other jobs: {listed}")
    return lines


def _reasons(status: Status, width: int) -> list[str]:
    """Why calculations failed or did not converge."""
    if not status.reasons:
        return []
    lines = ["Reasons of calculations that failed or did not converge"]
    for reason in status.reasons[:SHOWN]:
        text = f"{reason.text} (e.g. {reason.example})" if reason.example else reason.text
        lines += _wrapped(text, width, f"{reason.count:>7,}  ", 9, 3)
    left = status.reasons[SHOWN:]
    return lines + _more(len(left), f"reasons, {sum(r.count for r in left):,} calculations")


def _failed(status: Status, width: int) -> list[str]:
    """Jobs that failed: their log, and the error that it ends with."""
    if not status.failed:
        return []
    lines = [f"Failed jobs: {len(status.failed):,}"]
    for job in status.failed[:SHOWN]:
        lines.append(f"  {job.files['rule']} {job.files['name']}")
        lines.append(f"    {job.files['log']}")
        lines += _wrapped(job.error, width, "    ", 4, 3)
    return lines + _more(len(status.failed) - SHOWN)


def _unreadable(status: Status, width: int) -> list[str]:
    """What could not be read."""
    if not status.unreadable:
        return []
    lines = [f"Cannot be read: {len(status.unreadable):,}"]
    for path, why in list(status.unreadable.items())[:SHOWN]:
        lines += _wrapped(f"{path}: {why}", width, "  ", 4, 2)
    return lines + _more(len(status.unreadable) - SHOWN)


def _rest(status: Status, width: int) -> list[str]:
    """The expected rest of each data set and study."""
    parts: list[tuple[str, str, Rest]] = [
        *((name, "shard", d.rest) for name, d in status.datasets.items()),
        *((name, "training", s.rest) for name, s in status.studies.items()),
    ]
    left = [part for part in parts if part[2].jobs]
    if not left:
        return ["Expected rest: no calculation, no training"] if parts else []
    lines = ["Expected rest, from what finished jobs took"]
    for name, what, rest in left:
        if rest.core_hours is not None:
            lines += _wrapped(
                f"{name}: {_counted(rest.jobs, what)}, {_effort(rest)}", width, "  ", 4
            )
    blank = [f"{name} ({_counted(r.jobs, what)})" for name, what, r in left if r.core_hours is None]
    if blank:
        lines += _wrapped(f"no estimate yet: {', '.join(blank)}", width, "  ", 4)
    return lines


def _effort(rest: Rest) -> str:
    """Core-hours, and hours at the present rate."""
    hours = rest.core_hours or 0.0
    text = f"{hours:,.0f} core-hours" if hours >= 10 else f"{hours:.2g} core-hours"
    if hours < 0.1:
        text = f"{3600 * hours:.0f} core-seconds"
    text = f"{'at least ' if rest.unknown else ''}{text}"
    if rest.hours is not None:
        text += f", {duration(3600 * rest.hours)} at the present rate"
    if rest.unknown:
        text += f"; no estimate yet for {_listed(rest.unknown)}"
    return text


def _figures(status: Status, width: int) -> list[str]:
    """Figures and reports that are there."""
    lines = ["Figures and reports"]
    begun = {n: s for n, s in status.studies.items() if len(s.missing) < s.figures or s.report}
    for name, study in begun.items():
        text = f"{name}: {study.figures - len(study.missing)} of {study.figures} figures"
        text += f" (not yet {_listed(study.missing)})" if study.missing else ""
        lines += _wrapped(
            f"{text}, {'its report' if study.report else 'no report'}", width, "  ", 4
        )
    none = [name for name in status.studies if name not in begun]
    if none:
        lines += _wrapped(f"none yet: {', '.join(none)}", width, "  ", 4)
    return [*lines, f"  report of the default run: {'there' if status.report else 'not yet'}"]


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _more(n: int, what: str = "") -> list[str]:
    return [f"  and {n:,} more{f' {what}' if what else ''}"] if n > 0 else []


def _wrapped(
    text: str, width: int, first: str = "", indent: int = 0, max_lines: int | None = None
) -> list[str]:
    """Lines of at most ``width`` columns; a path is not broken."""
    return wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * indent,
        max_lines=max_lines,
        placeholder=" ...",
        break_long_words=False,
        break_on_hyphens=False,
    )
