"""Figures of several targets: all scores, what a target learned beside brings, which are alike."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from rhoflow.evaluation import metrics, paired
from rhoflow.figures.style import COLOURS, GREY, PAGE_INCH, house_style
from rhoflow.properties import TARGETS

# Blue below zero, orange above; both darken on grey paper, and every cell has its number.
DIVERGING = LinearSegmentedColormap.from_list("below_above", [COLOURS[1], "white", COLOURS[0]])
PALE = "#DDDDDD"
# Name of the rows that hold means over targets.
MEAN = "mean"
# Fewer redraws leave the spread of a change unknown.
LEAST_REDRAWS = 3


# Scores ------------------------------------------------------------------------------------


def score_table_data(predictions: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """R² and MAE on the test structures at the largest training size, and their spread.

    Args:
        predictions: of a study.
        arms: those to show.

    Returns:
        Columns arm, target, mae_mean, mae_std (unit of the target), r2_mean, r2_std, n_redraws:
        means and standard deviations over redraws. Rows of target "mean" hold the mean R² over all
        targets, of arms that predict every one.
    """
    largest, _, _ = paired.at_largest(predictions)
    tested = largest[(largest["part"] == "test") & largest["arm"].isin(arms)]
    table = metrics.errors_by_redraw(tested).merge(metrics.r2_by_redraw(tested))
    parts = [table[["arm", "target", "redraw", "mae", "r2"]]]
    if table["target"].nunique() > 1:
        wide = table.pivot(index=["arm", "redraw"], columns="target", values="r2")
        means = wide.mean(axis=1, skipna=False).dropna().rename("r2").reset_index()
        parts.append(means.assign(target=MEAN, mae=np.nan))
    return (
        pd.concat(parts, ignore_index=True)
        .groupby(["arm", "target"], sort=False)
        .agg(
            mae_mean=("mae", "mean"),
            mae_std=("mae", "std"),
            r2_mean=("r2", "mean"),
            r2_std=("r2", "std"),
            n_redraws=("redraw", "count"),
        )
        .reset_index()
    )


def score_table(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """R² above MAE of every arm (row) and target (column); the best of a column stands out.

    Args:
        table: ``score_table_data`` of one study.
        labels: what to call each arm.
    """
    arms = [arm for arm in labels if arm in set(table["arm"])]
    targets = list(dict.fromkeys(table["target"]))
    with house_style():
        size = (max(PAGE_INCH, 1.4 + 0.63 * len(targets)), 0.75 + 0.36 * len(arms))
        figure = Figure(figsize=size)
        ax = figure.subplots()
        for column, target in enumerate(targets):
            rows = table[table["target"] == target].set_index("arm")
            _score_column(ax, column, rows, arms)
        ax.set(xlim=(-0.5, len(targets) - 0.5), ylim=(len(arms) - 0.5, -0.5))
        ax.set_xticks(range(len(targets)), [_heading(target) for target in targets])
        ax.set_yticks(range(len(arms)), [fill(labels[arm], 24) for arm in arms])
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        for line in range(len(arms)):
            ax.axhline(line - 0.5, color=PALE, linewidth=0.6)
        ax.spines[:].set_visible(False)
    return figure


def _score_column(ax: Axes, column: int, rows: pd.DataFrame, arms: Sequence[str]) -> None:
    """The cells of one target."""
    best = {"r2": rows["r2_mean"].max(), "mae": rows["mae_mean"].min()}
    for line, arm in enumerate(arms):
        if arm not in rows.index:  # it does not learn this target
            continue
        row = rows.loc[arm]
        if row["mae_mean"] == best["mae"]:
            corner = (column - 0.48, line - 0.46)
            ax.add_patch(Rectangle(corner, 0.96, 0.92, color=PALE, linewidth=0))
        for name, height in (("r2", -0.2), ("mae", 0.22)):
            value = row[f"{name}_mean"]
            if np.isfinite(value):
                weight = "bold" if value == best[name] else "normal"
                most = 2 if name == "r2" else 3
                text = _with_spread(value, row[f"{name}_std"], most)
                ax.text(
                    column, line + height, text, ha="center", va="center", weight=weight, size=6
                )


def _with_spread(value: float, spread: float, most: int) -> str:
    """A number and its spread with one digit, two where the first is a 1; so many decimals."""
    known = spread if np.isfinite(spread) and spread > 0 else 0.1 * abs(value)
    place = np.floor(np.log10(known)) if known > 0 else -2.0
    decimals = int(np.clip((known < 2 * 10.0**place) - place, 0, most))
    text = f"{value:z.{decimals}f}".replace("-", "−")
    return f"{text} ± {spread:.{decimals}f}" if np.isfinite(spread) else text


def _heading(target: str) -> str:
    if target == MEAN:
        return "mean\nR²"
    return f"{fill(TARGETS[target].label, 11)}\n{TARGETS[target].unit}"


# Added tasks -------------------------------------------------------------------------------


def added_tasks_data(
    predictions: pd.DataFrame, points: Sequence[Mapping[str, str]]
) -> pd.DataFrame:
    """What learning one target more does to the error of the others.

    Args:
        predictions: of a study.
        points: "name" of each arm that learns "beside" its own targets another one, and the "arm"
            that does not.

    Returns:
        A row an arm, judged target and target learned beside it: change_percent of the MAE against
        the arm alone in the same redraws (of the mean logarithm of the ratio), standard_errors that
        this logarithm is away from zero, n_redraws, and whether the change is clear: more than two
        standard errors, in three redraws or more.
    """
    largest, size, n_test = paired.at_largest(predictions)
    errors = metrics.errors_by_redraw(largest[largest["part"] == "test"])
    logs = paired.logarithms(errors.pivot(index="redraw", columns=["arm", "target"], values="mae"))
    learned = errors.groupby("arm")["target"].unique()
    rows = []
    for point in points:
        for target in learned[point["name"]]:
            ratio = (logs[point["name"], target] - logs[point["arm"], target]).dropna()
            mean, error = paired.difference(ratio, n_test / size)
            known = len(ratio) >= LEAST_REDRAWS
            z = paired.in_errors(mean, error) if known else np.nan
            rows.append(
                {
                    "arm": point["arm"],
                    "target": target,
                    "beside": point["beside"],
                    "change_percent": 100 * np.expm1(mean),
                    "standard_errors": z,
                    "n_redraws": len(ratio),
                    "clear": bool(known and abs(z) > 2),
                }
            )
    return pd.DataFrame(rows)


def added_tasks(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Change of the MAE: rows are judged targets, columns what is learned beside them.

    Args:
        table: ``added_tasks_data`` of one study.
        labels: what to call each arm.
    """
    arms = list(dict.fromkeys(table["arm"]))
    limit = max(5.0, float(table["change_percent"].abs().max()))
    n_rows = sum(table[table["arm"] == arm]["target"].nunique() for arm in arms)
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 0.4 + 0.9 * len(arms) + 0.36 * n_rows))
        for ax, arm in zip(figure.subplots(len(arms), 1, squeeze=False).ravel(), arms, strict=True):
            rows = table[table["arm"] == arm]
            beside = list(dict.fromkeys(rows["beside"]))
            targets = sorted(set(rows["target"]), key=[*beside, *rows["target"]].index)
            cells = rows.set_index(["target", "beside"])
            change = cells["change_percent"].unstack().reindex(targets, columns=beside)
            clear = cells["clear"].unstack().reindex(targets, columns=beside).fillna(False)
            _heat_map(ax, change.to_numpy(), limit, "+z.1f", clear.to_numpy(dtype=bool))
            ax.set_title(labels.get(arm, arm), pad=8)
            ax.set_xticks(range(len(beside)), [fill(TARGETS[t].label, 11) for t in beside])
            ax.set_yticks(range(len(targets)), [TARGETS[t].label for t in targets])
            ax.set_xlabel("learned beside")
            ax.set_ylabel("change of its MAE (%)")
    return figure


