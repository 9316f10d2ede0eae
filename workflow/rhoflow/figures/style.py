"""One look for all figures: fonts, sizes, colours that survive print and colour blindness."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the look to figures made inside."""
    with mpl.rc_context(_RC):
        yield


def letter(axes: Sequence[Axes]) -> None:
    """Mark panels (a), (b), … at their upper left."""
    for mark, ax in zip("abcdefghijklmnopqrstuvwxyz", axes, strict=False):
        ax.set_title(f"({mark})", loc="left", fontweight="bold")


def render(figure: Figure, form: Literal["svg", "png"] = "svg") -> bytes:
    """A figure as SVG or PNG without the date, so that equal data give equal bytes."""
    stream = BytesIO()
    with house_style():
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(stream, format=form, metadata=metadata)
    return stream.getvalue()
