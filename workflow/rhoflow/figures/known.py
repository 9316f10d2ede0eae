"""One data set against what is known of its oxides, and its densities against its records."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rhoflow.figures.style import COLOURS, GREY, PAGE_INCH, house_style, letter
from rhoflow.properties import TARGETS

VOLUME_BAND = 0.04
GAP_BAND_EV = 0.25
MODULUS_BAND = 0.15
_NAMED = 6
_DOTS = {"s": 11, "alpha": 0.75, "linewidths": 0}


def known_figure(
    comparison: pd.DataFrame, hartree: pd.DataFrame, bulk_moduli: "pd.Series[float]"
) -> Figure:
    """Volumes, gaps and bulk moduli beside the known ones; all bulk moduli; E_H of the spectra.

    Args:
        comparison: ``evaluation.known.compare_with_known``.
        hartree: ``evaluation.known.hartree_check``.
        bulk_moduli: of all materials, GPa; null where there is none.
    """
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 5.3))
        grid = figure.add_gridspec(2, 6, height_ratios=(1, 0.95))
        spans = (grid[0, :4], grid[0, 4:], grid[1, :2], grid[1, 2:4], grid[1, 4:])
        axes = [figure.add_subplot(span) for span in spans]
        _volumes(axes[0], _of(comparison, "volume_angstrom3_per_atom"))
        _gaps(axes[1], _of(comparison, "band_gap_ev"))
        _moduli(axes[2], _of(comparison, "bulk_modulus_gpa"))
        _histogram(axes[3], bulk_moduli.dropna().to_numpy(dtype=np.float64))
        _hartree(axes[4], hartree)
        letter(axes)
    return figure


def _of(comparison: pd.DataFrame, quantity: str) -> pd.DataFrame:
    return comparison[comparison["quantity"] == quantity].reset_index(drop=True)


def _volumes(ax: Axes, rows: pd.DataFrame) -> None:
    """Deviation of the volume in percent against the volume of experiment."""
    ax.set_xlabel("volume by experiment (Å³/atom)")
    ax.set_ylabel("computed − experiment (%)")
    if _nothing(ax, rows, "no oxide of known volume"):
        return
    percent = 100 * rows["relative_deviation"].to_numpy()
    band = 100 * VOLUME_BAND
    ax.axhspan(-band, band, color=GREY, alpha=0.15, linewidth=0)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.scatter(rows["known"], percent, color=COLOURS[1], **_DOTS)
    # Room for the summary at the top and the names at the bottom.
    top, bottom = max(band, float(percent.max())), max(band, -float(percent.min()))
    ax.set_ylim(-bottom - 0.45 * (top + bottom), top + 0.25 * (top + bottom))
    ax.margins(x=0.08)
    _name_outliers(ax, rows, rows["known"].to_numpy(), percent, np.abs(percent), band)
    outside = int((np.abs(percent) > band).sum())
    _tell(
        ax,
        f"{len(rows)} oxides, mean {_signed(percent.mean(), 1)} %, {outside} outside ±{band:.0f} %",
    )


def _gaps(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set_xlabel("gap by PBE, literature (eV)")
    ax.set_ylabel("computed gap (eV)")
    if _nothing(ax, rows, "no oxide of known gap"):
        return
    upper = _parity(ax, rows, COLOURS[0])
    ax.fill_between(
        [0, upper], [-GAP_BAND_EV, upper - GAP_BAND_EV], [GAP_BAND_EV, upper + GAP_BAND_EV],
        color=GREY, alpha=0.15, linewidth=0, zorder=0,
    )  # fmt: skip
    x, y = rows["known"].to_numpy(), rows["computed"].to_numpy()
    _name_outliers(ax, rows, x, y, np.abs(y - x), GAP_BAND_EV)
    error = rows["deviation"]
    _tell(
        ax,
        f"{len(rows)} oxides\nmean {_signed(error.mean(), 2)} eV\nMAE {error.abs().mean():.2f} eV",
    )


def _moduli(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set_xlabel("bulk modulus by experiment (GPa)")
    ax.set_ylabel("computed (GPa)")
    if _nothing(ax, rows, "no oxide of known bulk modulus"):
        return
    _parity(ax, rows, COLOURS[2])
    x, y = rows["known"].to_numpy(), rows["computed"].to_numpy()
    _name_outliers(ax, rows, x, y, np.abs(y / x - 1), MODULUS_BAND)
    percent = 100 * rows["relative_deviation"]
    _tell(ax, f"{len(rows)} oxides\nmedian {_signed(percent.median(), 0)} %")


def _histogram(ax: Axes, moduli: np.ndarray) -> None:
    """All bulk moduli, with those that no crystal at rest can have in another colour."""
    ax.set_xlabel(f"{TARGETS['bulk_modulus_gpa'].label}, all oxides (GPa)")
    ax.set_ylabel("oxides")
    if _nothing(ax, moduli, "no equations of state"):
        return
    edges = np.histogram_bin_edges(moduli, bins=min(30, max(5, len(moduli) // 4)))
    ax.hist(moduli[moduli > 0], bins=edges.tolist(), color=COLOURS[2], alpha=0.85)
    wrong = moduli[moduli <= 0]
    ax.hist(wrong, bins=edges.tolist(), color=COLOURS[0], hatch="////")
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.margins(y=0.3)
    low = f"{moduli.min():.0f}".replace("-", "−")
    _tell(
        ax,
        f"{len(moduli)} oxides, {low} to {moduli.max():.0f} GPa\n"
        + (f"{len(wrong)} not positive" if len(wrong) else "all positive"),
    )


def _hartree(ax: Axes, hartree: pd.DataFrame) -> None:
    """Relative difference of E_H against the number of valence electrons."""
    ax.set_xlabel("valence electrons in the cell")
    ax.set_ylabel(r"$E_\mathrm{H}$: |spectrum / record − 1|")
    if _nothing(ax, hartree, "no spectra"):
        return
    difference = np.abs(hartree["relative_difference"].to_numpy(dtype=np.float64))
    # Equal numbers have no place on a logarithmic axis; single precision ends there anyway.
    shown = np.maximum(difference, 1e-8)
    ax.scatter(hartree["n_valence_electrons"], shown, color=COLOURS[3], **_DOTS)
    ax.set_yscale("log")
    low, high = float(shown.min()), float(shown.max())
    ax.set_ylim(low / 3, high * 20)
    _tell(ax, f"{len(hartree)} spectra\nat most {difference.max():.1e}")


def _parity(ax: Axes, rows: pd.DataFrame, colour: str) -> float:
    """Points about the diagonal of a square panel that starts at zero; its upper limit."""
    highest = float(rows[["known", "computed"]].to_numpy().max())
    lowest = min(0.0, float(rows[["known", "computed"]].to_numpy().min()))
    upper = 1.08 * highest or 1.0
    low = 1.08 * lowest - 0.04 * upper
    ax.plot([low, upper], [low, upper], color=GREY, linewidth=0.8, zorder=0)
    ax.scatter(rows["known"], rows["computed"], color=colour, clip_on=False, **_DOTS)
    ax.set(xlim=(low, upper), ylim=(low, upper))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    return upper


def _name_outliers(
    ax: Axes, rows: pd.DataFrame, x: np.ndarray, y: np.ndarray, off: np.ndarray, band: float
) -> None:
    """Number the points farthest outside the band, and list their names at the lower right."""
    worst = sorted(np.flatnonzero(off > band), key=lambda i: -off[i])[:_NAMED]
    for number, i in enumerate(worst, start=1):
        ax.annotate(
            str(number), (x[i], y[i]), xytext=(3, 1), textcoords="offset points", fontsize=6
        )  # fmt: skip
    names = [
        f"{number} {rows['formula'][i]} ({rows['structure'][i]})"
        for number, i in enumerate(worst, start=1)
    ]
    ax.text(
        0.98, 0.03, "\n".join(names), transform=ax.transAxes, fontsize=6, ha="right", va="bottom"
    )  # fmt: skip


def _tell(ax: Axes, text: str) -> None:
    ax.text(0.04, 0.97, text, transform=ax.transAxes, va="top", fontsize=7)


def _signed(value: float, digits: int) -> str:
    """A number with its sign, the minus as long as the plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _nothing(ax: Axes, rows: pd.DataFrame | np.ndarray, text: str) -> bool:
    """Say so in an empty panel."""
    if len(rows):
        return False
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY)
    return True
