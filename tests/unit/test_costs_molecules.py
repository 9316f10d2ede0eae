"""Expected costs of molecules, and of the networks that read them."""

import numpy as np
import pandas as pd
import pytest
import torch
from ase.build import molecule as g2

from rhoflow.costs import fits
from rhoflow.costs.molecules import FUNCTIONS, functions, molecules_resources
from rhoflow.costs.resources import LEAST_MINUTES, PARENT_MB
from rhoflow.descriptors.geometry import GeometrySpec, MoleculeSet, molecule_set
from rhoflow.dft.given import GivenSpec
from rhoflow.dft.pyscf import PySCFSpec
from rhoflow.models.base import Start
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec
from rhoflow.molecule import Molecule
from rhoflow.training.spec import OptimiserSpec

FITTED = PySCFSpec().crystal_settings()
EXACT = PySCFSpec(density_fitting=False).crystal_settings()


def rows(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"symbols": [g2(n).get_chemical_symbols() for n in names]})


@pytest.mark.parametrize("basis", FUNCTIONS)
def test_basis_functions_are_pyscfs_own(basis):
    from pyscf import gto

    names = ["H2O", "CH3CH2OH", "SiH4", "HF"]
    own = []
    for name in names:
        atoms = zip(g2(name).get_chemical_symbols(), g2(name).get_positions().tolist(), strict=True)
        own.append(gto.M(atom=list(atoms), basis=basis, verbose=0).nao)
    assert functions(rows(*names), basis).tolist() == own


def test_requests_grow_with_molecules_exact_integrals_fields_and_attempts():
    many = rows(*["C6H6"] * 400)
    fitted = molecules_resources(many, FITTED, threads=2)
    assert fitted.minutes > LEAST_MINUTES
    assert molecules_resources(many, EXACT, threads=2).minutes > 3 * fitted.minutes
    assert molecules_resources(many, EXACT, threads=2).memory_mb > 2 * fitted.memory_mb
    polar = PySCFSpec(polarizability=True).crystal_settings()
    assert molecules_resources(many, polar, threads=2).minutes > 3 * fitted.minutes
    assert molecules_resources(many, FITTED, threads=2, attempt=2).minutes > fitted.minutes
    limited = molecules_resources(many, EXACT, threads=2, time_limit_s=1.0)
    assert limited.minutes == LEAST_MINUTES


def test_memory_is_that_of_measured_molecules():
    """17 atoms with 190 functions took 632 MB, 14 with 322 took 1,335 MB."""
    light = pd.DataFrame({"symbols": [["C"] * 5 + ["H"] * 12]})  # 190 functions
    heavy = pd.DataFrame({"symbols": [["C"] * 12 + ["H"] * 2]})  # 322 functions
    for table, measured in ((light, 632), (heavy, 1335)):
        asked = molecules_resources(table, FITTED).memory_mb - PARENT_MB
        assert measured * 0.9 < asked < measured * 1.5


def test_what_a_source_knows_costs_next_to_nothing():
    told = molecules_resources(rows(*["H2O"] * 20_000), GivenSpec().crystal_settings())
    assert told.minutes == LEAST_MINUTES
    assert told.memory_mb < PARENT_MB + 500


def fit_of(model: QDFSpec | GCNSpec) -> fits.Fit:
    return fits.Fit(GeometrySpec(), model, n=100, targets=1, seeds=1, volume=0.0)


def test_operations_of_a_field_are_about_torchs_own(monkeypatch):
    from torch.utils.flop_counter import FlopCounterMode

    from rhoflow.models.qdf.fit import fit

    spec = QDFSpec(optimiser=OptimiserSpec(epochs=1, batch_size=4))
    atoms = g2("CH3CH2OH")
    symbols = tuple(atoms.get_chemical_symbols())
    ethanol: MoleculeSet = molecule_set(
        [Molecule(str(i), symbols, atoms.get_positions()) for i in range(4)]
    )
    monkeypatch.setattr(fits, "ATOMS", len(atoms))
    torch.manual_seed(0)
    with FlopCounterMode(display=False) as counted:
        fit(spec, ethanol, np.arange(4.0)[:, None], Start(extensive=(True,)))
    expected = 3 * 4 * fits.field_flop(spec)
    # Where the map is interpolated, few of its points are computed.
    assert 0.5 < counted.get_total_flops() / expected < 1.2


def test_trainings_of_fields_and_graphs_cost_something_and_grow():
    short, long = (QDFSpec(optimiser=OptimiserSpec(epochs=e, batch_size=4)) for e in (1, 10))
    assert fit_of(long).training().flop == pytest.approx(10 * fit_of(short).training().flop)
    assert fit_of(short).training().memory_mb > 0
    assert 0 < fit_of(GCNSpec()).training().flop < fit_of(QDFSpec()).training().flop / 10
    assert fit_of(short).prediction(50).flop == pytest.approx(50 * fits.field_flop(short))
