"""The isosurfaces that a reader turns: the page, and what a real browser draws of it."""

import html
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.browser import PATIENCE_S, Page, opened

from rhoflow import tables
from rhoflow.config import load
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, half_sphere, to_grid
from rhoflow.errors import DataError
from rhoflow.figures import report
from rhoflow.figures.densities import DensityPair
from rhoflow.figures.isosurface import grid_shape, page, voxels

ROOT = Path(__file__).parents[2]
PARTS = [
    (ROOT / "workflow/report" / f"isosurface.{end}").read_text()
    for end in ("html.j2", "js", "glsl")
]
EVIL = '</script><script>window.evil = 1</script><img src=x onerror="window.evil=1">'
EDGE, WIDTH, TOP, GREATER = 6.0, 0.6, 2.0, 3.0
CRYSTAL = Crystal("corner", EDGE * np.eye(3), ("O",), np.zeros((1, 3)))
SKEW = np.array([[4.0, 0, 0], [-1.5, 5.0, 0], [0.5, 1.0, 6.0]])


def blob(lattice: np.ndarray, centre: np.ndarray, height: float) -> Spectrum:
    """A Gaussian of width WIDTH and its periodic images; centre in fractions."""
    hkl = half_sphere(lattice, 7.0)
    empty = Spectrum(lattice, 1, hkl, np.zeros(len(hkl), np.complex64))
    g2 = (empty.g_vectors() ** 2).sum(axis=1)
    size = height * (2 * np.pi * WIDTH**2) ** 1.5 / empty.volume * np.exp(-g2 * WIDTH**2 / 2)
    return replace(
        empty, coefficients=(size * np.exp(-2j * np.pi * hkl @ centre)).astype(np.complex64)
    )


def pair_of(crystal: Crystal, greater: float = GREATER, **changes) -> DensityPair:
    """A blob in the middle of a cell, and a higher one."""
    middle = np.full(3, 0.5)
    pair = DensityPair(
        crystal.material_id,
        "X",
        crystal,
        blob(crystal.lattice, middle, TOP),
        blob(crystal.lattice, middle, greater),
        nmae_percent=50.0,
    )
    return replace(pair, **changes)


def radius(height: float, level: float) -> float:
    """Of the surface of a blob, Å."""
    return WIDTH * np.sqrt(2 * np.log(height / level))


# The page ------------------------------------------------------------------------------------


def test_the_grid_resolves_both_densities_evenly():
    pair = pair_of(replace(CRYSTAL, lattice=np.diag([3.0, 4.0, 18.0])))
    shape = grid_shape(pair)
    spacing = np.diag(pair.crystal.lattice) / shape
    assert np.ptp(spacing) < 0.1 * spacing.mean()
    assert np.prod(shape) == pytest.approx(48**3, rel=0.1)
    fine = 64 * np.eye(3, dtype=np.int16)[:1]
    sharp = replace(pair.true, hkl=fine, coefficients=np.ones(1, np.complex64))
    assert grid_shape(replace(pair, predicted=sharp))[0] == 129


def test_the_data_are_the_densities():
    arrays = voxels([pair_of(CRYSTAL)])
    assert arrays["material_id"].tolist() == ["corner"]
    assert arrays["true_0"].shape == arrays["predicted_0"].shape == (48, 48, 48)
    assert arrays["true_0"][24, 24, 24] == pytest.approx(TOP, rel=1e-3)
    grid = to_grid(pair_of(CRYSTAL).predicted, (48, 48, 48))
    np.testing.assert_allclose(arrays["predicted_0"], grid, atol=1e-6)


def test_a_cell_too_long_for_a_texture_is_refused():
    spectrum = Spectrum(
        np.diag([3.0, 3.0, 400.0]), 1, np.array([[0, 0, 200]], np.int16), np.ones(1, np.complex64)
    )
    crystal = Crystal("chain", spectrum.lattice, ("O",), np.zeros((1, 3)))
    pair = DensityPair("chain", "O", crystal, spectrum, spectrum, 0.0)
    with pytest.raises(DataError, match=r"400\.0 Å needs .* expected at most 256"):
        page([pair], *PARTS)


