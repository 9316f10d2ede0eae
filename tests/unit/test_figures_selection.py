"""The numbers in the figure of the funnel."""

import pandas as pd

from rhoflow import tables
from rhoflow.figures.selection import funnel_figure
from rhoflow.figures.style import render


def funnel(*dropped: int, found: int = 100, detail: str = "what passes") -> pd.DataFrame:
    table = pd.DataFrame({"step": [f"step {i}" for i in range(len(dropped))], "dropped": dropped})
    table["remaining"] = found - table["dropped"].cumsum()
    table["detail"] = ["", *[detail] * (len(dropped) - 1)]
    return table[tables.FUNNEL.names]


def test_bars_show_what_remains_and_what_fell():
    (ax,) = funnel_figure(funnel(0, 30, 0, 50)).axes
    remain, fell = ax.containers

    assert [bar.get_width() for bar in remain] == [100, 70, 70, 20]
    assert [bar.get_width() for bar in fell] == [0, 30, 0, 50]
    assert [bar.get_x() for bar in fell] == [100, 70, 70, 20]
    assert {t.get_text() for t in ax.texts} >= {"100", "70  (−30)", "70", "20  (−50)", "step 3"}


def test_it_reads_without_colour():
    (ax,) = funnel_figure(funnel(0, 30)).axes
    remain, fell = ax.containers

    assert not remain[0].get_hatch()
    assert fell[0].get_hatch()


def test_long_details_are_cut_and_missing_ones_left_out():
    table = funnel(0, 1, detail="x" * 500)
    table.loc[0, "detail"] = float("nan")  # an empty cell of a CSV

    (ax,) = funnel_figure(table).axes

    assert max(len(t.get_text()) for t in ax.texts) < 80
    assert "nan" not in {t.get_text() for t in ax.texts}


def test_a_dollar_is_a_dollar():
    table = funnel(0, 1, detail=r"contains $_{ and $\nonsense$")

    (ax,) = funnel_figure(table).axes

    assert render(funnel_figure(table))
    assert not any(t.get_parse_math() for t in ax.texts if "$" in t.get_text())


def test_an_empty_source_draws_and_equal_tables_give_equal_bytes():
    assert render(funnel_figure(funnel(0, 0, found=0)))
    assert render(funnel_figure(funnel(0, 7))) == render(funnel_figure(funnel(0, 7)))
