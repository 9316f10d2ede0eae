"""Differences between two data sets of the same structures, one panel a target."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from rhoflow.figures.style import COLOURS, GREY, PAGE_INCH, house_style, letter
from rhoflow.properties import TARGETS

_COLUMNS = 3
_ROW_INCH = 1.75


def comparison_figure(table: pd.DataFrame) -> Figure:
    """The difference against the reference value for every target.

    Args:
        table: ``evaluation.comparison.compare``.
    """
    targets = [t for t in TARGETS if t in set(table["target"])]
    columns = min(_COLUMNS, max(1, len(targets)))
    rows = max(1, -(-len(targets) // columns))
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, _ROW_INCH * rows + 0.3))
        axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for ax, target in zip(axes, targets, strict=False):
            _panel(ax, table[table["target"] == target], target)
        for ax in axes[len(targets) :]:
            ax.set_axis_off()
        if targets:
            letter(axes[: len(targets)])
        else:
            axes[0].text(0.5, 0.5, "no target has a value in both data sets", ha="center")
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, target: str) -> None:
    spec = TARGETS[target]
    reference, difference = rows["reference"].to_numpy(), rows["difference"].to_numpy()
    few = len(rows) < 60
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    ax.scatter(
        reference, difference, s=12 if few else 5, alpha=0.8 if few else 0.45,
        color=COLOURS[1], linewidths=0,
    )  # fmt: skip
    largest = float(np.abs(difference).max())
    reach = 1.55 * largest or 1.0
    ax.set_ylim(-reach, reach)
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    form = ScalarFormatter(useMathText=True)
    form.set_powerlimits((-2, 4))
    ax.yaxis.set_major_formatter(form)
    ax.set_title(spec.label, loc="right", fontsize=7)
    ax.set_xlabel(f"reference {spec.symbol} ({spec.unit})")
    ax.set_ylabel(f"Δ ({spec.unit})")
    told = f"max |Δ| {largest:.2g}, n = {len(rows)}" if largest else f"all {len(rows)} equal"
    ax.text(0.97, 0.96, told, transform=ax.transAxes, ha="right", va="top", fontsize=7)