def test_the_page_asks_for_nothing_and_escapes_what_comes_from_data():
    text = page([pair_of(CRYSTAL, formula=EVIL, material_id=EVIL)], *PARTS, (EVIL, "b"))
    assert EVIL not in text
    assert text.count("<script") == 3
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|src=(?!\"data:)|href=", html.unescape(text).replace(EVIL, ""))
    assert text == page([pair_of(CRYSTAL, formula=EVIL, material_id=EVIL)], *PARTS, (EVIL, "b"))


# In a browser --------------------------------------------------------------------------------

CANVAS = "document.querySelector('canvas')"
SIZE = (440, 440)


def chosen(field: int) -> str:
    return f"document.getElementsByName('field')[{field}].click()"


def level(share: float) -> str:
    """Where the slider is put."""
    return (
        f"(s => {{ s.value = {share}; s.dispatchEvent(new Event('input')); }})"
        "(document.getElementById('level'))"
    )


@dataclass
class Seen:
    """What a page shows: (y, x, 3) of its canvas, the isovalue that it tells (e/Å³), its text."""

    picture: np.ndarray
    level: float
    text: str

    def of(self, colour: str) -> np.ndarray:
        """(y, x) whether a pixel has a colour of a surface."""
        r, g, b = np.moveaxis(self.picture, 2, 0)
        match colour:
            case "green":
                return (g > r + 25) & (g > b + 10)
            case "blue":
                return (b > r + 40) & (b > g + 10)
        return (r > g + 40) & (g > b + 20)  # orange

    def radius(self, reach: float) -> float:
        """Half of the width and height of what is green, Å.

        Args:
            reach: half of the lesser side of the picture, Å.
        """
        rows, columns = (np.flatnonzero(self.of("green").any(axis=k)) for k in (1, 0))
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
        pixel = 2 * reach / min(self.picture.shape[:2])
        return float(np.ptp(rows) + np.ptp(columns) + 2) / 4 * pixel


def seen(page: Page) -> Seen:
    """When nothing moves any more."""
    page.wait(f"{CANVAS}.width === 2 * {CANVAS}.clientWidth")
    page.wait("true")
    (value,) = re.findall(
        r"^±?([\d.e-]+) e/Å³$", page.run("document.querySelector('output').value")
    )
    return Seen(page.picture(page.box(CANVAS)), float(value), page.run("document.body.innerText"))


def reach_of(lattice: np.ndarray) -> float:
    """Half of the lesser side of a picture as it is first, Å."""
    signs = [(s, t) for s in (1, -1) for t in (1, -1)]
    longest = max(np.linalg.norm(lattice[0] + s * lattice[1] + t * lattice[2]) for s, t in signs)
    return float(0.5 * longest + 2 * 0.28)


def same(one: Seen, other: Seen) -> bool:
    """Whether two pictures agree, but for the frame of a canvas that keys go to."""
    return np.array_equal(one.picture[4:-4, 4:-4], other.picture[4:-4, 4:-4])


REACH = reach_of(CRYSTAL.lattice)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Iterator[Page]:
    file = tmp_path_factory.mktemp("browser") / "isosurface.html"
    file.write_text(page([pair_of(CRYSTAL, formula=EVIL)], *PARTS))
    with opened(file, SIZE) as shown:
        shown.wait(f"{CANVAS}.width > 0")
        yield shown
        assert shown.console == []


@pytest.fixture
def fresh(shown) -> Page:
    """The page with the true density and the first view."""
    shown.run(chosen(0))
    shown.run(level(0.6))
    shown.run("document.getElementById('reset').click()")
    return shown


def test_the_surface_is_drawn_where_the_density_has_the_value(fresh):
    """A Gaussian has spheres of known radius; a pixel is about 0.04 Å."""
    sizes = []
    for field, height in ((0, TOP), (1, GREATER)):
        fresh.run(chosen(field))
        for share in (0.4, 0.9):
            fresh.run(level(share))
            found = seen(fresh)
            assert found.radius(REACH) == pytest.approx(radius(height, found.level), abs=0.04)
            sizes.append(found.of("green").sum())
    assert sizes[0] > 2000
    assert sizes[1] < 0.3 * sizes[0]


def test_both_densities_share_an_isovalue(fresh):
    true = seen(fresh)
    fresh.run(chosen(1))
    predicted = seen(fresh)
    assert predicted.level == true.level
    assert predicted.of("green").sum() > 1.1 * true.of("green").sum()
    fresh.run(chosen(2))
    assert seen(fresh).level != true.level
    fresh.run(chosen(0))
    assert same(seen(fresh), true)


