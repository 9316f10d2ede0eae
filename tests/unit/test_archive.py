"""An archive: written from a shard's tables, read as a source and as an engine."""

import numpy as np
import pytest

from rhoflow import io, tables
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import from_grid
from rhoflow.dft.archive import ArchiveSpec
from rhoflow.dft.atoms import run_atoms
from rhoflow.dft.shard import run_shard, to_table
from rhoflow.errors import ConfigError, DataError
from rhoflow.structures.archive import ArchiveSource, archive_fingerprint, read_archive
from rhoflow.structures.select import SelectionSpec, select

SOURCE = "prototypes"


def rocksalt(name: str, cation: str, a: float) -> Crystal:
    lattice = np.array([[0, a, a], [a, 0, a], [a, a, 0]]) / 2
    return Crystal(name, lattice, (cation, "O"), np.array([[0.0] * 3, [0.5] * 3]))


def field(crystal: Crystal, seed: int):
    values = np.random.default_rng(seed).random((8, 8, 8))
    return from_grid(values, crystal.lattice, crystal.n_atoms, 4.0)


@pytest.fixture
def archive(tmp_path):
    """Three oxides in two shards, one of which has failed; its folder and its crystals."""
    crystals = [rocksalt("a", "Mg", 4.26), rocksalt("b", "Ca", 4.84), rocksalt("c", "Sr", 5.2)]
    for shard, members in (("0000", crystals[:2]), ("0001", crystals[2:])):
        structures = tables.crystals_to_table(
            members,
            spacegroup_numbers=[225] * len(members),
            source=SOURCE,
            source_ids=[c.material_id for c in members],
        )
        records = to_table([record(c) for c in members], tables.DFT_RECORDS)
        cost = to_table(
            [{"material_id": c.material_id, "cpu_time_s": 7.5} for c in members], tables.DFT_COST
        )
        table = tables.archive_table(structures, records, cost)
        io.write_table(tmp_path / f"{shard}.parquet", table, tables.ARCHIVE)
        done = [c for c in members if c.material_id != "b"]
        for name, seed in (("density", 1), ("potential", 2)):
            spectra = {c.material_id: field(c, seed) for c in done}
            io.write_spectra(tmp_path / f"{shard}.{name}.npz", spectra, field=name)
    atom = {"element": "Mg", "status": "ok", "method": "boxed atom", "energy_ev": -0.5}
    io.write_table(tmp_path / "atoms.parquet", to_table([atom], tables.ATOMS), tables.ATOMS)
    return tmp_path, crystals


def record(crystal: Crystal) -> dict:
    if crystal.material_id == "b":
        return {"material_id": "b", "status": "failed", "reason": "time limit of 30 min"}
    return {
        "material_id": crystal.material_id,
        "status": "ok",
        "engine": "gpaw",
        "engine_version": "26.7.0",
        "n_atoms": 2,
        "hartree_energy_ev": 50.0,
        "bulk_modulus_gpa": 155.0,
        "volume_angstrom3": crystal.volume,
        "eos_volumes_angstrom3": [1.0, 2.0],
    }


def test_a_data_set_from_an_archive_holds_what_the_archive_holds(archive, tmp_path):
    folder, crystals = archive
    chosen = select(
        read_archive(ArchiveSource(path=str(folder))), SelectionSpec(size=2), source="archive"
    )
    assert set(chosen.structures["source_id"]) == {"a", "c"}
    assert chosen.rejected["reason"].tolist() == ["time limit of 30 min"]
    spec = ArchiveSpec(path=str(folder))
    done = tmp_path / "never"
    result = run_shard(tables.table_to_crystals(chosen.structures), spec, done_folder=done)
    assert not done.exists()
    by_id = dict(zip(chosen.structures["source_id"], result.crystals, strict=True))
    for original in (crystals[0], crystals[2]):
        found = by_id[original.material_id]
        # Turned as the selection turns every cell.
        metrics = [c.lattice @ c.lattice.T for c in (found, original)]
        assert metrics[0] == pytest.approx(metrics[1], abs=1e-5)
        assert found.symbols == original.symbols
        for kept, seed in ((result.densities, 1), (result.potentials, 2)):
            assert np.array_equal(
                kept[found.material_id].coefficients, field(original, seed).coefficients
            )
    assert result.records["engine"].tolist() == ["gpaw"] * 2
    assert result.records["engine_version"].tolist() == ["26.7.0"] * 2
    assert result.records["n_atoms"].tolist() == [2, 2]
    assert result.records["bulk_modulus_gpa"].tolist() == [155.0] * 2
    assert result.records["eos_volumes_angstrom3"][0].tolist() == [1.0, 2.0]
    assert result.cost["cpu_time_s"].tolist() == [7.5] * 2


def test_atoms_come_from_the_archive_too(archive, tmp_path):
    atoms = run_atoms(["Mg", "O"], ArchiveSpec(path=str(archive[0])), done_folder=tmp_path / "no")
    assert atoms["energy_ev"].tolist()[0] == -0.5
    assert atoms.loc[1, ["status", "reason"]].tolist() == ["failed", "not in the archive"]


@pytest.mark.parametrize("origin", [None, "", "no-such-file.parquet#a", "{folder}/0000.parquet#z"])
def test_an_entry_that_is_not_there_is_a_row_with_a_reason(archive, tmp_path, origin):
    folder = archive[0]
    crystal = Crystal(
        "x",
        archive[1][0].lattice,
        ("Mg", "O"),
        archive[1][0].frac_coords,
        origin=origin and origin.format(folder=folder),
    )
    result = run_shard([crystal], ArchiveSpec(path=str(folder)), done_folder=tmp_path)
    assert result.records.loc[0, "status"] == "failed"
    assert result.records.loc[0, "reason"]
    assert result.densities == {}


def test_a_damaged_archive_is_an_error_and_an_empty_folder_too(archive, tmp_path):
    folder = archive[0]
    before = archive_fingerprint(ArchiveSource(path=str(folder)))
    (folder / "0001.parquet").write_bytes(b"PAR1 no")
    assert archive_fingerprint(ArchiveSource(path=str(folder))) != before
    with pytest.raises(DataError, match=r"0001\.parquet: is damaged .* fetch this file"):
        list(read_archive(ArchiveSource(path=str(folder))))
    with pytest.raises(ConfigError, match="holds no shard of an archive"):
        list(read_archive(ArchiveSource(path=str(tmp_path / "nothing"))))
