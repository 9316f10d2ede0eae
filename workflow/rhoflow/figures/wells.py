"""Figure of wells in a box: densities that models predict, and what they cost the energy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from rhoflow.evaluation.protocol import redraw_sets
from rhoflow.figures.scores import beside
from rhoflow.figures.style import GREY, PAGE_INCH, house_style, legend_columns, letter, line_look
from rhoflow.wells import KCAL_PER_MOL_PER_HARTREE, WellSet, density_driven, grid

# Test potentials that are drawn.
SHOWN = 3
DRIVEN = "density_driven_kcal_per_mol"


class Mapped(Protocol):
    """A model that predicts densities."""

    def densities(self, inputs: WellSet, /) -> NDArray[np.float64]:
        """(n, points) 1/bohr, from the potentials alone."""
        ...


Fits = Mapping[str, Callable[[WellSet], Mapped]]


def profiles(fits: Fits, systems: WellSet, splits: pd.DataFrame, size: int) -> pd.DataFrame:
    """Densities of the first test potentials of the first redraw.

    Args:
        fits: how each arm learns from solved potentials.
        systems: of the study.
        splits: ``tables.SPLITS``.
        size: number of training potentials.

    Returns:
        Columns arm, material_id, x_bohr, potential_hartree, exact_per_bohr, predicted_per_bohr.
    """
    _, train, test = next(_redraws(systems, splits, [size]))
    shown = test.take(range(min(SHOWN, len(test))))
    points = shown.potentials.shape[1]
    tables = [
        pd.DataFrame(
            {
                "arm": arm,
                "material_id": np.repeat(shown.ids, points),
                "x_bohr": np.tile(grid(points), len(shown)),
                "potential_hartree": shown.potentials.ravel(),
                "exact_per_bohr": shown.densities.ravel(),
                "predicted_per_bohr": fit(train).densities(shown).ravel(),
            }
        )
        for arm, fit in fits.items()
    ]
    return pd.concat(tables, ignore_index=True)


def density_errors(
    fits: Fits, systems: WellSet, splits: pd.DataFrame, sizes: Sequence[int]
) -> pd.DataFrame:
    """What predicted densities cost the energy: mean of |E[n] - E| with the exact functional.

    Args:
        fits: how each arm learns from solved potentials.
        systems: of the study, of one particle each.
        splits: ``tables.SPLITS``.
        sizes: numbers of training potentials.

    Returns:
        Columns arm, train_size, redraw, density_driven_kcal_per_mol: the mean over test potentials.
    """
    rows = []
    for redraw, train, test in _redraws(systems, splits, sizes):
        for arm, fit in fits.items():
            errors = np.abs(density_driven(fit(train).densities(test), test))
            mean = KCAL_PER_MOL_PER_HARTREE * float(errors.mean())
            rows.append({"arm": arm, "train_size": len(train), "redraw": redraw, DRIVEN: mean})
    return pd.DataFrame(rows)


def _redraws(
    systems: WellSet, splits: pd.DataFrame, sizes: Sequence[int]
) -> Iterator[tuple[int, WellSet, WellSet]]:
    """Each redraw with each of its training sets, and its test set."""
    position = {name: i for i, name in enumerate(systems.ids)}
    for redraw, sets in redraw_sets(splits, sorted(set(splits["redraw"]))):
        train, test = ([position[i] for i in sets[part]] for part in ("train", "test"))
        for size in sizes:
            yield redraw, systems.take(train[:size]), systems.take(test)


def error_table(errors: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Errors over redraws: columns arm (as figures call it), train_size, mean, least and most."""
    found = errors.groupby(["arm", "train_size"], sort=False)[DRIVEN]
    table = found.agg(mean="mean", least="min", most="max").add_suffix("_kcal_per_mol")
    table = table.reset_index().sort_values("train_size", kind="stable")
    table["arm"] = table["arm"].map(labels)
    order = {name: i for i, name in enumerate(labels.values())}
    return table.sort_values("arm", key=lambda a: a.map(order), kind="stable", ignore_index=True)


