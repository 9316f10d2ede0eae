"""The funnel: how many candidates each step drops, in a fixed order, with what passes.

First come the candidates found and those that can be read, then the filters of the source itself in
the order that it declares, then those of the selection, what costs little first.
"""

from collections import Counter
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


def too_few(n_left: int, wanted: str, source: str, funnel: pd.DataFrame) -> str:
    """The message for a source that leaves fewer structures than are wanted."""
    lines = [
        f"  {row.step:<28}{row.dropped:>8} dropped {row.remaining:>8} remain  {row.detail}"
        for row in funnel.iloc[:-1].itertuples(index=False)
    ]
    return (
        f"source '{source}' leaves {n_left} structures, but {wanted}:\n"
        + "\n".join(lines)
        + f"\nSet size to {n_left} or less, loosen the filter that drops most, or add structures."
    )
