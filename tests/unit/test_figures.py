"""The numbers in the figures, and the report's text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.unit.test_evaluation import predictions

from rhoflow import tables
from rhoflow.config import load
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, half_sphere
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.errors import ConfigError, DataError
from rhoflow.evaluation import metrics
from rhoflow.figures import report
from rhoflow.figures.r3dvs import concept, pick_density
from rhoflow.figures.scores import learning_curves, parity, parity_data

ROOT = Path(__file__).parents[2]


def test_parity_shows_the_largest_size_averaged_over_seeds():
    table = pd.concat(
        [predictions({"x": [9.0]}, 10), predictions({"x": [0.5]}, 20)], ignore_index=True
    )
    table.loc[table["seed"] == 1, "y_pred"] = table["y_true"]
    data = parity_data(table)
    assert set(data["train_size"]) == {20}
    assert np.abs(data["y_pred"] - data["y_true"]).tolist() == pytest.approx([0.25, 0.25])
    figure = parity(data, {"x": "an arm"})
    (ax,) = figure.axes
    offsets = np.concatenate([c.get_offsets() for c in ax.collections])
    np.testing.assert_allclose(
        np.sort(offsets, axis=0), np.sort(data[["y_true", "y_pred"]].to_numpy(), axis=0)
    )
    assert [t.get_text() for t in ax.texts] == ["MAE 0.25"]


def test_learning_curves_draw_the_scores():
    table = pd.concat(
        predictions({"x": [0.1, 0.3], "y": [1.0, 1.0]}, size) for size in (10, 20, 40)
    )
    scores = metrics.scores(table)
    (ax,) = learning_curves(scores, {"x": "X", "y": "Y"}).axes
    lines = {c.get_label(): c for c in ax.containers}
    np.testing.assert_allclose(np.asarray(lines["X"].lines[0].get_ydata(), float), [0.2] * 3)
    np.testing.assert_allclose(np.asarray(lines["Y"].lines[0].get_ydata(), float), [1.0] * 3)
    bars = lines["X"].lines[2][0].get_segments()
    np.testing.assert_allclose([b[1, 1] - b[0, 1] for b in bars], 2 * np.std([0.1, 0.3], ddof=1))


def test_the_concept_figure_puts_voxels_where_the_spots_are():
    spec = R3DVSSpec()
    edge = 2 * np.pi / (spec.pitch * 3.5)  # spots at 3.5 voxel edges from the centre
    lattice = edge * np.eye(3)
    hkl = half_sphere(lattice, spec.g_cut)
    s = np.where(hkl.any(axis=1), 1e-9, 1.0) + np.where((hkl == [1, 0, 0]).all(axis=1), 0.5, 0)
    spectrum = Spectrum(lattice, 1, hkl.astype(np.int16), s.astype(np.complex64))
    crystal = Crystal("x", lattice, ("O",), np.zeros((1, 3)))
    figure = concept(crystal, spectrum, spec)
    cube = next(a for a in figure.axes if a.name == "3d")
    x, y, z = (np.asarray(v) for v in cube.collections[0]._offsets3d)
    reached = np.sort(np.sqrt(x**2 + y**2 + z**2) / spec.pitch)
    # g = 0 fills the voxel beside the corner; the pair lies 3.5 edges along one axis, in the
    # voxels whose centres are half an edge off it.
    assert len(reached) == 3
    np.testing.assert_allclose(reached[0], np.sqrt(0.75), atol=1e-6)
    np.testing.assert_allclose(reached[1:], np.sqrt(3.5**2 + 0.5), atol=1e-6)
    axis = np.abs(np.array([x, y, z])).max(axis=0) / spec.pitch
    np.testing.assert_allclose(np.sort(axis)[1:], 3.5, atol=1e-6)


def test_pick_density_names_the_nearest(gaussian_spectrum):
    crystals = [Crystal(n, np.eye(3), ("O",), np.zeros((1, 3))) for n in ("MgO", "CaO")]
    assert pick_density(crystals, {"CaO": gaussian_spectrum}, "").material_id == "CaO"
    with pytest.raises(ConfigError, match="did you mean 'CaO'"):
        pick_density(crystals, {"CaO": gaussian_spectrum}, "CaOO")
    with pytest.raises(DataError, match="no structure"):
        pick_density(crystals, {}, "")


def a_report(label: str = "L", reason: str = "r") -> str:
    raw = yaml.safe_load((ROOT / "config/test/mini.yaml").read_text())
    config = load(raw).model_dump(mode="json")
    config["studies"]["tiny"]["arms"]["soap"]["label"] = label
    table = predictions({"r3dvs": [0.1, 0.2, 0.3], "soap": [0.5, 0.6, 0.7]})
    study = report.StudyResults(
        report.FigureSet(
            "tiny",
            {"parity": "<svg/>"},
            {"parity": "size {{ snakemake.config['report'][0] }} *x*"},
        ),
        metrics.scores(table),
        pd.DataFrame([dict.fromkeys(tables.CLAIMS.names, reason) | {"target": "band_gap_ev"}]),
    )
    records = pd.DataFrame(
        {
            "material_id": ["a"],
            "status": ["failed"],
            "reason": [reason],
            "engine": ["gpaw"],
            "engine_version": ["1"],
        }
    )
    cost = pd.DataFrame({"material_id": ["a"], "cpu_time_s": [60.0], "peak_memory_mb": [1.0]})
    funnel = pd.DataFrame({"step": ["s"], "dropped": [1], "remaining": [1], "detail": [None]})
    data = report.DatasetResults(
        report.FigureSet(
            "mini", {"funnel": "<svg/>"}, {"funnel": "of {{ snakemake.wildcards.dataset }}"}
        ),
        funnel,
        records,
        cost,
    )
    comparison = report.FigureSet("live", {"comparison": "<svg/>"}, {"comparison": "*y*"})
    template = (ROOT / "workflow/report/report.html.j2").read_text()
    return report.render(template, report.ReportResults([study], [comparison], [data]), config)


def test_the_report_escapes_what_comes_from_data():
    evil = "<script>alert(1)</script>"
    html = a_report(label=evil, reason=evil)
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 3


def test_the_report_marks_the_lowest_error():
    html = a_report(label="the SOAP arm")
    best = html.split('<tr class="best">')[1:]
    assert len(best) == 1
    assert "the SOAP arm" not in best[0].split("</tr>")[0]
    for caption in ("<em>x</em>", "<em>y</em>", "of mini"):
        assert caption in html
    assert "0 of 1 calculations succeeded" in html