def test_the_difference_has_colours_of_its_own(fresh):
    """The predicted density is the greater one here: one colour, and the legend names both."""
    fresh.run(chosen(2))
    found = seen(fresh)
    assert found.of("orange").sum() > 1000
    assert not found.of("green").any()
    assert not found.of("blue").any()
    assert "predicted above true" in found.text
    assert "predicted below true" in found.text


def test_it_is_turned_by_mouse_and_keys_and_comes_back(fresh):
    home = seen(fresh)
    left, top, width, height = fresh.box(CANVAS)
    middle = (left + width / 2, top + height / 2)

    def turned() -> None:
        found = seen(fresh)
        assert not same(found, home)
        # A sphere in the middle of the cell looks the same from everywhere.
        assert found.radius(REACH) == pytest.approx(home.radius(REACH), abs=0.04)

    fresh.drag(middle, (middle[0] + 60, middle[1] + 25))
    turned()
    fresh.click(*middle, times=2)
    assert same(seen(fresh), home)
    fresh.run(f"{CANVAS}.focus()")
    fresh.press("ArrowLeft")
    turned()
    fresh.press("0")
    assert same(seen(fresh), home)


def test_the_wheel_and_keys_zoom(fresh):
    home = seen(fresh).radius(REACH)
    left, top, width, height = fresh.box(CANVAS)
    fresh.mouse("mouseWheel", left + width / 2, top + height / 2, deltaX=0, deltaY=-100)
    assert seen(fresh).radius(REACH) == pytest.approx(home * np.exp(0.1), abs=0.05)
    fresh.run(f"{CANVAS}.focus()")
    fresh.press("-")
    assert seen(fresh).radius(REACH) == pytest.approx(home * np.exp(0.1) / 1.15, abs=0.05)


def test_it_fits_a_phone_and_takes_fingers(fresh):
    fresh.resize((390, 844), phone=True)
    home = seen(fresh)
    assert fresh.run("document.documentElement.scrollWidth") == 390
    left, top, width, height = fresh.box(CANVAS)
    assert 350 < width < 390
    assert height > 400
    assert home.radius(REACH) == pytest.approx(radius(TOP, home.level), abs=0.05)
    x, y = left + width / 2, top + height / 2
    fresh.touch([(x, y)], [(x + 40, y + 30)])
    assert not same(seen(fresh), home)
    fresh.touch([(x - 50, y), (x + 50, y)], [(x - 50, y), (x + 80, y)])
    assert seen(fresh).radius(REACH) == pytest.approx(1.3 * home.radius(REACH), rel=0.03)
    fresh.resize(SIZE)


def test_text_of_structures_runs_nowhere(fresh):
    assert fresh.run("window.evil === undefined")
    assert fresh.run("document.querySelector('option').textContent").startswith("</script>")
    assert fresh.run("document.querySelectorAll('script').length") == 3


def test_a_skew_cell_has_its_true_shape(tmp_path):
    """Of a cell without right angles the sphere is round too, and both signs have a colour."""
    lower, upper = np.full(3, 0.3), np.full(3, 0.7)
    true, moved = (blob(SKEW, centre, TOP) for centre in (lower, upper))
    crystal = Crystal("skew", SKEW, ("O",), np.zeros((1, 3)))
    pairs = [pair_of(crystal), DensityPair("moved", "Y", crystal, true, moved, 99.0)]
    file = tmp_path / "isosurface.html"
    file.write_text(page(pairs, *PARTS))
    with opened(file, SIZE) as shown:
        shown.run(level(0.9))
        first = seen(shown)
        list_ = "document.getElementById('crystal')"
        shown.run(f"{list_}.value = 1, {list_}.dispatchEvent(new Event('change'))")
        shown.run(chosen(2))
        second = seen(shown)
    assert shown.console == []
    assert first.radius(reach_of(SKEW)) == pytest.approx(radius(TOP, first.level), abs=0.04)
    assert second.of("orange").sum() > 500
    assert second.of("blue").sum() == pytest.approx(second.of("orange").sum(), rel=0.35)


