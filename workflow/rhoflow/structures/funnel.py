"""The funnel: how many candidates each step drops, in a fixed order, with what passes.

First come the candidates found and those that can be read, then the filters of the source itself in
the order that it declares, then those of the selection, what costs little first.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from rhoflow import tables

FOUND = "candidates found"
READABLE = "readable"
ORDERED = "ordered"
REQUIRED = "required elements"
EXCLUDED = "no excluded elements"
DISTANCES = "sensible distances"
ATOMS = "size of the primitive cell"
DISTINCT = "no duplicates"
SAMPLE = "random sample"
STEPS = (FOUND, READABLE, ORDERED, REQUIRED, EXCLUDED, DISTANCES, ATOMS, DISTINCT, SAMPLE)
"""The rows of every funnel in order; those of a source stand after ``READABLE``."""

_NUMBER = re.compile(r"\d+(\.\d+)?")
_SHOWN_REASONS = 2
_SHOWN_REASON = 120
_SHOWN_ID = 60


def steps_with(source_steps: Iterable[str]) -> tuple[str, ...]:
    """All rows in order, those of the source in their place."""
    place = STEPS.index(READABLE) + 1
    return (*STEPS[:place], *source_steps, *STEPS[place:])


def funnel_table(
    n_found: int, falls_at: Iterable[str], steps: Iterable[str], details: Mapping[str, str]
) -> pd.DataFrame:
    """Rows of ``tables.FUNNEL``.

    Args:
        n_found: number of candidates.
        falls_at: the step of every candidate that falls.
        steps: all rows in order.
        details: what passes each.
    """
    order = list(steps)
    counted = Counter(falls_at)
    dropped = np.array([counted[step] for step in order])
    table = pd.DataFrame(
        {
            "step": order,
            "dropped": dropped,
            "remaining": n_found - np.cumsum(dropped),
            "detail": [details[step] for step in order],
        },
        columns=tables.FUNNEL.names,
    )
    return table.astype({"dropped": "int32", "remaining": "int32"})


def too_few(
    n_left: int,
    bound: tuple[str, int],
    source: str,
    funnel: pd.DataFrame,
    fallen: Iterable[tuple[str, str, str]],
) -> str:
    """The message for a source that leaves fewer structures than are wanted.

    Args:
        n_left: number of structures left.
        bound: the setting that wants more, ``size`` or ``min_size``, and its value.
        source: the source's name.
        funnel: rows of ``tables.FUNNEL``; the last one, the sample, is not shown.
        fallen: source id, step and reason of every candidate that fell.
    """
    name, wanted = bound
    usual = _usual_reasons(fallen)
    lines = []
    for row in funnel.iloc[:-1].itertuples(index=False):
        lines.append(
            f"  {row.step:<28}{row.dropped:>8} dropped {row.remaining:>8} remain  {row.detail}"
        )
        lines += usual.get(str(row.step), [])
    ways = ["loosen the filter that drops most", "add structures"]
    if n_left:
        ways.insert(0, f"set {name} to {n_left} or less")
    advice = " or ".join((", ".join(ways[:-1]), ways[-1]))
    return (
        f"source '{source}' leaves {n_left} structures, but {name} is {wanted}:\n"
        + "\n".join(lines)
        + f"\n{advice[0].upper()}{advice[1:]}."
    )


def _usual_reasons(fallen: Iterable[tuple[str, str, str]]) -> dict[str, list[str]]:
    """For each step, lines with the most common reasons, each with one candidate as example.

    Reasons that differ in numbers alone count as one.
    """
    examples: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for source_id, step, reason in fallen:
        alike = _NUMBER.sub("#", reason)
        counts[step][alike] += 1
        examples[step].setdefault(alike, (source_id, reason))
    return {
        step: [
            f"    {count} as {examples[step][alike][0][:_SHOWN_ID]}: "
            f"{examples[step][alike][1][:_SHOWN_REASON]}"
            for alike, count in counted.most_common(_SHOWN_REASONS)
        ]
        for step, counted in counts.items()
    }
