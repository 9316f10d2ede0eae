"""How far the Hartree energy follows from |s(g)|: beyond a radius, and on voxels."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from rhoflow.descriptors.hartree_functional import SPOTS
from rhoflow.figures.style import COLOURS, GREY, PAGE_INCH, house_style, letter
from rhoflow.properties import TARGETS

SYMBOL = TARGETS["hartree_energy_ev_per_atom"].symbol

LABELS = {
    SPOTS: "sum over the spots, no voxels",
    "amplitude_per_volume": "|s| per volume",
    "amplitude_per_volume_known": "|s| per volume, V/n told",
    "squared_per_atom": "|s|² per atom",
    "squared_per_atom_no_origin": "|s|² per atom, without g = 0",
}
# Name of the pose: colour, marker, place within the row.
_POSES = {
    "unrotated": (COLOURS[1], "o", -0.22),
    "random": (COLOURS[0], "s", 0.0),
    "mean_of_random": (COLOURS[6], "D", 0.22),
}
_POSE_LABELS = {
    "unrotated": "unrotated",
    "random": "one random pose",
    "mean_of_random": "mean over the random poses",
}
_SHARES = (1e-5, 1.3)


def hartree_figure(
    shares: pd.DataFrame, energies: pd.DataFrame, scores: pd.DataFrame, g_cut: float
) -> Figure:
    """The share beyond a radius, two readings against the records, errors of all readings.

    Args:
        shares: ``descriptors.hartree_functional.missing_shares``.
        energies: ``descriptors.hartree_functional.voxel_energies``.
        scores: ``descriptors.hartree_functional.summary`` of these energies.
        g_cut: radius that the descriptor keeps, 1/Å.
    """
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 6.4))
        upper, lower = np.ravel(np.asarray(figure.subfigures(2, 1, height_ratios=(1, 1.35))))
        axes = [*upper.subplots(1, 3), lower.subplots()]
        _shares_panel(axes[0], shares, g_cut)
        told = {"V/n not told": "amplitude_per_volume", "V/n told": "amplitude_per_volume_known"}
        paper = {label: (reading, "nearest") for label, reading in told.items()}
        _deviations_panel(axes[1], energies, paper, "|s|, nearest (the paper)")
        squared = {
            "nearest": ("squared_per_atom", "nearest"),
            "linear, without g = 0": ("squared_per_atom_no_origin", "linear"),
        }
        _deviations_panel(axes[2], energies, squared, "|s|² per atom")
        _errors_panel(axes[3], scores)
        letter(axes)
    return figure


def _shares_panel(ax: Axes, shares: pd.DataFrame, g_cut: float) -> None:
    """Mean, largest and the middle eight tenths of the missing share, by radius."""
    by_radius = shares.groupby("g_inverse_angstrom")["missing_share"]
    mean, top = by_radius.mean(), by_radius.max()
    radii = mean.index.to_numpy()
    low, high = by_radius.quantile(0.1), by_radius.quantile(0.9)
    at = np.isclose(radii, g_cut)
    ax.plot(
        radii,
        top.clip(*_SHARES),
        color=COLOURS[0],
        linestyle="--",
        label=_named("largest", top[at]),
    )
    ax.plot(radii, mean.clip(*_SHARES), color=COLOURS[1], label=_named("mean", mean[at]))
    ax.fill_between(
        radii, low.clip(*_SHARES), high.clip(*_SHARES), color=COLOURS[1], alpha=0.2, linewidth=0,
        label="80 % of the oxides",
    )  # fmt: skip
    ax.set(yscale="log", ylim=(max(_SHARES[0], 0.5 * float(mean.min())), 30))
    ax.yaxis.set_major_locator(FixedLocator([10.0**i for i in range(-5, 1)]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="radius |g| (1/Å)", ylabel=f"share of {SYMBOL} beyond it")
    title = None
    if at.any():
        title = f"beyond {g_cut:.2f} 1/Å"
        ax.vlines(g_cut, ax.get_ylim()[0], top[at], color=GREY, linewidth=0.8, linestyle=":")
    ax.legend(loc="upper right", handlelength=1.6, title=title, title_fontsize=7, borderpad=0)


def _named(name: str, share: "pd.Series[float]") -> str:
    """The name of a curve with its value at g_cut, if it has one."""
    return f"{name}: {100 * share.iloc[0]:.2g} %" if len(share) else name


def _deviations_panel(
    ax: Axes, energies: pd.DataFrame, forms: dict[str, tuple[str, str]], title: str
) -> None:
    """Readings of unrotated crystals as they are: deviation from the record in percent."""
    unrotated = energies[energies["pose"] == 0]
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    styles = ({"marker": "o", "linewidths": 0, "alpha": 0.7}, {"marker": "x", "linewidths": 0.8})
    reach = 1.0
    for (label, (reading, deposit)), style, colour in zip(
        forms.items(), styles, COLOURS, strict=False
    ):
        rows = unrotated[(unrotated["reading"] == reading) & (unrotated["deposit"] == deposit)]
        percent = 100 * (rows["from_descriptor"] / rows["record"] - 1)
        reach = max(reach, float(percent.abs().max()))
        ax.scatter(rows["record"], percent, s=12, color=colour, label=label, **style)
    ax.set(xscale="log", ylim=(-1.1 * reach, 1.6 * reach))
    _plain_log(ax)
    ax.set(xlabel=f"{SYMBOL} of the record (eV/atom)", ylabel="read from voxels − record (%)")
    ax.set_title(title, loc="right", fontsize=7)
    ax.legend(loc="upper right", handletextpad=0.1, borderpad=0)


def _plain_log(ax: Axes) -> None:
    """Ticks 1, 2, 5, 10 … in plain numbers on a logarithmic axis."""
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _errors_panel(ax: Axes, scores: pd.DataFrame) -> None:
    """A row a reading and deposit: errors as they are (open) and after a straight line (filled)."""
    forms = [(r, d) for r in LABELS for d in scores.loc[scores["reading"] == r, "deposit"].unique()]
    for row, (reading, deposit) in enumerate(forms):
        part = scores[(scores["reading"] == reading) & (scores["deposit"] == deposit)]
        if row % 2:
            ax.axhspan(row - 0.5, row + 0.5, color=GREY, alpha=0.08, linewidth=0)
        for pose in part.to_dict("records"):
            colour, marker, shift = _POSES[pose["pose"]]
            mine = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 4.5}
            at = row + (0 if reading == SPOTS else shift)
            ax.plot(pose["mae_as_it_is_ev_per_atom"], at, fillstyle="none", **mine)
            ax.plot(pose["mae_fitted_ev_per_atom"], at, **mine)
    deviation = float(scores["mean_absolute_deviation_ev_per_atom"].iloc[0])
    if deviation > 0:
        ax.axvline(deviation, color=GREY, linewidth=1, linestyle="--")
    names = [f"{LABELS[r]}, {d}" if d else LABELS[r] for r, d in forms]
    ax.set_yticks(range(len(forms)), names)
    ax.set(xscale="log", ylim=(len(forms) - 0.4, -0.6))
    _plain_log(ax)
    ax.set_xlabel(f"mean absolute error of {SYMBOL} (eV/atom)")
    ax.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.5)
    handles = _handles(deviation, int(scores["n_oxides"].iloc[0]))
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.04, 1.0), ncols=3,
              columnspacing=1.4, handletextpad=0.4)  # fmt: skip


def _handles(deviation: float, n_oxides: int) -> list[Line2D]:
    poses = [
        Line2D([], [], color=c, marker=m, linestyle="none", label=_POSE_LABELS[name])
        for name, (c, m, _) in _POSES.items()
    ]
    kinds = [
        Line2D([], [], color=GREY, marker="o", linestyle="none", fillstyle="none",
               label="open: as it is"),
        Line2D([], [], color=GREY, marker="o", linestyle="none",
               label="filled: after a straight line"),
        Line2D([], [], color=GREY, linestyle="--",
               label=f"deviation of {n_oxides} oxides: {deviation:.3g} eV/atom"),
    ]  # fmt: skip
    return [h for pair in zip(poses, kinds, strict=True) for h in pair]
