"""Real calculations with GPAW, few and small."""

import numpy as np
import pytest
from ase.units import Ha

from rhoflow import io, tables
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import hartree_energy
from rhoflow.dft import gpaw, gpaw_scf
from rhoflow.dft.atoms import run_atoms
from rhoflow.dft.shard import run_shard
from rhoflow.dft.targets import targets

pytestmark = pytest.mark.dft

SPEC = gpaw.GPAWSpec()


@pytest.fixture(scope="module")
def rocksalt() -> Crystal:
    a = 4.21 / 2
    lattice = np.array([[0, a, a], [a, 0, a], [a, a, 0]])
    return Crystal("MgO", lattice, ("Mg", "O"), np.array([[0.0] * 3, [0.5] * 3]))


@pytest.fixture(scope="module")
def shard(rocksalt, tmp_path_factory):
    """MgO, and an element without a PAW set; the folder of what is done."""
    folder = tmp_path_factory.mktemp("done")
    tc = Crystal("TcO", rocksalt.lattice, ("Tc", "O"), rocksalt.frac_coords)
    return [rocksalt, tc], folder, run_shard([rocksalt, tc], SPEC, done_folder=folder, workers=2)


@pytest.fixture(scope="module")
def mgo_record(shard) -> dict:
    records, _, _ = shard[2]
    return records.iloc[0].to_dict()


def test_mgo_record(mgo_record):
    assert mgo_record["status"] == "ok"
    assert None not in [mgo_record[k] for k in tables.DFT_RECORDS.names if k != "reason"]
    # PBE at this lattice constant: literature 4.4 to 4.8 eV.
    assert mgo_record["band_gap_ev"] == pytest.approx(4.71, abs=0.03)
    assert mgo_record["total_energy_ev"] == pytest.approx(-11.7758, abs=0.002)
    assert mgo_record["valence_band_maximum_ev"] < mgo_record["fermi_level_ev"]
    assert mgo_record["n_kpoints"] == 16


def test_mgo_density(shard, rocksalt, mgo_record):
    spectrum = shard[2][2]["MgO"]
    assert mgo_record["n_valence_electrons"] == 16
    assert spectrum.n_electrons == pytest.approx(16, abs=1e-4)
    assert np.array_equal(spectrum.lattice, rocksalt.lattice)
    assert hartree_energy(spectrum) == pytest.approx(mgo_record["hartree_energy_ev"], rel=1e-12)
    assert hartree_energy(spectrum) == pytest.approx(567.91, abs=0.1)
    # The rocksalt structure is centred on both atoms: every coefficient is real.
    s = spectrum.coefficients
    assert np.abs(s.imag).max() < 1e-6 * np.abs(s).max()


def test_missing_paw_set_is_a_row_with_a_reason(shard):
    records, costs, spectra = shard[2]
    assert records.loc[1, ["material_id", "status", "reason"]].tolist() == [
        "TcO",
        "failed",
        "no PAW set for Tc",
    ]
    assert list(spectra) == ["MgO"]
    assert costs["material_id"].tolist() == ["MgO", "TcO"]
    assert (costs["peak_memory_mb"] > 20).all()


def test_second_run_finds_the_first_and_a_fresh_one_gives_equal_bytes(shard, tmp_path):
    crystals, folder, (records, costs, spectra) = shard
    renamed = Crystal("again", crystals[0].lattice, crystals[0].symbols, crystals[0].frac_coords)
    found_records, found_costs, _ = run_shard([renamed], SPEC, done_folder=folder)
    fresh_records, _, fresh_spectra = run_shard(crystals[:1], SPEC, done_folder=tmp_path / "new")
    assert found_costs.loc[0, "cpu_time_s"] == costs.loc[0, "cpu_time_s"]
    assert found_records.drop(columns="material_id").equals(
        fresh_records.drop(columns="material_id")
    )
    for name, rows, density in (
        ("a", records[:1], {"MgO": spectra["MgO"]}),
        ("b", fresh_records, fresh_spectra),
    ):
        io.write_table(tmp_path / f"{name}.parquet", rows, tables.DFT_RECORDS)
        io.write_spectra(tmp_path / f"{name}.npz", density)
    for suffix in ("parquet", "npz"):
        first, second = (tmp_path / f"{n}.{suffix}" for n in "ab")
        assert first.read_bytes() == second.read_bytes()


