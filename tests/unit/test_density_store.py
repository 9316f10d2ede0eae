"""What is kept of a density."""

import numpy as np
import pytest

from rhoflow.density.store import DensitySpec, store
from rhoflow.errors import DataError


def test_store_cuts_at_g_store_and_checks_the_electrons(gaussian_spectrum):
    spec = DensitySpec(g_store=6.0)
    kept = store({"a": gaussian_spectrum}, {"a": 16.0}, spec)["a"]
    radius = np.linalg.norm(gaussian_spectrum.g_vectors(), axis=1)
    assert len(kept.hkl) == (radius <= 6.0).sum() < len(radius)
    np.testing.assert_array_equal(kept.coefficients, gaussian_spectrum.coefficients[radius <= 6.0])
    for wrong in (16.01, 15.9995, np.nan):
        with pytest.raises(DataError, match=r"a: its density integrates to 16\.0000"):
            store({"a": gaussian_spectrum}, {"a": wrong}, spec)


def test_a_spectrum_that_ends_before_g_store_is_refused_by_name(gaussian_spectrum):
    with pytest.raises(DataError, match=r"a: its spectrum ends at .* 12\.000 .* 12\.500"):
        store({"a": gaussian_spectrum}, {"a": 16.0}, DensitySpec(g_store=12.5))