def _heat_map(
    ax: Axes, values: NDArray[np.float64], limit: float, digits: str, marked: NDArray[np.bool_]
) -> None:
    """Cells with their numbers, coloured from -limit to limit; marked ones bold, in a frame."""
    ax.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=PALE, linewidth=0))
            continue
        # Black is legible on both colours but at their ends.
        style: dict[str, Any] = {"color": "white" if abs(value) > 0.8 * limit else "black"}
        if marked[i, j]:
            style["weight"] = "bold"
            frame = Rectangle((j - 0.46, i - 0.43), 0.92, 0.86, fill=False, color="black")
            ax.add_patch(frame)
        ax.text(j, i, f"{value:{digits}}".replace("-", "−"), ha="center", va="center", **style)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


# Similarity --------------------------------------------------------------------------------


def task_similarity_data(values: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of targets, in the order of their clustering.

    Args:
        values: one target a column; structures that lack one are left out.

    Returns:
        Columns target and one for each target: the correlation, without unit, rows and columns in
        one order, in which targets that are alike stand side by side.
    """
    known = values.dropna()
    matrix = known.corr(method="spearman")
    leaves = leaves_list(_tree(matrix.to_numpy()))
    ordered = matrix.iloc[leaves, leaves]
    return ordered.rename_axis(index="target").reset_index()


def task_similarity(
    table: pd.DataFrame, groups: Mapping[str, Mapping[str, Sequence[str]]]
) -> Figure:
    """Correlations of targets, their tree, and the groups that arms learn together.

    Args:
        table: ``task_similarity_data`` of a data set.
        groups: targets of each group of each arm, by what the arm is called.
    """
    targets = table["target"].tolist()
    matrix = table[targets].to_numpy(dtype=np.float64)
    n = len(targets)
    widths = [float(n), *[1.6] * len(groups), 2.2]
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 0.9 + 0.38 * n))
        axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
        _heat_map(axes[0], matrix, 1.0, "z.2f", np.zeros_like(matrix, dtype=bool))
        axes[0].set_xticks(range(n), [TARGETS[t].symbol for t in targets])
        axes[0].set_yticks(range(n), [f"{TARGETS[t].label} {TARGETS[t].symbol}" for t in targets])
        axes[0].set_title("Spearman's rank correlation")
        for ax, (arm, members) in zip(axes[1:-1], groups.items(), strict=True):
            _group_strip(ax, targets, members)
            ax.set_title(fill(arm, 14))
        _draw_tree(axes[-1], matrix)
    return figure


def _tree(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average-linkage tree of targets whose distance is 1 - |correlation|; unknown counts as 0."""
    distance = 1 - np.abs(np.nan_to_num(matrix))
    np.fill_diagonal(distance, 0)
    return linkage(squareform(distance, checks=False), "average", optimal_ordering=True)


def _draw_tree(ax: Axes, matrix: NDArray[np.float64]) -> None:
    """The tree beside the rows of the matrix, which stand in its order."""
    places = [(float(row), 0.0) for row in range(len(matrix))]  # of each branch: row and height
    for one, other, height, _ in _tree(matrix):
        (y, x), (v, u) = places[int(one)], places[int(other)]
        ax.plot([x, height, height, u], [y, y, v, v], color=GREY)
        places.append(((y + v) / 2, height))
    ax.set(ylim=(len(matrix) - 0.5, -0.5), xlim=(0, None), yticks=[])
    ax.set_xlabel("1 − |correlation|")
    ax.set_title("average linkage")
    ax.spines["left"].set_visible(False)


def _group_strip(ax: Axes, targets: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    """A cell for each row of the matrix, with the name of its group."""
    for i, (name, members) in enumerate(groups.items()):
        for row in (r for r, target in enumerate(targets) if target in members):
            style = {"facecolor": COLOURS[i % len(COLOURS)], "alpha": 0.3, "linewidth": 0}
            ax.add_patch(Rectangle((0, row - 0.47), 1, 0.94, **style))
            ax.text(0.5, row, name.replace("_", " "), ha="center", va="center", size=6.5)
    ax.set(xlim=(0, 1), ylim=(len(targets) - 0.5, -0.5), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