def test_cohesive_energy_of_mgo(shard, tmp_path):
    atoms = run_atoms(["O", "Mg"], SPEC, done_folder=tmp_path, workers=2)
    assert atoms["element"].tolist() == ["Mg", "O"]
    assert atoms["method"].tolist() == ["all-electron atom", "boxed atom"]
    assert atoms["energy_ev"].tolist() == pytest.approx([0.0, -1.666], abs=2e-3)
    table = targets(shard[2][0], atoms, {i: {"Mg": 1, "O": 1} for i in ("MgO", "TcO")})
    assert table.loc[0, "cohesive_energy_ev_per_atom"] == pytest.approx(5.06, abs=0.01)
    assert table.iloc[1, 1:].isna().all()


def test_spin_correction_of_an_open_shell(tmp_path):
    # PBE, spherical atoms: H from -12.48 (paired) to -13.60 eV (exact -13.606).
    row = gpaw.atomic_reference("H", SPEC, tmp_path / "log.txt")
    assert row["status"] == "ok"
    assert row["energy_ev"] == pytest.approx(-1.12, abs=0.01)


def test_any_orientation_and_handedness(tmp_path):
    """Axes in negative directions break GPAW's drawing of orthorhombic cells into its log."""
    a = 2.66
    spec = gpaw.GPAWSpec(kpoint_density=0.8, cutoff_ev=400)
    frac = np.array([[0.0] * 3, [0.5, 0.5, 0.47]])
    cells = {
        "ordinary": np.diag([a, a, 1.1 * a]),
        "negative": np.diag([-a, -a, 1.1 * a]),
        "left-handed": np.array([[0, -a, 0], [-a, 0, 0], [0, 0, -1.1 * a]]),
    }
    results = [
        gpaw.calculate(Crystal(name, cell, ("Mg", "O"), frac), spec, tmp_path / "log.txt")
        for name, cell in cells.items()
    ]
    assert [r.record["status"] for r in results] == ["ok"] * 3
    energies = [k for k in results[0].record if k.endswith("_ev")]
    reference = results[0].spectrum
    assert reference is not None
    for name, result in zip(cells, results, strict=True):
        assert result.spectrum is not None
        assert np.array_equal(result.spectrum.lattice, cells[name])
        for key in energies:
            assert result.record[key] == pytest.approx(results[0].record[key], abs=1e-4), key
        assert np.array_equal(result.spectrum.hkl, reference.hkl)
        difference = np.abs(result.spectrum.coefficients - reference.coefficients)
        assert difference.max() < 1e-5 * np.abs(reference.coefficients).max()


def test_not_converged_and_failed_are_data(rocksalt, tmp_path):
    hasty = gpaw.GPAWSpec(max_iterations=5, energy_tolerance_ev=1e-9, kpoint_density=0.5)
    result = gpaw.calculate(rocksalt, hasty, tmp_path / "log.txt")
    assert result.record["status"] == "not_converged"
    assert result.record["reason"] == "not self-consistent after 5 iterations"
    assert result.spectrum is None
    flat = Crystal("flat", np.diag([3.0, 3.0, 0.0]), ("Mg", "O"), rocksalt.frac_coords)
    record = gpaw.calculate(flat, SPEC, tmp_path / "log.txt").record
    assert (record["status"], record["n_atoms"]) == ("failed", 2)
    assert record["reason"].startswith("LinAlgError: ")


def test_one_electron_sum_is_that_of_gpaw_and_of_either_spin_treatment(tmp_path):
    """Lone O in a small cell, spin-paired and with spin: GPAW's own band energy each time."""
    crystal = Crystal("O", np.diag([3.0, 3.2, 3.4]), ("O",), np.array([[0.5] * 3]))
    for moments in ({}, {"O": 2.0}):
        spec = gpaw.GPAWSpec(
            kpoint_density=0.1,
            cutoff_ev=300,
            density_tolerance=0.02,
            spin_polarised=bool(moments),
            initial_moments=moments,
        )
        calculator = gpaw_scf.converge(crystal, spec, tmp_path / "log.txt")
        raw = gpaw_scf.read(calculator)
        band = calculator.dft.energies._energies["band"] * Ha
        assert raw.one_electron_energy == pytest.approx(band, abs=1e-6)
        assert raw.density.shape[0] == 1 + bool(moments)
        assert raw.charges.tolist() == [6.0]