def wells(lines: pd.DataFrame, errors: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Potentials, densities and their errors; density-driven errors against training size.

    Arms that predict the same densities are one line.

    Args:
        lines: of ``profiles``.
        errors: of ``density_errors``.
        labels: what to call each arm; their order decides how it looks in all figures.
    """
    looks = {arm: line_look(i) for i, arm in enumerate(labels)}
    alike = _alike(errors, [arm for arm in labels if arm in set(errors["arm"])])
    shown = list(dict.fromkeys(lines["material_id"]))
    with house_style():
        heights = [1.3, 1.3, *[1.0] * len(alike)]
        figure = Figure(figsize=(PAGE_INCH, max(4.2, 0.95 * sum(heights) + 0.8)))
        left, right = figure.subfigures(1, 2, width_ratios=[1.5, 1], squeeze=False)[0]
        settings = {"sharex": True, "sharey": "row", "height_ratios": heights, "squeeze": False}
        axes = left.subplots(len(heights), len(shown), **settings)
        for column, name in zip(axes.T, shown, strict=True):
            one = lines[lines["material_id"] == name]
            _densities(column[:2], one, {arm: looks[arm] for arm in alike})
            column[-1].set_xlabel("x (bohr)")
        for row, arm in zip(axes[2:], alike, strict=True):
            _differences(row, lines[lines["arm"] == arm], looks[arm]["color"])
        for ax, text in zip(axes[:2, 0], ("v (Ha)", "n (1/bohr)"), strict=True):
            ax.set_ylabel(text)
        left.align_ylabels(axes[:, 0])
        ax = right.subplots()
        _errors(ax, errors, {arm: looks[arm] for arm in alike})
        letter([axes[0, 0], ax], x=-0.4)
        names = [" and ".join(labels[a] for a in same) for same in alike.values()]
        handles = ax.get_legend_handles_labels()[0]
        figure.legend(
            handles, names, loc="outside lower center", ncols=legend_columns(figure, names, 4)
        )
    return figure


def _alike(errors: pd.DataFrame, arms: Sequence[str]) -> dict[str, list[str]]:
    """Arms by the first one whose densities are theirs, told by equal errors."""
    values = {a: errors.loc[errors["arm"] == a, DRIVEN].to_numpy() for a in arms}
    groups: dict[str, list[str]] = {}
    for arm in arms:
        same = (first for first in groups if np.allclose(values[first], values[arm], rtol=1e-9))
        groups.setdefault(next(same, arm), []).append(arm)
    return groups


def _densities(axes: Sequence[Axes], one: pd.DataFrame, looks: Mapping[str, Any]) -> None:
    """One potential, and below it its exact density under the predicted ones."""
    for arm, look in looks.items():
        rows = one[one["arm"] == arm]
        x = rows["x_bohr"].to_numpy()
        if arm == next(iter(looks)):
            axes[0].plot(x, rows["potential_hartree"], color="black")
            axes[1].plot(x, rows["exact_per_bohr"], color=GREY, linewidth=3, alpha=0.5)
        axes[1].plot(x, rows["predicted_per_bohr"], **{**look, "marker": "", "linewidth": 0.9})


def _differences(axes: Sequence[Axes], lines: pd.DataFrame, colour: str) -> None:
    """Predicted less exact densities of one arm, in a power of ten of their own."""
    off = lines["predicted_per_bohr"] - lines["exact_per_bohr"]
    largest = float(off.abs().max())
    power = int(np.floor(np.log10(largest))) if largest > 0 else 0
    for ax, (_, rows) in zip(axes, off.groupby(lines["material_id"], sort=False), strict=True):
        x = lines.loc[rows.index, "x_bohr"].to_numpy()
        ax.plot(x, rows / 10.0**power, color=colour, linewidth=0.9)
        ax.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    axes[0].set_ylabel(f"Δn ($10^{{{power}}}$/bohr)", color=colour)


def _errors(ax: Axes, errors: pd.DataFrame, looks: Mapping[str, Any]) -> None:
    """Density-driven errors against training size, bars from the least to the most of a redraw."""
    sizes = sorted(set(errors["train_size"]))
    for i, (arm, look) in enumerate(looks.items()):
        by_size = errors[errors["arm"] == arm].groupby("train_size")[DRIVEN]
        mean = by_size.mean()
        bars = [mean - by_size.min(), by_size.max() - mean]
        place = mean.index.to_numpy() * beside(sizes, i, len(looks))
        ax.errorbar(place, mean, yerr=bars, label=arm, **look, capsize=2, elinewidth=0.8)
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(sizes, [str(s) for s in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("training potentials")
    ax.set_ylabel("error of the energy due to the density (kcal/mol)")
