"""Free atoms of GPAW's PAW sets, and self-consistent runs from given densities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gpaw.new.calculation import DFT

from rhoflow import io, tables
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, from_grid, truncate
from rhoflow.dft import gpaw_scf, gpaw_start
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.gpaw_density import atomic_form_factors, form_factors
from rhoflow.dft.starts import compare_starts
from rhoflow.errors import DataError, EngineError

pytestmark = pytest.mark.dft

SPEC = GPAWSpec(cutoff_ev=300, kpoint_density=0.8)
RUTILE = Crystal(
    "TiO2",
    np.diag([4.594, 4.594, 2.959]),
    ("Ti",) * 2 + ("O",) * 4,
    np.array(
        [
            [0, 0, 0],
            [0.5, 0.5, 0.5],
            [0.305, 0.305, 0],
            [0.695, 0.695, 0],
            [0.805, 0.195, 0.5],
            [0.195, 0.805, 0.5],
        ]
    ),
)
# International Tables for Crystallography C, table 6.1.1.1: sin θ/λ (1/Å), scattering factor.
HELIUM = [(0.0, 2.0), (0.05, 1.957), (0.1, 1.832)]


def superposed(crystal: Crystal, hkl: np.ndarray, g: np.ndarray, spec: GPAWSpec) -> np.ndarray:
    """(n,) e/Å³: Σ_a f_a(g) exp(-i g·R_a) / V."""
    factors = form_factors(crystal.symbols, spec, np.linalg.norm(g, axis=1))  # (n_atoms, n)
    phases = np.exp(-2j * np.pi * crystal.frac_coords @ hkl.T)
    return (factors * phases).sum(axis=0) / crystal.volume


def gpaws_own(crystal: Crystal) -> Spectrum:
    """The density that GPAW begins with, inside 6 1/Å."""
    with Path("/dev/null").open("w") as log:
        atoms, calculator = gpaw_scf.prepare(crystal, SPEC, (1, 1, 1), log)
        dft = DFT.from_parameters(
            atoms, calculator.params, calculator.comm, calculator.log, converge=False
        )
        density = dft.densities().pseudo_densities(grid_refinement=2, add_compensation_charges=True)
    return from_grid(density.data.sum(axis=0), crystal.lattice, crystal.n_atoms, 6.0)


@pytest.mark.parametrize("name", ["mgo", "rutile"])
def test_superposed_atoms_are_those_that_gpaw_begins_with(name, mgo):
    crystal = mgo if name == "mgo" else RUTILE
    own = gpaws_own(crystal)
    ours = superposed(crystal, own.hkl, own.g_vectors(), SPEC)
    difference = np.abs(ours - own.coefficients)
    # GPAW cuts waves off at 8 Bohr and scales the cell, by 1.006 and 1.004.
    assert np.sqrt((difference**2).sum() / (np.abs(own.coefficients) ** 2).sum()) < 0.0025
    assert difference.max() * crystal.volume < 0.05
    # The bounds are tight: atoms moved by some hundredths of an Å miss by far more.
    shifted = replace(crystal, frac_coords=crystal.frac_coords * 1.02)
    moved = superposed(shifted, own.hkl, own.g_vectors(), SPEC)
    assert np.abs(moved - own.coefficients).max() > 5 * difference.max()


def test_helium_scatters_as_tabulated_and_mg_and_ti_hold_their_electrons():
    s, expected = np.array(HELIUM).T
    assert form_factors(["He"], SPEC, 4 * np.pi * s)[0] == pytest.approx(expected, rel=0.005)
    electrons = form_factors(["O", "Mg", "Ti"], SPEC, np.zeros(1))[:, 0]
    assert electrons == pytest.approx([6, 10, 12], abs=1e-9)
    softer = GPAWSpec(setups={"Mg": "2"})
    assert form_factors(["Mg"], softer, np.zeros(1))[0, 0] == pytest.approx(2, abs=1e-9)


def test_an_element_without_a_set_is_named():
    with pytest.raises(EngineError, match="no PAW set for Tc"):
        form_factors(["O", "Tc"], SPEC, np.zeros(1))


def test_the_archive_ships_its_free_atoms():
    folder = Path(__file__).parents[2] / "resources" / "oxides"
    kept = io.read_table(folder / tables.ARCHIVE_ATOM_DENSITIES, tables.ATOM_DENSITIES)
    settings = io.read_spec(folder / tables.ARCHIVE_ATOM_DENSITIES)["engine"]
    assert settings == io.read_spec(folder / "0001.parquet")["engine"]
    elements = io.read_table(folder / tables.ARCHIVE_ATOMS, tables.ATOMS)["element"]
    assert list(kept["element"]) == list(elements)
    kept = kept.set_index("element")
    again = atomic_form_factors(["Mg", "O"], GPAWSpec.model_validate(settings))
    for _, row in again.iterrows():
        stored = kept.loc[row["element"]]
        assert stored["form_factor"] == pytest.approx(row["form_factor"], abs=1e-9)
        assert len(stored["form_factor"]) == 241


@pytest.fixture(scope="module")
def converged(tmp_path_factory) -> tuple[Crystal, Spectrum, float]:
    """Crystal, its self-consistent density inside 9 1/Å, energy."""
    a = 4.21 / 2
    lattice = np.array([[0, a, a], [a, 0, a], [a, a, 0]])
    crystal = Crystal("MgO", lattice, ("Mg", "O"), np.array([[0.0] * 3, [0.5] * 3]))
    result = gpaw_scf.run(crystal, SPEC, tmp_path_factory.mktemp("scf") / "log.txt")
    assert result.spectrum is not None
    return crystal, truncate(result.spectrum, 9.0), result.record["total_energy_ev"]


def test_the_converged_density_saves_iterations_and_leads_to_the_same_energy(converged, tmp_path):
    crystal, density, energy = converged
    broken = replace(density, coefficients=density.coefficients * np.float32(np.nan))
    starts = {"converged": {"MgO": density}, "broken": {"MgO": broken}, "other": {"CaO": density}}
    runs = compare_starts([crystal], SPEC, starts, done_folder=tmp_path / "done", workers=2)
    assert list(runs.columns) == tables.START_RUNS.names
    runs = runs.set_index("start")
    assert list(runs.index) == ["superposed atoms", "converged", "broken"]
    atoms, own = runs.loc["superposed atoms"], runs.loc["converged"]
    assert (atoms["status"], own["status"]) == ("ok", "ok")
    # Superposed atoms are the engine's own start: the very same run.
    assert atoms["total_energy_ev"] == pytest.approx(energy, abs=1e-9)
    assert own["total_energy_ev"] == pytest.approx(energy, abs=16 * SPEC.energy_tolerance_ev)
    assert own["iterations"] < atoms["iterations"]
    assert own["seconds"] > 0
    assert runs.loc["broken", "status"] == "failed"
    assert "not finite" in runs.loc["broken", "reason"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda s: replace(s, lattice=s.lattice * 1.01), "another lattice"),
        (lambda s: replace(s, n_atoms=4), "4 atoms"),
        (lambda s: replace(s, coefficients=s.coefficients * 1.1), "17.600 electrons"),
    ],
    ids=["lattice", "atoms", "electrons"],
)
def test_a_density_of_something_else_is_refused(converged, tmp_path, wrong, message):
    crystal, density, _ = converged
    with (tmp_path / "log").open("w") as log, pytest.raises(DataError, match=message):
        gpaw_start.iterations(crystal, SPEC, wrong(density), log)
