"""Figures of any study with a learning curve: errors against training size, and parity."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from rhoflow.evaluation import metrics
from rhoflow.evaluation.densities import worth_showing
from rhoflow.figures.style import (
    COLOURS,
    GREY,
    PAGE_INCH,
    house_style,
    legend_columns,
    letter,
    line_look,
)
from rhoflow.properties import TARGETS

# Errors of one panel that differ by more than this are drawn on a logarithmic axis.
LOGARITHMIC = 100

# Points of a parity panel: more are a smear, and a file of tens of MB.
MOST_POINTS = 800


def parity_data(predictions: pd.DataFrame) -> pd.DataFrame:
    """Seed-averaged predictions of the test structures at the largest training size."""
    tested = _like_trained(predictions)
    return metrics.seed_mean(tested[tested["train_size"] == tested["train_size"].max()])


def learning_curves_data(predictions: pd.DataFrame) -> pd.DataFrame:
    """Scores on the test structures: ``metrics.scores`` without the larger ones."""
    return metrics.scores(_like_trained(predictions))


def _like_trained(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions of structures of the sizes that were trained on."""
    return predictions[predictions["part"] == "test"]


def learning_curves(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """MAE against the number of training structures, one panel a target.

    In the manner of Kajita et al., Sci. Rep. 7, 16991 (2017), Fig. 4. Error bars: standard
    deviation over redraws.

    Args:
        table: ``learning_curves_data`` of one study.
        labels: what to call each arm.
    """
    targets = worth_showing(table["target"])
    arms = [arm for arm in labels if arm in set(table["arm"])]
    columns = min(3, len(targets))
    rows = -(-len(targets) // columns)
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 2.3 * rows + 0.4))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, target in zip(axes, targets, strict=False):
            _curve_panel(ax, table[table["target"] == target], arms, labels)
            spec = TARGETS[target]
            ax.set_title(f"{spec.label} {spec.symbol}")
            ax.set_ylabel(f"MAE ({spec.unit})")
            ax.set_xlabel("training structures")
        for ax in axes[len(targets) :]:
            ax.set_visible(False)
        if len(targets) > 1:
            letter(list(axes)[: len(targets)], x=-0.2)
        _legend(figure, axes, [labels[arm] for arm in arms], 5)
    return figure


def _legend(figure: Figure, axes: Iterable[Axes], order: Sequence[str], columns: int) -> None:
    """One legend for all panels, whichever of them shows a line."""
    shown: dict[Any, Any] = {}
    for ax in axes:
        shown |= {n: h for h, n in zip(*ax.get_legend_handles_labels(), strict=True)}
    names = [name for name in dict.fromkeys(order) if name in shown]
    handles = [shown[name] for name in names]
    columns = legend_columns(figure, names, columns)
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


