"""Kept basis functions against PySCF's own integration."""

import numpy as np
import pytest
from pyscf import dft, gto
from pyscf.dft import numint

from rhoflow.dft import pyscf_xc
from rhoflow.dft.pyscf_xc import KeptFunctions

WATER = "O 0 0 0; H 0 0.757 0.587; H 0 -0.757 0.587"


def field(xc: str = "b3lypg"):
    made = dft.RKS(gto.M(atom=WATER, basis="6-31g(d)", verbose=0), xc=xc).density_fit()
    made.grids.level = 1
    made.kernel()
    return made


def both(made):
    """Electrons, energy and matrix of PySCF and of ours."""
    density, kept = made.make_rdm1(), KeptFunctions()
    first, second = (
        ni.nr_rks(made.mol, made.grids, made.xc, density) for ni in (numint.NumInt(), kept)
    )
    return first, second, kept


@pytest.mark.parametrize("xc", ["b3lypg", "pbe"])
def test_electrons_energy_and_matrix_are_those_of_pyscf(xc):
    (n, energy, matrix), (own_n, own_energy, own_matrix), kept = both(field(xc))
    assert kept._blocks
    assert own_n == pytest.approx(n, abs=1e-10)
    assert own_energy == pytest.approx(energy, abs=1e-10)
    np.testing.assert_allclose(own_matrix, matrix, atol=1e-10)
    assert n == pytest.approx(10, abs=1e-3)


def test_another_grid_has_functions_of_its_own():
    made = field()
    _, _, kept = both(made)
    fine = dft.Grids(made.mol)
    fine.level = 3
    fine.build()
    density = made.make_rdm1()
    expected = numint.NumInt().nr_rks(made.mol, fine, made.xc, density)
    assert kept.nr_rks(made.mol, fine, made.xc, density)[1] == pytest.approx(expected[1], abs=1e-10)


@pytest.mark.parametrize(("xc", "limit"), [("lda", 1500.0), ("pbe", 0.1)])
def test_what_it_does_not_know_or_cannot_keep_is_left_to_pyscf(xc, limit, monkeypatch):
    monkeypatch.setattr(pyscf_xc, "MOST_KEPT_MB", limit)
    (_, energy, _), (_, own_energy, _), kept = both(field(xc))
    assert not kept._blocks
    assert own_energy == energy
