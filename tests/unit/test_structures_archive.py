"""An archive whose rows are damaged: each is a candidate with a reason, none stops the others."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rhoflow import tables
from rhoflow.crystal import Crystal
from rhoflow.dft.shard import to_table
from rhoflow.errors import ConfigError
from rhoflow.structures.archive import (
    ArchiveSource,
    archive_fingerprint,
    archive_steps,
    read_archive,
)
from rhoflow.structures.candidates import ONE_ENTRY
from rhoflow.structures.select import SelectionSpec, select
from rhoflow.structures.sources import source_steps

A = 4.212 / 2


def write_shard(folder, shard="0000", names=("a", "b"), **damage):
    """A shard of MgO twice, one cell of whose first row is replaced."""
    lattice = np.array([[0, A, A], [A, 0, A], [A, A, 0]])
    coords = np.array([[0.0] * 3, [0.5] * 3])
    crystals = [Crystal(name, lattice, ("Mg", "O"), coords) for name in names]
    structures = tables.crystals_to_table(
        crystals, spacegroup_numbers=[225] * len(names), source="x", source_ids=list(names)
    )
    records = [{"material_id": n, "status": "ok"} for n in names]
    costs = [{"material_id": n, "cpu_time_s": 1.0} for n in names]
    table = tables.archive_table(
        structures, to_table(records, tables.DFT_RECORDS), to_table(costs, tables.DFT_COST)
    )
    for column, value in damage.items():
        cells = table[column].astype(object).tolist()
        cells[0] = value
        table[column] = cells
    lax = pa.schema([field.with_nullable(True) for field in tables.ARCHIVE])
    pq.write_table(
        pa.Table.from_pandas(table, schema=lax, preserve_index=False), folder / f"{shard}.parquet"
    )


def read(folder):
    return list(read_archive(ArchiveSource(path=str(folder))))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"lattice_angstrom": [np.nan] * 9}, "not finite"),
        ({"lattice_angstrom": [0.0] * 9}, "cell volume 0"),
        ({"lattice_angstrom": [1.0, 2.0]}, "2 numbers of the lattice"),
        ({"lattice_angstrom": None}, "no lattice, symbols or coordinates"),
        ({"symbols": ["Mg", "Qq"]}, "unknown element Qq"),
        ({"symbols": ["Mg"]}, "6 coordinates for 1 atoms; expected 9 and 3"),
        ({"symbols": []}, "6 coordinates for 0 atoms"),
        ({"frac_coords": [0.0] * 3}, "3 coordinates for 2 atoms"),
        ({"frac_coords": [1e18] * 6}, "fractional coordinate 1e+18"),
        ({"frac_coords": [np.inf] * 6}, "not finite"),
        ({"status": "weird"}, "status 'weird'"),
        ({"status": None}, "entry without status"),
        ({"status": "failed", "reason": "two\nlines"}, "two lines"),
        ({"material_id": None}, "entry without id"),
    ],
)
def test_a_damaged_row_is_a_row_with_a_reason(tmp_path, damage, reason):
    write_shard(tmp_path, **damage)

    bad, good = read(tmp_path)

    assert bad.structure is None
    assert reason in bad.reason
    assert "nan" not in bad.reason
    assert good.structure is not None
    assert good.origin.endswith("0000.parquet#b")


def test_ids_that_repeat_over_shards(tmp_path):
    write_shard(tmp_path, "0000")
    write_shard(tmp_path, "0001", ("b", "c"))
    spec = ArchiveSource(path=str(tmp_path))

    result = select(
        read_archive(spec), SelectionSpec(size=3, drop_duplicates=False), source="archive",
        source_steps=source_steps(spec),
    )  # fmt: skip

    assert sorted(result.structures.source_id) == ["a", "b", "c"]
    assert result.rejected.step.tolist() == [ONE_ENTRY] == [*archive_steps()]
    assert result.structures.set_index("source_id").origin["b"].endswith("0000.parquet#b")


def test_folders_that_are_called_like_shards_are_none(tmp_path):
    for name in ("0000.parquet", "atoms.parquet", "x.npz"):
        (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="holds no shard of an archive"):
        archive_fingerprint(ArchiveSource(path=str(tmp_path)))
    write_shard(tmp_path, "0001")

    assert len(read(tmp_path)) == 2
    assert archive_fingerprint(ArchiveSource(path=str(tmp_path)))


def test_paths_that_are_no_text_and_homes_that_are_none(tmp_path):
    write_shard(tmp_path)
    (tmp_path / "0000.parquet").rename(tmp_path / os.fsdecode(b"\xff.parquet"))
    with pytest.raises(ConfigError, match="is not UTF-8; rename"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="no home folder is known for '~nobody-here'"):
        read("~nobody-here/x")
