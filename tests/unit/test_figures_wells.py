"""The figure of wells: its data against known numbers, and what stands in it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from rhoflow import wells as box
from rhoflow.config import load
from rhoflow.evaluation.protocol import LearningCurveSpec
from rhoflow.evaluation.splits import draw
from rhoflow.figures import report
from rhoflow.figures.style import GREY, legend_columns, render
from rhoflow.figures.wells import DRIVEN, density_errors, error_table, profiles, wells
from rhoflow.wells import KCAL_PER_MOL_PER_HARTREE as KCAL

ROOT = Path(__file__).parents[2]
SYSTEMS = box.solve(box.WellsSpec(size=20, points=300))
PROTOCOL = LearningCurveSpec(train_sizes=(4, 8), test_size=6, redraws=2)
SPLITS = draw(SYSTEMS.ids, PROTOCOL, study="x")
LABELS = {"other": "no densities", "exact": "Exact", "mixed": "Mixed", "same": "Same"}
PART = 0.1


class Known:
    """The exact densities, a part of them exchanged for the lowest state of an empty box."""

    def __init__(self, part: float, train: box.WellSet) -> None:
        self.part = part / len(train)

    def densities(self, inputs: box.WellSet) -> np.ndarray:
        exact = dict(zip(SYSTEMS.ids, SYSTEMS.densities, strict=True))
        empty = 2 * np.sin(np.pi * box.grid(300)) ** 2
        return np.array([(1 - self.part) * exact[i] + self.part * empty for i in inputs.ids])


FITS = {
    "exact": lambda train: Known(0, train),
    "mixed": lambda train: Known(PART, train),
    "same": lambda train: Known(PART, train),
}


@pytest.fixture(scope="module")
def errors() -> pd.DataFrame:
    return density_errors(FITS, SYSTEMS, SPLITS, PROTOCOL.train_sizes)


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    return profiles(FITS, SYSTEMS, SPLITS, 8)


def ids_tested(redraw: int) -> list[str]:
    rows = SPLITS[(SPLITS["redraw"] == redraw) & (SPLITS["part"] == "test")]
    return rows.sort_values("order")["material_id"].tolist()


def test_exact_densities_cost_nothing_and_mixed_ones_what_mixing_costs(errors):
    assert len(errors) == 3 * 2 * 2
    found = errors.set_index(["arm", "train_size", "redraw"])[DRIVEN].sort_index()
    assert (found["exact"] < 1e-5).all()
    test = SYSTEMS.take([SYSTEMS.ids.index(i) for i in ids_tested(1)])
    part = PART / 8
    mixed = (1 - part) * test.densities + part * 2 * np.sin(np.pi * box.grid(300)) ** 2
    # ∫ (√n)'² / 2 by differences, in place of sines.
    kinetic, exact = (
        0.5 * (np.diff(np.sqrt(n), axis=1) ** 2).sum(axis=1) / test.spacing
        for n in (mixed, test.densities)
    )
    potential = ((mixed - test.densities) * test.potentials).sum(axis=1) * test.spacing
    expected = KCAL * (kinetic - exact + potential).mean()
    assert expected > 0.001
    assert found["mixed", 8, 1] == pytest.approx(expected, rel=0.02)
    assert (found["mixed", 4] > found["mixed", 8]).all()


def test_lines_are_those_of_the_first_test_potentials(lines):
    assert list(dict.fromkeys(lines["material_id"])) == ids_tested(0)[:3]
    assert len(lines) == 3 * 3 * 300
    one = lines[(lines["arm"] == "mixed") & (lines["material_id"] == ids_tested(0)[1])]
    system = SYSTEMS.take([SYSTEMS.ids.index(ids_tested(0)[1])])
    np.testing.assert_array_equal(one["potential_hartree"], system.potentials[0])
    np.testing.assert_array_equal(one["exact_per_bohr"], system.densities[0])
    np.testing.assert_allclose(one["x_bohr"], np.arange(300) / 299)
    off = one["predicted_per_bohr"] - one["exact_per_bohr"]
    empty = 2 * np.sin(np.pi * box.grid(300)) ** 2
    np.testing.assert_allclose(off, PART / 8 * (empty - system.densities[0]), atol=1e-12)
    few = SPLITS[(SPLITS["part"] == "train") | (SPLITS["order"] < 2)]
    assert profiles(FITS, SYSTEMS, few, 8)["material_id"].nunique() == 2


def test_the_table_names_arms_as_figures_do(errors):
    table = error_table(errors, LABELS)
    assert table["arm"].tolist() == ["Exact"] * 2 + ["Mixed"] * 2 + ["Same"] * 2
    assert table["train_size"].tolist() == [4, 8] * 3
    mixed = errors.query("arm == 'mixed' and train_size == 4")[DRIVEN]
    row = table.iloc[2]
    assert row["mean_kcal_per_mol"] == pytest.approx(mixed.mean())
    assert (row["least_kcal_per_mol"], row["most_kcal_per_mol"]) == (mixed.min(), mixed.max())


def test_the_figure_draws_lines_differences_and_errors(lines, errors):
    figure = wells(lines, errors, LABELS)
    *grid, curves = figure.axes
    axes = np.array(grid).reshape(4, 3)  # the arm that is like another has no row of its own
    for ax, name in zip(axes[1], ids_tested(0), strict=False):
        exact, first, second = ax.lines
        assert exact.get_color() == GREY
        known = lines[(lines["arm"] == "exact") & (lines["material_id"] == name)]
        np.testing.assert_allclose(exact.get_ydata(), known["exact_per_bohr"])
        np.testing.assert_allclose(first.get_ydata(), known["exact_per_bohr"])
        assert np.abs(np.subtract(second.get_ydata(), exact.get_ydata())).max() > 1e-3
    assert not np.any(axes[2, 0].lines[0].get_ydata())
    off = lines[lines["arm"] == "mixed"].eval("predicted_per_bohr - exact_per_bohr").to_numpy()
    assert axes[3, 0].get_ylabel() == "Δn ($10^{-2}$/bohr)"
    np.testing.assert_allclose(axes[3, 0].lines[0].get_ydata(), off[:300] / 1e-2)
    assert curves.get_yscale() == curves.get_xscale() == "log"
    drawn = [c.lines[0].get_ydata() for c in curves.containers]
    means = errors.groupby(["arm", "train_size"])[DRIVEN].mean()
    np.testing.assert_allclose(np.array(drawn, dtype=float), [means["exact"], means["mixed"]])
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["Exact", "Mixed and Same"]
    assert render(figure) == render(wells(lines, errors, LABELS))


def test_the_legend_stays_inside_the_figure(lines, errors):
    figure = wells(lines, errors, {**LABELS, "exact": "a label of some length " * 3})
    assert legend_columns(figure, ["a" * 20] * 6, 5) == 4
    assert legend_columns(figure, ["a" * 200], 5) == legend_columns(figure, [], 5) == 1
    figure.canvas.draw()
    (legend,) = figure.legends
    box_ = legend.get_window_extent()
    assert box_.x0 >= 0
    assert box_.x1 <= figure.bbox.x1


def test_the_caption_states_protocol_forms_and_whose_they_are():
    raw = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config = load(raw).model_dump(mode="json")
    template = (ROOT / "workflow" / "report" / "wells.rst").read_text()
    text = " ".join(report.caption(template, config, {"study": "hohenberg_kohn_1d"}).split())
    for part in (
        "after 200 training potentials",
        "over the 300 test potentials",
        "means over 10 redraws",
        "1200 sums of 3 Gaussian wells",
        "the published form in one dimension",
        "von Weizsäcker added (ours)",
        "our knowledge and not the paper's",
        "0.0065 kcal/mol",
        "Left, (a)",
        "Right, (b)",
    ):
        assert part in text, part
    for name in ("learning_curves", "parity"):
        template = (ROOT / "workflow" / "report" / f"{name}.rst").read_text()
        assert "potentials in a box" in report.caption(
            template, config, {"study": "hohenberg_kohn_1d"}
        )
        assert "potentials" not in report.caption(template, config, {"study": "first_look"})
