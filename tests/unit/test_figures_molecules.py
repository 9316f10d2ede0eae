"""Figures of molecules: what stands in them, for tables and densities with known answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.unit.test_evaluation import predictions

from rhoflow.density.cube import density_cube, grid_around
from rhoflow.figures import report
from rhoflow.figures.molecules import (
    KCAL_PER_MOL_PER_EV,
    density_map,
    density_map_data,
    density_totals,
    extrapolation,
    extrapolation_data,
    molecule_plane,
)
from rhoflow.figures.style import render
from rhoflow.molecule import Molecule

ROOT = Path(__file__).parents[2]
SIZES = {"a": 4, "b": 5, "c": 8, "d": 9}

# Extrapolation -----------------------------------------------------------------------------


def sized_predictions(target: str = "band_gap_ev") -> pd.DataFrame:
    """a and b of the sizes trained on, c and d larger ones; two redraws."""
    inside = predictions({"x": [0.1, 0.3], "y": [0.2, 0.2]})
    beyond = predictions({"x": [2.0, 4.0], "y": [1.0, 1.0]}).assign(part="larger")
    beyond["material_id"] = beyond["material_id"].map({"a": "c", "b": "d"})
    small = predictions({"x": [50.0]}, train_size=10)
    return pd.concat([inside, beyond, small], ignore_index=True).assign(target=target)


def test_errors_of_each_size():
    data = extrapolation_data(sized_predictions(), SIZES)
    assert data["arm"].tolist() == ["x"] * 4 + ["y"] * 4
    x = data[data["arm"] == "x"].set_index("n_atoms")
    assert x["part"].to_dict() == {4: "test", 5: "test", 8: "larger", 9: "larger"}
    assert x["mae"].to_dict() == pytest.approx({4: 0.2, 5: 0.2, 8: 3.0, 9: 3.0})
    assert x["mae_std"][8] == pytest.approx(np.sqrt(2))
    assert (data["n"] == 1).all()
    one = extrapolation_data(sized_predictions().query("redraw == 0"), SIZES)
    assert one["mae_std"].isna().all()


def test_structures_of_one_size_count_together():
    data = extrapolation_data(sized_predictions(), dict.fromkeys("ab", 4) | dict.fromkeys("cd", 9))
    assert data["n"].tolist() == [2] * 4
    table = sized_predictions().query("arm == 'x' and part == 'test'")
    table.loc[table["material_id"] == "a", "y_pred"] = table["y_true"]
    (row,) = extrapolation_data(table, dict.fromkeys("ab", 4)).to_dict("records")
    assert row["mae"] == pytest.approx(0.1)


def test_extrapolation_draws_errors_counts_and_the_boundary():
    table = extrapolation_data(sized_predictions(), SIZES)
    figure = extrapolation(table, {"y": "Y", "x": "X", "z": "Z"}, 6)
    errors, counts = figure.axes
    lines = {c.get_label(): np.asarray(c.lines[0].get_xydata(), float) for c in errors.containers}
    assert list(lines) == ["Y", "X"]
    np.testing.assert_allclose(lines["X"], [[4, 0.2], [5, 0.2], [8, 3], [9, 3]])
    bars = {round(b.get_x() + b.get_width() / 2): b.get_height() for b in counts.patches[:4]}
    assert bars == dict.fromkeys((4, 5, 8, 9), 1)
    for ax in (errors, counts):
        shade = ax.patches[-1]
        assert shade.get_x() == pytest.approx(6.5)
        assert shade.get_x() + shade.get_width() == pytest.approx(ax.get_xlim()[1])
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["Y", "X"]
    assert not errors.child_axes


def test_nothing_is_shaded_where_no_structure_is_larger():
    inside = extrapolation_data(sized_predictions().query("part == 'test'"), SIZES)
    errors, counts = extrapolation(inside, {"x": "X", "y": "Y"}, 6).axes
    assert not errors.patches
    assert len(counts.patches) == 2


def test_targets_have_panels_and_extensive_energies_a_second_unit():
    both = [sized_predictions("homo_ev"), sized_predictions("atomization_energy_ev")]
    both.append(sized_predictions("lumo_ev").query("arm == 'y'"))
    table = extrapolation_data(pd.concat(both), SIZES)
    figure = extrapolation(table, {"x": "X", "y": "Y"}, 6)
    titles = [ax.get_title() for ax in figure.axes if ax.axison and ax.get_title()]
    assert [t.split(" $")[0] for t in titles] == [
        "atomization energy", "HOMO energy", "LUMO energy"
    ]  # fmt: skip
    energy = figure.axes[0]
    (second,) = energy.child_axes
    render(figure)
    assert second.get_ylabel() == "MAE (kcal/mol)"
    assert second.get_ylim()[1] == pytest.approx(energy.get_ylim()[1] * KCAL_PER_MOL_PER_EV)
    assert sum(not ax.axison for ax in figure.axes) == 2
    assert len(figure.legends[0].get_texts()) == 2


# Density maps ------------------------------------------------------------------------------

# A planar molecule, not along the axes, with a hydrogen above its plane.
TURN = np.linalg.qr(np.array([[1.0, 0.3, 0.2], [-0.2, 1.0, 0.5], [0.1, -0.4, 1.0]]))[0]
FLAT = np.array([[0, 0, 0], [1.4, 0, 0], [-0.7, 1.1, 0], [0, 0, 1.0]])
MOLECULE = Molecule("m", ("C", "O", "N", "H"), FLAT @ TURN + [1.0, 2.0, 3.0])


def blob(centre: np.ndarray, charge: float, width: float = 0.3):
    def density(points: np.ndarray) -> np.ndarray:
        d2 = ((points - centre) ** 2).sum(axis=1)
        return charge * np.exp(-0.5 * d2 / width**2) / (2 * np.pi * width**2) ** 1.5

    return density


def test_the_plane_holds_most_nuclear_charge():
    origin, axes = molecule_plane(MOLECULE)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    local = (MOLECULE.positions - origin) @ axes.T
    np.testing.assert_allclose(np.abs(local[:, 2]), [0, 0, 0, 1], atol=1e-9)
    assert np.ptp(local[:3, 0]) > np.ptp(local[:3, 1])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_atoms_in_line_lie_in_their_plane(n):
    line = np.outer(np.arange(n), [0.3, -0.5, 1.0])
    origin, axes = molecule_plane(Molecule("l", ("C",) * n, line))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    local = (line - origin) @ axes.T
    np.testing.assert_allclose(local[:, 1:], 0, atol=1e-9)


def test_methane_is_cut_through_two_hydrogens():
    h = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.63
    positions = np.vstack([h, np.zeros(3)])
    origin, axes = molecule_plane(Molecule("ch4", ("H",) * 4 + ("C",), positions))
    heights = np.sort(np.abs((positions - origin) @ axes[2]))
    np.testing.assert_allclose(heights[:3], 0, atol=1e-9)
    assert heights[3] > 0.5


def test_points_carry_the_densities_where_they_are():
    first, second = blob(MOLECULE.positions[0], 6), blob(MOLECULE.positions[1], 8)
    points, atoms = density_map_data(MOLECULE, first, second, spacing=0.05, margin=1.0)
    for column, atom in (("model_e_per_angstrom3", 0), ("reference_e_per_angstrom3", 1)):
        top = points.loc[points[column].idxmax()]
        for axis in ("x_angstrom", "y_angstrom"):
            assert top[axis] == pytest.approx(atoms[axis][atom], abs=0.026)
    assert atoms["symbol"].tolist() == ["C", "O", "N", "H"]
    assert abs(atoms["height_angstrom"][3]) == pytest.approx(1)
    assert points["x_angstrom"].min() == pytest.approx(atoms["x_angstrom"].min() - 1)
    assert points["x_angstrom"].max() >= atoms["x_angstrom"].max() + 1 - 1e-9
    assert len(points) == points["x_angstrom"].nunique() * points["y_angstrom"].nunique()


def test_the_map_states_electrons_and_distance_over_the_box():
    density = blob(MOLECULE.positions[0], 8), blob(MOLECULE.positions[0], 10)
    grid = grid_around(MOLECULE)
    totals = density_totals(*(density_cube(MOLECULE, d, grid) for d in density))
    (row,) = totals.to_dict("records")
    assert (row["material_id"], row["formula"], row["n_electrons"]) == ("m", "CHNO", 22)
    assert row["model_electrons"] == pytest.approx(8, abs=5e-3)
    assert row["reference_electrons"] == pytest.approx(10, abs=5e-3)
    assert row["distance_percent"] == pytest.approx(20)
    points, atoms = density_map_data(MOLECULE, *density, spacing=0.1)
    figure = density_map(points, atoms, totals, ("QDF", "engine"))
    panels = figure.axes[:3]
    assert [ax.get_title() for ax in panels] == [
        "QDF\n8.00 electrons", "engine\n10.00 electrons", "difference\ndistance 20.0 %"
    ]  # fmt: skip
    images = [np.asarray(ax.images[0].get_array()) for ax in panels]
    np.testing.assert_allclose(images[2].min(), -0.25 * images[0].max(), rtol=1e-6)
    # Rows of the image go up with y: the carbon lies where the density is highest.
    row, column = np.unravel_index(images[1].argmax(), images[1].shape)
    left, right, bottom, top = panels[1].images[0].get_extent()
    x = left + (column + 0.5) * (right - left) / images[1].shape[1]
    y = bottom + (row + 0.5) * (top - bottom) / images[1].shape[0]
    assert (x, y) == pytest.approx((atoms["x_angstrom"][0], atoms["y_angstrom"][0]), abs=0.06)
    assert [t.get_text() for t in panels[0].texts] == ["C", "O", "N", "H"]
    assert [t.get_fontsize() for t in panels[0].texts] == [7, 7, 7, 5]
    assert figure.get_suptitle() == "m, CHNO"
    assert render(figure) == render(density_map(points, atoms, totals, ("QDF", "engine")))


# Captions ----------------------------------------------------------------------------------


def captions(name: str, **protocol) -> str:
    settings = {"train_sizes": [10, 50], "test_size": 8, "train_max_atoms": 14, "seeds": 2}
    settings |= {"redraws": 3, "larger_size": None} | protocol
    config = {"studies": {"s": {"dataset": "small", "protocol": settings}}}
    template = (ROOT / f"workflow/report/{name}.rst").read_text()
    return report.caption(template, config, {"study": "s"})


def test_captions_quote_the_config():
    text = captions("extrapolation")
    for part in ("50 structures of at most 14 atoms", "3 redraws of 8", "Error bars"):
        assert part in text
    assert "a redraw tests" not in text
    assert "tests at most 7 of them" in captions("extrapolation", larger_size=7)
    assert "Error bars" not in captions("extrapolation", redraws=1)
    text = captions("density_map")
    assert "small" in text
    assert "|model − engine|" in text
    assert "system-message" not in text
