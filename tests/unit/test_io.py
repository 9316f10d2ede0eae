"""Files: whole or absent, never mixed, never unpickled, equal bytes for equal content."""

import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rhoflow import io
from rhoflow.density.spectrum import Spectrum
from rhoflow.descriptors.base import VectorSet
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet, spots
from rhoflow.errors import DataError

SCHEMA = pa.schema([pa.field("material_id", pa.string()), pa.field("y", pa.float64())])
PACKAGE = Path(io.__file__).parents[2]


def table(offset: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"material_id": ["a", "b"], "y": [1.0 + offset, np.nan]})


@pytest.fixture
def two_spectra(gaussian_spectrum) -> dict[str, Spectrum]:
    small = Spectrum(
        gaussian_spectrum.lattice * 1.5,
        2,
        gaussian_spectrum.hkl[:50],
        gaussian_spectrum.coefficients[:50],
    )
    return {"first": gaussian_spectrum, "second": small}


def test_tables_come_back_with_their_spec(tmp_path):
    path = tmp_path / "t.parquet"
    io.write_table(path, table(), SCHEMA, spec={"n": 3})
    pd.testing.assert_frame_equal(io.read_table(path, SCHEMA), table(), check_dtype=False)
    assert io.read_spec(path) == {"n": 3}


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "a.npz"])
def test_equal_content_gives_equal_bytes(tmp_path, name):
    contents = []
    for folder in ("one", "two"):
        path = tmp_path / folder / name
        if name.endswith("npz"):
            io.write_arrays(path, {"x": np.arange(5.0)}, {"k": 1})
        else:
            io.write_table(path, table(), SCHEMA, spec={"n": 1})
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_a_table_without_a_column_is_not_written(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(DataError, match=r"lacks the columns \['y'\]"):
        io.write_table(path, table().drop(columns="y"), SCHEMA)
    assert not path.exists()


def test_shards_of_different_specs_are_not_mixed(tmp_path):
    paths = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    for i, path in enumerate(paths):
        io.write_table(path, table(), SCHEMA, spec={"n_max": 8 + i})
    with pytest.raises(DataError, match=r"1\.parquet was made with other settings"):
        io.read_tables(paths, SCHEMA)
    assert len(io.read_tables(paths, SCHEMA, same_spec=False)) == 4


@pytest.mark.parametrize("name", ["t.parquet", "s.npz"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage"])
def test_a_corrupt_shard_is_named_with_its_remedy(tmp_path, two_spectra, name, damage):
    path = tmp_path / name
    if name.endswith("npz"):
        io.write_spectra(path, two_spectra)
    else:
        io.write_table(path, table(), SCHEMA)
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "empty": b"", "garbage": b"x" * 500}[damage]
    )
    read = io.read_spectra if name.endswith("npz") else io.read_table
    with pytest.raises(DataError, match=rf"{name}: cannot be read .*delete it and run snakemake"):
        read(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    io.write_arrays(path, {"x": np.zeros(2)})
    before = path.read_bytes()
    with pytest.raises(DataError, match="Python objects are not stored"):
        io.write_arrays(path, {"x": np.array([{}], dtype=object)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_pickled_arrays_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").touch, ())

    path = tmp_path / "evil.npz"
    np.savez(path, x=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        io.read_arrays(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="cannot be read"):
        io.read_arrays(path)
    assert not (tmp_path / "sprung").exists()


def test_spectra_come_back_in_order(tmp_path, two_spectra):
    path = tmp_path / "s.npz"
    io.write_spectra(path, two_spectra, spec={"g_store": 12.0})
    back = io.read_spectra(path)
    assert list(back) == list(two_spectra)
    for name, spectrum in two_spectra.items():
        np.testing.assert_array_equal(back[name].hkl, spectrum.hkl)
        np.testing.assert_array_equal(back[name].coefficients, spectrum.coefficients)
        np.testing.assert_array_equal(back[name].lattice, spectrum.lattice)
        assert back[name].n_atoms == spectrum.n_atoms
    assert io.read_spec(path) == {"g_store": 12.0}


def test_an_empty_shard_is_a_valid_shard(tmp_path, gaussian_spectrum):
    io.write_spectra(tmp_path / "s.npz", {})
    assert io.read_spectra(tmp_path / "s.npz") == {}
    none = spots({}, R3DVSSpec())
    io.write_spots(tmp_path / "0.npz", none)
    io.write_spots(tmp_path / "1.npz", spots({"a": gaussian_spectrum}, R3DVSSpec()))
    joined = io.read_spots([tmp_path / "0.npz", tmp_path / "1.npz"])
    assert joined.ids == ("a",)


def test_descriptors_join_their_shards(tmp_path, gaussian_spectrum):
    spec = R3DVSSpec()
    parts = [spots({name: gaussian_spectrum}, spec) for name in "ab"]
    paths = [tmp_path / f"{i}.npz" for i in range(2)]
    for path, part in zip(paths, parts, strict=True):
        io.write_spots(path, part, spec={"a": 1})
    joined = io.read_descriptors(paths)
    assert isinstance(joined, SpotSet)
    assert joined.ids == ("a", "b")
    np.testing.assert_array_equal(joined.take([1]).amplitude, parts[1].amplitude)


def test_vectors_of_different_length_are_padded(tmp_path):
    paths = [tmp_path / f"{i}.parquet" for i in range(2)]
    io.write_vectors(paths[0], ["a"], [np.array([1.0, 2.0, 3.0])])
    io.write_vectors(paths[1], ["b", "c"], [np.array([4.0]), np.array([5.0, 6.0])])
    joined = io.read_descriptors(paths)
    assert isinstance(joined, VectorSet)
    np.testing.assert_array_equal(joined.values, [[1, 2, 3], [4, 0, 0], [5, 6, 0]])


def test_metadata_is_json(tmp_path):
    io.write_arrays(tmp_path / "a.npz", {"x": np.zeros(1)}, {"b": [1, None], "a": "ρ"})
    arrays, meta = io.read_arrays(tmp_path / "a.npz")
    assert list(arrays) == ["x"]
    assert json.dumps(meta, sort_keys=True) == json.dumps(
        {"b": [1, None], "a": "ρ"}, sort_keys=True
    )


LOGGED = """
import logging, sys
sys.path.insert(0, {package!r})
from rhoflow import io
from rhoflow.errors import DataError
io.start_log({log!r})
logging.info("hello")
print("printed")
raise {error}
"""


@pytest.mark.parametrize(
    ("error", "traceback"), [("DataError('shard 3 is broken')", False), ("KeyError('k')", True)]
)
def test_a_script_tells_log_and_terminal(tmp_path, error, traceback):
    log = tmp_path / "logs" / "x.log"
    code = LOGGED.format(package=str(PACKAGE), log=str(log), error=error)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    text = log.read_text()
    assert done.returncode == 1
    assert "hello" in text
    assert "printed" in text
    assert ("Traceback" in text) == traceback
    assert "Traceback" not in done.stderr
    assert ("shard 3 is broken" if not traceback else "KeyError: 'k'") in done.stderr
    logging.getLogger().handlers.clear()
