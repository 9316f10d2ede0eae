"""How a dataset was chosen: what each step of the selection left over."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rhoflow.figures.style import COLOURS, GREY, PAGE_INCH, house_style

_BAR = COLOURS[1]
_DROPPED = "#D9D9D9"
_ROW_INCH = 0.34
_LABEL_LENGTH = 56


def funnel_figure(funnel: pd.DataFrame) -> Figure:
    """Bars of the candidates that remain after each step, with those that it dropped.

    Args:
        funnel: rows of ``tables.FUNNEL`` in the order of the steps.
    """
    remaining = [int(n) for n in funnel["remaining"]]
    dropped = [int(n) for n in funnel["dropped"]]
    rows = range(len(funnel))
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, _ROW_INCH * len(funnel) + 0.75))
        ax = figure.subplots()
        ax.barh(rows, remaining, height=0.62, color=_BAR, label="remain")
        ax.barh(
            rows, dropped, left=remaining, height=0.62, color=_DROPPED, edgecolor=GREY,
            linewidth=0.4, hatch="////", label="dropped by the step",
        )  # fmt: skip
        widest = max(1, *(n + d for n, d in zip(remaining, dropped, strict=True)))
        for row, n, d in zip(rows, remaining, dropped, strict=True):
            text = f"{n:,}  (−{d:,})" if d else f"{n:,}"
            ax.text(n + d + 0.012 * widest, row, text, va="center", fontsize=7)
        _label_steps(ax, funnel)
        ax.set_xlim(0, 1.22 * widest)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.set_xlabel("candidates")
        ax.invert_yaxis()
        figure.legend(loc="outside lower right", ncols=2)
    return figure


def _label_steps(ax: Axes, funnel: pd.DataFrame) -> None:
    """The step in black, what passes it in grey below."""
    ax.set_yticks(range(len(funnel)), ["" for _ in range(len(funnel))])
    ax.tick_params(axis="y", length=0)
    for row, (step, detail) in enumerate(zip(funnel["step"], funnel["detail"], strict=True)):
        told = _cut(detail) if isinstance(detail, str) else ""
        _annotate(ax, row, step, 4.5 if told else 0.0, colour="black", size=8)
        _annotate(ax, row, told, -4.5, colour=GREY, size=6)


def _annotate(ax: Axes, row: int, text: str, above: float, *, colour: str, size: int) -> None:
    """Text left of the axis, shifted by some points from the middle of a row."""
    ax.annotate(
        text,
        (0, row),
        xytext=(-6, above),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        color=colour,
        fontsize=size,
        parse_math=False,  # a dollar sign is one
        ha="right",
        va="center",
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"
