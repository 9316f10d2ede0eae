"""One look for all figures: fonts, sizes, colours that survive print and colour blindness."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's palette, dark enough for lines on white, in the order of use.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#767676"

PAGE_INCH = 7.0

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "rhoflow",
    "svg.fonttype": "path",
    "savefig.dpi": 200,
}


def look(i: int) -> dict[str, Any]:
    """Colour and marker of the i-th cloud of points in a figure; 49 of them look different."""
    shift = i // len(COLOURS)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + shift) % len(MARKERS)]}


def line_look(i: int) -> dict[str, Any]:
    """The same of the i-th line, dashed where colours begin anew."""
    return {**look(i), "linestyle": ("-", "--", ":")[i // len(COLOURS) % 3]}


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the look to figures made inside."""
    with mpl.rc_context(_RC):
        yield


def letter(axes: Sequence[Axes], x: float = 0.0) -> None:
    """Mark panels (a), (b), … at their upper left; x < 0 leaves room for a long title."""
    for mark, ax in zip("abcdefghijklmnopqrstuvwxyz", axes, strict=False):
        ax.set_title(f"({mark})", loc="left", fontweight="bold", x=x)
    layout = axes[0].figure.get_layout_engine() if axes and x < 0 else None
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(w_pad=0.12)  # it does not see titles that reach out to the left


def legend_columns(figure: Figure, names: Sequence[str], most: int) -> int:
    """Columns of a legend below a figure: as many as its width has room for, and no more than that.

    A letter takes 0.06 inches in the mean, and what stands before a name 0.5.
    """
    longest = max(map(len, names), default=0)
    room = int(figure.get_figwidth() / (0.5 + 0.06 * longest))
    return max(1, min(most, room, len(names)))


def render(figure: Figure, form: Literal["svg", "png"] = "svg") -> bytes:
    """A figure as SVG or PNG without the date, so that equal data give equal bytes."""
    stream = BytesIO()
    with house_style():
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(stream, format=form, metadata=metadata)
    return stream.getvalue()
