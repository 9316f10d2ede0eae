"""What the figure of the Hartree functional shows."""

import numpy as np
import pandas as pd
import pytest
from tests.conftest import CENTRES, LATTICE
from tests.physics.test_r3dvs import spectrum_of

from rhoflow.descriptors.hartree_functional import (
    HartreeFunctionalSpec,
    missing_shares,
    summary,
    voxel_energies,
)
from rhoflow.figures.hartree import LABELS, hartree_figure
from rhoflow.figures.style import render


def tables(n: int, poses: int = 2) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    spectra = {f"m{i}": spectrum_of(LATTICE * (1 + 0.1 * i), CENTRES) for i in range(n)}
    spec = HartreeFunctionalSpec(poses=poses)
    records = {name: 100.0 + 10 * i for i, name in enumerate(spectra)}
    energies = voxel_energies(records, spectra, spec)
    return missing_shares(records, spectra, spec.voxels.g_cut), energies, summary(energies)


def test_every_reading_has_a_row_with_its_errors():
    shares, energies, scores = tables(4)
    figure = hartree_figure(shares, energies, scores, 7.854)
    curve, paper, squared, errors = figure.axes
    names = [t.get_text() for t in errors.get_yticklabels()]
    assert len(names) == len(scores[["reading", "deposit"]].drop_duplicates()) == 9
    assert names[0] == LABELS["spots"]
    drawn = np.concatenate([np.asarray(line.get_xdata(), float) for line in errors.lines])
    for column in ("mae_as_it_is_ev_per_atom", "mae_fitted_ev_per_atom"):
        assert set(np.round(scores[column].dropna(), 6)) <= set(np.round(drawn, 6))
    percent = np.concatenate([c.get_offsets() for c in squared.collections])[:, 1]
    wanted = energies[(energies["pose"] == 0) & (energies["reading"] == "squared_per_atom")]
    wanted = wanted[wanted["deposit"] == "nearest"]
    expected = 100 * (wanted["from_descriptor"] / wanted["record"] - 1)
    assert set(np.round(expected, 6)) <= set(np.round(percent.astype(float), 6))
    assert "eV/atom" in errors.get_xlabel()
    assert "1/Å" in curve.get_xlabel()
    assert "%" in paper.get_ylabel()


def test_the_curve_tells_its_values_where_the_descriptor_ends():
    shares, energies, scores = tables(3)
    cut = HartreeFunctionalSpec().voxels.g_cut
    curve = hartree_figure(shares, energies, scores, cut).axes[0]
    at = shares[np.isclose(shares["g_inverse_angstrom"], cut)]["missing_share"]
    legend = curve.get_legend()
    assert legend
    texts = [t.get_text() for t in legend.get_texts()]
    assert f"mean: {100 * at.mean():.2g} %" in texts
    assert f"largest: {100 * at.max():.2g} %" in texts


@pytest.mark.parametrize("poses", [1, 3])
def test_one_oxide_is_drawn_too(poses):
    shares, energies, scores = tables(1, poses)
    assert scores["mae_fitted_ev_per_atom"].isna().all()
    assert render(hartree_figure(shares, energies, scores, 7.854)).startswith(b"<?xml")


def test_equal_data_give_equal_bytes():
    data = tables(2)
    assert render(hartree_figure(*data, 7.854)) == render(hartree_figure(*data, 7.854))
