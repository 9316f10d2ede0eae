"""Figures of any study with a learning curve: errors against training size, and parity."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from rhoflow.evaluation import metrics
from rhoflow.figures.style import COLOURS, GREY, MARKERS, PAGE_INCH, house_style, letter
from rhoflow.tables import TARGETS


def parity_data(predictions: pd.DataFrame) -> pd.DataFrame:
    """Seed-averaged predictions at the largest training size."""
    largest = predictions["train_size"].max()
    return metrics.seed_mean(predictions[predictions["train_size"] == largest])


def learning_curves(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """MAE against the number of training structures, one panel a target.

    In the manner of Kajita et al., Sci. Rep. 7, 16991 (2017), Fig. 4. Error bars: standard
    deviation over redraws.

    Args:
        table: scores of one study (``metrics.scores``).
        labels: what to call each arm.
    """
    targets = list(dict.fromkeys(table["target"]))
    columns = min(3, len(targets))
    rows = -(-len(targets) // columns)
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 2.3 * rows + 0.4))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, target in zip(axes, targets, strict=False):
            _curve_panel(ax, table[table["target"] == target], labels)
            spec = TARGETS[target]
            ax.set_title(f"{spec.label} {spec.symbol}")
            ax.set_ylabel(f"MAE ({spec.unit})")
            ax.set_xlabel("training structures")
        for ax in axes[len(targets) :]:
            ax.set_visible(False)
        letter(list(axes)[: len(targets)])
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(5, len(names)))
    return figure


def _curve_panel(ax: Axes, table: pd.DataFrame, labels: Mapping[str, str]) -> None:
    arms = [arm for arm in labels if arm in set(table["arm"])]
    sizes = sorted(set(table["train_size"]))
    ax.set_xscale("log")
    # Arms at one training size stand side by side, so that their error bars can be told apart.
    step = min((b / a for a, b in pairwise(sizes)), default=2.0)
    for i, arm in enumerate(arms):
        rows = table[table["arm"] == arm].sort_values("train_size")
        shift = step ** (0.06 * (i - (len(arms) - 1) / 2))
        ax.errorbar(
            rows["train_size"] * shift,
            rows["mae_mean"],
            yerr=rows["mae_std"].fillna(0),
            label=labels[arm],
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            capsize=2,
            elinewidth=0.8,
        )
    ax.set_xticks(sizes, [str(s) for s in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylim(bottom=0)


def parity(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Predicted against computed values at the largest training size: targets by arms.

    Every point is a test structure of one redraw; a structure that several redraws test shows
    several points.

    Args:
        table: ``parity_data`` of one study.
        labels: what to call each arm.
    """
    targets = list(dict.fromkeys(table["target"]))
    arms = [arm for arm in labels if arm in set(table["arm"])]
    with house_style():
        width = max(PAGE_INCH, 1.6 * len(arms))
        figure = Figure(figsize=(width, 0.3 + (0.82 * width / len(arms) + 0.25) * len(targets)))
        axes = figure.subplots(len(targets), len(arms), squeeze=False)
        for row, target in zip(axes, targets, strict=True):
            chosen = table[table["target"] == target]
            limits = _limits(chosen)
            for i, (ax, arm) in enumerate(zip(row, arms, strict=True)):
                _parity_panel(ax, chosen[chosen["arm"] == arm], limits, COLOURS[i % len(COLOURS)])
            spec = TARGETS[target]
            row[0].set_ylabel(f"predicted {spec.symbol} ({spec.unit})")
            row[len(arms) // 2].set_xlabel(f"computed {spec.symbol} ({spec.unit})")
        for ax, arm in zip(axes[0], arms, strict=True):
            ax.set_title(labels[arm])
    return figure


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """One range for the panels of a target; far outliers of a poor model may fall outside."""
    true = table["y_true"].to_numpy(dtype=float)
    margin = 0.25 * float(np.ptp(true)) or 1.0
    return float(true.min()) - margin, float(true.max()) + margin


def _parity_panel(ax: Axes, table: pd.DataFrame, limits: tuple[float, float], colour: str) -> None:
    true, predicted = table["y_true"].to_numpy(), table["y_pred"].to_numpy()
    ax.plot(limits, limits, color=GREY, linewidth=0.8, zorder=0)
    shown = np.clip(predicted, *limits)
    outside = shown != predicted
    ax.scatter(true[~outside], shown[~outside], s=8, color=colour, alpha=0.7, linewidths=0)
    ax.scatter(
        true[outside], shown[outside], s=14, marker="x", color=colour, linewidths=0.8, clip_on=False
    )
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(*limits)
    ticks = [t for t in ticks if limits[0] <= t <= limits[1]]
    ax.set(xticks=ticks, yticks=ticks)
    error = metrics.mean_absolute_error(true, predicted)
    ax.text(0.04, 0.96, f"MAE {error:.3g}", transform=ax.transAxes, va="top", fontsize=7)


# Name of the figure: what it shows, and how it is drawn.
FIGURES = {
    "learning_curves": (metrics.scores, learning_curves),
    "parity": (parity_data, parity),
}