def _curve_panel(
    ax: Axes, table: pd.DataFrame, arms: Sequence[str], labels: Mapping[str, str]
) -> None:
    """One target; an arm looks the same in all panels, whichever others a panel shows."""
    sizes = sorted(set(table["train_size"]))
    ax.set_xscale("log")
    for i, arm in enumerate(arms):
        rows = table[table["arm"] == arm].sort_values("train_size")
        if rows.empty:  # it does not learn this target
            continue
        ax.errorbar(
            rows["train_size"] * beside(sizes, i, len(arms)),
            rows["mae_mean"],
            yerr=rows["mae_std"].fillna(0),
            label=labels[arm],
            **line_look(i),
            capsize=2,
            elinewidth=0.8,
        )
    ax.set_xticks(sizes, [str(s) for s in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    if table["mae_mean"].max() > LOGARITHMIC * table["mae_mean"].min() > 0:
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)


def beside(sizes: Sequence[int], i: int, n: int) -> float:
    """Factor of the i-th of n arms at training sizes: their error bars stand side by side."""
    step = min((b / a for a, b in pairwise(sizes)), default=2.0)
    return step ** (0.06 * (i - (n - 1) / 2))


def parity(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Predicted against computed values at the largest training size: targets by arms.

    Every point is a test structure of one redraw; a structure that several redraws test shows
    several points. Of many redraws the first are drawn, some ``MOST_POINTS`` in a panel; the error
    is that of all.

    Args:
        table: ``parity_data`` of one study.
        labels: what to call each arm.
    """
    arms = [arm for arm in labels if arm in set(table["arm"])]
    table = table[table["arm"].isin(arms)]
    targets = list(dict.fromkeys(table["target"]))
    with house_style():
        width = max(PAGE_INCH, 1.6 * len(arms))
        figure = Figure(figsize=(width, 0.3 + (0.82 * width / len(arms) + 0.25) * len(targets)))
        axes = figure.subplots(len(targets), len(arms), squeeze=False)
        for row, target in zip(axes, targets, strict=True):
            chosen = table[table["target"] == target]
            limits = _limits(chosen)
            learned = [arm in set(chosen["arm"]) for arm in arms]
            for i, (ax, arm) in enumerate(zip(row, arms, strict=True)):
                if learned[i]:
                    rows = chosen[chosen["arm"] == arm]
                    _parity_panel(ax, rows, limits, COLOURS[i % len(COLOURS)])
                else:
                    ax.set_axis_off()
            spec, filled = TARGETS[target], row[np.array(learned)]
            filled[0].set_ylabel(f"predicted {spec.symbol} ({spec.unit})")
            filled[len(filled) // 2].set_xlabel(f"computed {spec.symbol} ({spec.unit})")
        for ax, arm in zip(axes[0], arms, strict=True):
            ax.set_title(labels[arm])
    return figure


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """One range for the panels of a target; far outliers of a poor model may fall outside."""
    true = table["y_true"].to_numpy(dtype=float)
    margin = 0.25 * float(np.ptp(true)) or 1.0
    return float(true.min()) - margin, float(true.max()) + margin


def _parity_panel(ax: Axes, table: pd.DataFrame, limits: tuple[float, float], colour: str) -> None:
    error = metrics.mean_absolute_error(table["y_true"].to_numpy(), table["y_pred"].to_numpy())
    ax.text(0.04, 0.96, f"MAE {error:.3g}", transform=ax.transAxes, va="top", fontsize=7)
    redraws = table["redraw"].unique()
    most = max(1, MOST_POINTS * len(redraws) // len(table))
    table = table[table["redraw"].isin(redraws[:most])]
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


def scan_data(predictions: pd.DataFrame, points: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Scores of the arms of a scan at the largest training size.

    Args:
        predictions: of one study.
        points: of each value of each setting the ``name`` of the arm that has it, and the ``arm``
            that was varied, ``key`` and ``value``.

    Returns:
        Columns arm (the one that was varied), key, value (text), target, part, mae_mean, mae_std,
        and pose_std, all in the unit of the target; deviation is the mean absolute deviation of
        the test structures of the sizes that were trained on, what a model without any knowledge
        would err by.
    """
    names = {point["name"] for point in points}
    chosen = predictions[predictions["arm"].isin(names)]
    chosen = chosen[chosen["train_size"] == chosen["train_size"].max()]
    table = metrics.scores(chosen)
    averaged = metrics.seed_mean(chosen)
    poses = averaged.groupby(metrics.KEYS, sort=False)["pose_std"].mean()
    table["pose_std"] = poses.to_numpy()
    tested = _like_trained(averaged).groupby(["arm", "target"])["y_true"]
    deviation = tested.agg(lambda y: float(np.abs(y - y.mean()).mean())).rename("deviation")
    table = table.join(deviation, on=["arm", "target"])
    columns = ["arm", "key", "value", "target", "part"]
    columns += ["mae_mean", "mae_std", "pose_std", "deviation"]
    rows = [
        table[table["arm"] == point["name"]].assign(
            arm=point["arm"], key=point["key"], value=str(point["value"])
        )
        for point in points
    ]
    return pd.concat(rows, ignore_index=True)[columns]


def scan(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Errors against settings: a panel for each setting that was varied, a line for each target.

    Errors are shares of the mean absolute deviation, so that targets of different units share a
    panel. Further rows show the errors for larger structures than were trained on, and the spread
    over poses, where the protocol asks for them.

    Args:
        table: ``scan_data`` of one study.
        labels: what to call each arm.
    """
    keys, targets = (list(dict.fromkeys(table[c])) for c in ("key", "target"))
    rows = _scan_rows(table)
    arms = {key: list(dict.fromkeys(table[table["key"] == key]["arm"])) for key in keys}
    panels = [(key, arm) for key in keys for arm in arms[key]]
    with house_style():
        columns = -(-len(panels) // -(-len(panels) // 4))  # at most 4, in lines of like length
        lines = -(-len(panels) // columns) * len(rows)
        figure = Figure(figsize=(max(PAGE_INCH * columns / 4, 4.0), 2.2 * lines + 0.5))
        axes = figure.subplots(lines, columns, squeeze=False, sharey="row")
        for i, (key, arm) in enumerate(panels):
            chosen = table[(table["key"] == key) & (table["arm"] == arm)]
            for j, row in enumerate(rows):
                ax = axes[i // columns * len(rows) + j, i % columns]
                _scan_panel(ax, chosen[chosen["part"] == row.part], row.column, targets)
                if j == 0:
                    ax.set_title(labels.get(arm, arm))
                ax.set_xlabel(_setting(key))
        _label_rows(axes, rows, len(panels))
        _legend(figure, axes.ravel(), [TARGETS[target].label for target in targets], 4)
    return figure


class _ScanRow(NamedTuple):
    """A row of panels: which structures, which of their columns, and its axis."""

    part: str
    column: str
    label: str


def _scan_rows(table: pd.DataFrame) -> list[_ScanRow]:
    rows = [_ScanRow("test", "mae_mean", "MAE / deviation")]
    if (table["part"] == "larger").any():
        rows.append(_ScanRow("larger", "mae_mean", "larger: MAE / deviation"))
    if (table["pose_std"] > 0).any():
        rows.append(_ScanRow("test", "pose_std", "pose spread / deviation"))
    return rows


def _setting(key: str) -> str:
    """A setting's name for an axis: its unit in brackets."""
    name = key.rpartition(".")[2]
    for ending, unit in (("_inverse_angstrom", "1/Å"), ("_angstrom", "Å"), ("_ev", "eV")):
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")


def _scan_panel(ax: Axes, table: pd.DataFrame, column: str, targets: Sequence[str]) -> None:
    values = list(dict.fromkeys(table["value"]))
    for i, target in enumerate(targets):
        rows = table[table["target"] == target].set_index("value").reindex(values)
        if rows["mae_mean"].isna().all():  # the arm does not learn this target
            continue
        error = rows["mae_std"].fillna(0) / rows["deviation"] if column == "mae_mean" else None
        ax.errorbar(
            range(len(values)),
            rows[column] / rows["deviation"],
            yerr=error,
            label=TARGETS[target].label,
            **line_look(i),
            capsize=2,
            elinewidth=0.8,
        )
    names = {"True": "on", "False": "off"}
    ax.set_xticks(range(len(values)), [names.get(str(v), str(v)) for v in values])


def _label_rows(axes: NDArray[Any], rows: list[_ScanRow], n_panels: int) -> None:
    columns = axes.shape[1]
    for i, line in enumerate(axes):
        line[0].set_ylabel(rows[i % len(rows)].label)
        # Once all panels of the line are drawn: they share this axis.
        line[0].set_ylim(0, 1.05 * line[0].get_ylim()[1])
        for ax in line[max(0, n_panels - i // len(rows) * columns) :]:
            ax.set_visible(False)


# Name of the figure: what it shows, and how it is drawn.
FIGURES = {
    "learning_curves": (learning_curves_data, learning_curves),
    "parity": (parity_data, parity),
}