def test_without_webgl_and_in_print_a_picture_stands_in_its_place(tmp_path):
    file = tmp_path / "isosurface.html"
    file.write_text(page([pair_of(CRYSTAL)], *PARTS))
    visible = (
        "[...document.querySelectorAll('.still, #stage, .controls')].map("
        "e => getComputedStyle(e).display !== 'none')"
    )
    with opened(file, SIZE, webgl=False) as shown:
        assert shown.run(visible) == [False, False, True]
        assert shown.run("document.querySelector('.still').naturalWidth") > 1000
    with opened(file, SIZE) as shown:
        shown.wait(f"{CANVAS}.width > 0")
        assert shown.run(visible) == [True, True, False]
        shown.send("Emulation.setEmulatedMedia", media="print")
        assert shown.run(visible) == [False, False, True]


# In the report -------------------------------------------------------------------------------


def a_report(text: str) -> str:
    raw = yaml.safe_load((ROOT / "config/test/r3dvs.yaml").read_text())
    shares = pd.DataFrame([("rotations", "voxels", 1, 0, 0.5)], columns=tables.ACCURACIES.names)
    figures = {"isosurface": text, "scan": "<svg/>"}
    captions = {"isosurface": "Turn *it*.", "scan": "of {{ snakemake.wildcards.study }}"}
    shown = report.FigureSet("rotations", figures, captions, frozenset({"isosurface"}))
    study = report.StudyResults(shown, shares, tables.empty(tables.CLAIMS))
    template = (ROOT / "workflow/report/report.html.j2").read_text()
    config = load(raw).model_dump(mode="json")
    return report.render(template, report.ReportResults([study], [], []), config)


def test_a_page_stands_in_a_frame_that_sees_nothing_of_the_report():
    text = page([pair_of(CRYSTAL, formula=EVIL)], *PARTS)
    whole = a_report(text)
    (frame,) = re.findall(r"<iframe ([^>]*)></iframe>", whole)
    assert 'sandbox="allow-scripts"' in frame
    (held,) = re.findall(r'srcdoc="([^"]*)"', frame)
    assert html.unescape(held) == text
    assert "<script" not in whole
    assert whole.count("<img ") == 1
    assert "Turn <em>it</em>" in whole


def test_figures_are_told_from_pages_by_the_names_of_their_files(tmp_path):
    for name in ("isosurface.html", "scan.svg", "isosurface.rst", "scan.rst"):
        (tmp_path / name).write_text(name)
    layout = {
        "figures": {"isosurface": tmp_path / "isosurface.html", "scan": tmp_path / "scan.svg"},
        "captions": {n: tmp_path / f"{n}.rst" for n in ("isosurface", "scan")},
    }
    found = report.read_results({"studies": {}, "comparisons": {"x": layout}, "datasets": {}})
    (shown,) = found.comparisons
    assert shown.pages == {"isosurface"}
    assert shown.figures["isosurface"] == "isosurface.html"


def test_the_report_draws_the_surface_and_scrolls_over_it(tmp_path):
    file = tmp_path / "report.html"
    file.write_text(a_report(page([pair_of(CRYSTAL)], *PARTS)))
    with opened(file, (800, 900)) as shown:
        frame = "document.querySelector('iframe')"
        shown.run(f"{frame}.scrollIntoView()")

        def green() -> int:
            shown.wait("true")
            return int(Seen(shown.picture(shown.box(frame)), 0.0, "").of("green").sum())

        end = time.monotonic() + PATIENCE_S
        while green() < 2000:
            assert time.monotonic() < end, "no surface is seen in the report"
        left, top, width, _ = shown.box(frame)
        middle = (left + width / 2, top + 350)
        start = shown.run("window.scrollY")
        shown.mouse("mouseWheel", *middle, deltaX=0, deltaY=-100)
        shown.wait(f"window.scrollY < {start}")
        still = green()
        # After a click it zooms instead.
        left, top, width, _ = shown.box(frame)
        middle, start = (left + width / 2, top + 350), shown.run("window.scrollY")
        shown.click(*middle)
        shown.mouse("mouseWheel", *middle, deltaX=0, deltaY=-300)
        while green() < 1.3 * still:
            assert time.monotonic() < end, "the wheel does not zoom"
        assert shown.run("window.scrollY") == start
    assert shown.console == []
