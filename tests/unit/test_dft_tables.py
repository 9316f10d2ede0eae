"""Targets, reasons, specs and digests: no calculation runs here."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from rhoflow import tables
from rhoflow.crystal import Crystal
from rhoflow.dft import base, gpaw, jobs
from rhoflow.dft.base import structure_identity
from rhoflow.dft.shard import crystal_jobs, run_shard, to_table
from rhoflow.dft.targets import check_ok_fraction, targets
from rhoflow.errors import ConfigError, DataError

SPEC = gpaw.GPAWSpec()


def record(name: str, status: str = "ok", n_atoms: int = 2, **values) -> dict:
    terms = {
        "total_energy_ev": -12.0,
        "one_electron_energy_ev": -30.0,
        "hartree_energy_ev": 50.0,
        "xc_energy_ev": -20.0,
        "xc_potential_energy_ev": -26.0,
        "ion_energy_ev": -80.0,
        "band_gap_ev": 4.5,
    }
    known = {**terms, **values} if status == "ok" else {}
    return {"material_id": name, "status": status, "n_atoms": n_atoms, **known}


def atom(element: str, energy: float | None) -> dict:
    status = "ok" if energy is not None else "failed"
    return {"element": element, "status": status, "energy_ev": energy}


def test_targets_per_atom():
    records = to_table([record("a"), record("b", n_atoms=4)], tables.DFT_RECORDS)
    atoms = to_table([atom("Mg", 0.0), atom("O", -1.5)], tables.ATOMS)
    out = targets(records, atoms, {"a": {"Mg": 1, "O": 1}, "b": {"Mg": 2, "O": 2}})
    assert list(out.columns) == tables.TARGET_TABLE.names
    assert out.iloc[0, 1:7].tolist() == [25.0, 3.0, -40.0, -15.0, (-1.5 + 12.0) / 2, 4.5]
    assert out.iloc[1, 1:7].tolist() == [12.5, 1.5, -20.0, -7.5, (-3.0 + 12.0) / 4, 4.5]


def test_targets_of_bulk_and_bands():
    known = {"volume_angstrom3": 18.67, "bulk_modulus_gpa": 160.0, "valence_band_width_ev": 4.5}
    insulator = {**record("a"), **known, "valence_band_maximum_ev": 3.0, "fermi_level_ev": 5.0}
    metal = {**record("b"), **known, "valence_band_maximum_ev": None, "fermi_level_ev": 5.0}
    out = targets(
        to_table([insulator, metal], tables.DFT_RECORDS),
        to_table([atom("Mg", 0.0), atom("O", -1.5)], tables.ATOMS),
        {name: {"Mg": 1, "O": 1} for name in "ab"},
    )
    assert out["fermi_energy_ev"].tolist() == [3.0, 5.0]
    assert out["volume_angstrom3_per_atom"].tolist() == [18.67 / 2] * 2
    assert out["bulk_modulus_gpa"].tolist() == [160.0] * 2
    # Periclase: 3.58 g/cm³ at 74.7 Å³ for four formula units.
    assert out["mass_density_g_per_cm3"].to_numpy() == pytest.approx(3.58, abs=0.01)


def test_targets_are_null_where_nothing_is_known():
    records = to_table(
        [record("a"), record("b", "failed"), record("c", "not_converged")], tables.DFT_RECORDS
    )
    atoms = to_table([atom("Co", None), atom("O", -1.5)], tables.ATOMS)
    out = targets(records, atoms, {i: {"Co": 1, "O": 1} for i in "abc"})
    assert out["material_id"].tolist() == ["a", "b", "c"]
    assert np.isnan(out.loc[0, "cohesive_energy_ev_per_atom"])
    assert out.loc[0, "hartree_energy_ev_per_atom"] == 25.0
    assert out.iloc[1:, 1:].isna().all(axis=None)


def test_targets_want_every_composition():
    records = to_table([record("a")], tables.DFT_RECORDS)
    with pytest.raises(DataError, match=r"no composition for \['a'\]"):
        targets(records, tables.empty(tables.ATOMS), {})


def test_ok_fraction_lists_reasons():
    rows = [record("a"), *({**record(i, "failed"), "reason": "no PAW set for Tc"} for i in "bc")]
    records = to_table([*rows, record("d", "not_converged")], tables.DFT_RECORDS)
    check_ok_fraction(records, 0.25, "set")
    expected = r"dataset set: 1 of 4 .* at least 50% .* 2 x no PAW set for Tc; 1 x not_converged"
    with pytest.raises(DataError, match=expected):
        check_ok_fraction(records, 0.5, "set")
    with pytest.raises(DataError, match="no structure was calculated"):
        check_ok_fraction(records.iloc[:0], 0.0, "set")


def test_statuses_are_those_of_the_tables():
    statuses = {tables.STATUS_OK, tables.STATUS_NOT_CONVERGED, tables.STATUS_FAILED}
    assert set(base.Status.__args__) == statuses
    assert set(jobs.KEPT) == statuses - {tables.STATUS_FAILED}


def test_reasons_in_plain_words():
    missing = FileNotFoundError('Could not find required PAW dataset file "Tc.PBE".\n\nYou need')
    assert gpaw.short_reason(missing) == "no PAW set for Tc"
    softer = FileNotFoundError('Could not find required PAW dataset file "Mg.9.PBE".')
    assert gpaw.short_reason(softer) == "no PAW set for Mg.9"
    assert gpaw.short_reason(MemoryError("x")) == "out of memory"
    assert gpaw.short_reason(ValueError("one\ntwo")) == "ValueError: one"
    assert gpaw.short_reason(AssertionError()) == "AssertionError"


@pytest.mark.parametrize(
    "wrong",
    [
        {"cutoff_ev": 0},
        {"setups": {"Xx": "2"}},
        {"spin_polarised": True},
        {"initial_moments": {"Fe": 5.0}},
        {"cutof_ev": 500},
        {"kpoint_density": float("inf")},
    ],
)
def test_spec_refuses(wrong):
    with pytest.raises(ValidationError):
        gpaw.GPAWSpec(**wrong)


def test_unknown_engine_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'gpaw'"):
        base.load_engine("gpav")


def digest_of(crystal: Crystal, **settings) -> str:
    return crystal_jobs([crystal], gpaw.GPAWSpec(**settings))[0].digest


def test_digest_knows_the_structure_not_its_name_or_orientation(mgo):
    turned = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 1.5 + np.eye(3))[0]
    same = Crystal("../other name", mgo.lattice @ turned, mgo.symbols, mgo.frac_coords - 1.0)
    assert digest_of(same) == digest_of(mgo)
    larger = Crystal("MgO", mgo.lattice * 1.0001, mgo.symbols, mgo.frac_coords)
    assert digest_of(larger) != digest_of(mgo)
    swapped = Crystal("MgO", mgo.lattice, mgo.symbols[::-1], mgo.frac_coords)
    assert digest_of(swapped) != digest_of(mgo)


def test_canonical_forgets_noise_below_the_rounding(mgo):
    noisy = mgo.frac_coords + np.array([[-1e-9, 0, 1e-9], [0, -1e-9, 0]])
    assert structure_identity(Crystal("x", mgo.lattice, mgo.symbols, noisy)) == structure_identity(
        mgo
    )


def test_digest_knows_the_engine_version_and_small_shifts(mgo, monkeypatch):
    before = digest_of(mgo)
    shifted = mgo.frac_coords + np.array([[0, 0, 0], [1e-4, 0, 0]])
    assert digest_of(Crystal("MgO", mgo.lattice, mgo.symbols, shifted)) != before
    monkeypatch.setattr(gpaw, "version", lambda: "another")
    assert digest_of(mgo) != before


DECIDE_CRYSTALS_AND_ATOMS = {
    "cutoff_ev": 501.0,
    "smearing_ev": 0.1,
    "energy_tolerance_ev": 1e-4,
    "density_tolerance": 1e-3,
    "eigenstates_tolerance_ev2": 1e-4,
    "max_iterations": 50,
    "eigensolver": "ppcg",
    "setups": {"Mg": "2"},
}
DECIDE_CRYSTALS = {
    "kpoint_density": 2.0,
    "empty_bands_percent": 30.0,
    "min_empty_bands": 5,
    "equation_of_state": {"points": 7},
}
DECIDE_ATOMS = {"boxed_atoms": ("O", "N"), "box_angstrom": 8.0}
DECIDE_NOTHING = {"time_limit_min": 5.0, "min_ok_fraction": 0.1}
GO_TOGETHER = ("spin_polarised", "initial_moments")
WITH_ONE_VALUE = ("kind", "algorithm", "functional")


def test_every_setting_enters_the_digest_that_it_decides(mgo):
    groups = (DECIDE_CRYSTALS_AND_ATOMS, DECIDE_CRYSTALS, DECIDE_ATOMS, DECIDE_NOTHING)
    names = [name for group in (*groups, GO_TOGETHER, WITH_ONE_VALUE) for name in group]
    assert sorted(names) == sorted(gpaw.GPAWSpec.model_fields)
    for group in groups:
        for name, value in group.items():
            changed = gpaw.GPAWSpec.model_validate({name: value})
            crystals = digest_of(mgo, **{name: value}) != digest_of(mgo)
            atoms = changed.atom_settings() != SPEC.atom_settings()
            assert crystals == (group in (DECIDE_CRYSTALS_AND_ATOMS, DECIDE_CRYSTALS)), name
            assert atoms == (group in (DECIDE_CRYSTALS_AND_ATOMS, DECIDE_ATOMS)), name


def test_moments_enter_the_digest_of_crystals_alone(mgo):
    low, high = ({"spin_polarised": True, "initial_moments": {"Mg": m}} for m in (1.0, 2.0))
    assert len({digest_of(mgo), digest_of(mgo, **low), digest_of(mgo, **high)}) == 3
    assert gpaw.GPAWSpec.model_validate(low).atom_settings() == SPEC.atom_settings()


def test_ids_must_be_unique(mgo, tmp_path):
    with pytest.raises(DataError, match=r"occur twice: \['MgO'\]"):
        run_shard([mgo, mgo], SPEC, done_folder=tmp_path)


def test_no_structures_no_rows(tmp_path):
    result = run_shard([], SPEC, done_folder=tmp_path)
    assert list(result.records.columns) == tables.DFT_RECORDS.names
    assert list(result.cost.columns) == tables.DFT_COST.names
    assert len(result.records) == len(result.cost) == 0
    assert not result.crystals
    assert not result.densities


@pytest.mark.parametrize("module", ["rhoflow.dft.worker", "rhoflow.dft.gpaw_scf"])
def test_worker_imports_nothing_that_it_does_not_need(module):
    code = f"import sys, {module}; print([m for m in ('pandas', 'pymatgen') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=jobs._environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_config_needs_no_gpaw():
    code = "import sys; sys.modules['gpaw'] = None; from rhoflow.dft.gpaw import GPAWSpec"
    subprocess.run([sys.executable, "-c", code], env=jobs._environment(), check=True)


def test_records_fit_their_table():
    row = to_table([record("a")], tables.DFT_RECORDS)
    assert isinstance(row, pd.DataFrame)
    assert list(row.columns) == tables.DFT_RECORDS.names
