"""What a user may hand over by mistake: one message that names it, nothing lost, no traceback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

ROOT = Path(__file__).parents[2]
MINI = ROOT / "config" / "test" / "mini.yaml"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
CIF = """data_x
_symmetry_space_group_name_H-M 'P 1'
_cell_length_a 4.2
_cell_length_b 4.2
_cell_length_c 4.2
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""

pytestmark = pytest.mark.workflow


def snakemake(folder: Path, config: Path, *arguments: str) -> tuple[int, str]:
    """Exit code of a run, and all that a terminal would show."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--configfile", str(config), "--cores", "2", *arguments,
        ],
        capture_output=True, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def config(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    raw = yaml.safe_load(MINI.read_text())
    edit(raw)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def from_files(source: Path, size: int = 4) -> Callable[[dict[str, Any]], None]:
    """An edit: structures from a folder instead of prototypes."""

    def edit(raw: dict[str, Any]) -> None:
        raw["datasets"]["mini"]["source"] = {"kind": "files", "path": str(source)}
        raw["datasets"]["mini"]["selection"]["size"] = size

    return edit


def write_oxide(path: Path, metal: str, a: float) -> None:
    """A CIF of MO in the rock salt structure."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [metal, "O"], sites)
    CifWriter(structure, symprec=0.01).write_file(path)


@pytest.fixture(scope="module")
def mixed_folder(tmp_path_factory) -> Path:
    """Four oxides under awkward names, and ten files that are no structures."""
    folder = tmp_path_factory.mktemp("a folder with spaces")
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    write_oxide(folder / "one" / "same.cif", "Mg", 4.21)
    write_oxide(folder / "two" / "same.cif", "Ca", 4.81)
    write_oxide(folder / "'q\" $(touch PWNED); ünï ☃.cif", "Sr", 5.16)
    write_oxide(folder / f"-rf ..{'n' * 200}.cif", "Ba", 5.54)
    (folder / "empty.cif").write_text("")
    (folder / "binary.cif").write_bytes(bytes(range(256)) * 20)
    (folder / "binary.vasp").write_bytes(bytes(range(256)) * 20)
    (folder / "partial.cif").write_text(f"{CIF}A Mg 0 0 0 0.5\nB O 0.5 0.5 0.5 1\n")
    (folder / "unknown.cif").write_text(f"{CIF}A Qq 0 0 0 1\nB O 0.5 0.5 0.5 1\n")
    (folder / "POSCAR_unknown").write_text(
        "x\n1\n4 0 0\n0 4 0\n0 0 4\nQq O\n1 1\ndirect\n0 0 0\n.5 .5 .5\n"
    )
    (folder / "molecule.xyz").write_text("2\nno lattice\nMg 0 0 0\nO 0 0 2\n")
    (folder / "short.extxyz").write_text('5\nLattice="4 0 0 0 4 0 0 0 4"\nO 0 0 0\n')
    (folder / "dangling.cif").symlink_to(folder / "nowhere")
    (folder / "folder.cif").mkdir()
    return folder


@pytest.fixture(scope="module")
def selected(mixed_folder, tmp_path_factory) -> Path:
    """A run over the mixed folder as far as the cheap stages go."""
    folder = tmp_path_factory.mktemp("selected")
    path = config(folder, from_files(mixed_folder))
    targets = [
        f"results/descriptors/composition/mini/{shard}.parquet" for shard in ("0000", "0001")
    ]
    code, text = snakemake(folder, path, *targets)
    assert code == 0, text
    return folder


def test_bad_files_are_rows_with_reasons_and_the_good_ones_go_on(selected):
    kept = pd.read_parquet(selected / "results/structures/mini/structures.parquet")
    assert len(kept) == 4
    assert {"one/same.cif", "two/same.cif"} < set(kept["source_id"])
    rejected = pd.read_csv(selected / "results/structures/mini/rejected.csv")
    reason = rejected.set_index(rejected["source_id"].str.split("#").str[0])["reason"]
    for name, told in {
        "empty.cif": "empty file",
        "binary.cif": "without atom sites",
        "binary.vasp": "unreadable",
        "partial.cif": "partial occupancy",
        "unknown.cif": "Qq",
        "POSCAR_unknown": "Qq",
        "molecule.xyz": "periodic in 0 of 3",
        "short.extxyz": "expected 5",
    }.items():
        assert told in reason[name], name
    funnel = pd.read_csv(selected / "results/structures/mini/funnel.csv")
    assert funnel["remaining"].iloc[0] == 12


def test_names_of_files_become_neither_paths_nor_commands(selected, mixed_folder):
    kept = pd.read_parquet(selected / "results/structures/mini/structures.parquet")
    assert kept["material_id"].str.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*").all()
    assert kept["material_id"].is_unique
    assert {p.name for p in selected.iterdir()} == {".snakemake", "results", "config.yaml"}
    assert not list(mixed_folder.rglob("PWNED"))
    assert not (ROOT / "PWNED").exists()


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_a_folder_without_structures_is_named(tmp_path, kind):
    source = tmp_path / "my structures"
    if kind == "empty":
        source.mkdir()
    if kind == "file":
        source.write_text("x")
    path = config(tmp_path, from_files(source))
    code, text = snakemake(tmp_path / "run", path, "--until", "structures_select")
    assert code != 0
    assert str(source) in text
    assert "Traceback (most recent call last)" not in text
    assert not (tmp_path / "run/results/structures").exists()


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("densitty",), {}, "did you mean 'density'"),
        (("datasets", "mini", "selection", "sise"), 4, "did you mean 'size'"),
        (("models", "cnn", "optimiser", "epoch"), 4, "did you mean 'epochs'"),
        (("studies", "tiny", "claims", 0, "thann"), [], "studies.tiny.claims.0.thann"),
        (("engines", "gpaw"), "gpaw", "engines.gpaw: got 'gpaw'"),
        (("studies",), None, "studies: got None"),
        (("engines", "gpaw", "cutoff_ev"), "high", "engines.gpaw.cutoff_ev: got 'high'"),
        (("engines", "gpaw", "cutoff_ev"), float("nan"), "engines.gpaw.cutoff_ev: got nan"),
        (("engines", "gpaw", "cutoff_ev"), -3, "greater than or equal to 200"),
        (("descriptors", "soap", "kind"), "soup", "soap"),
        (("studies", "tiny", "arms", "soap", "model"), "cnn", "reads spots (r3dvs)"),
        (("studies", "tiny", "arms", "../x"), {"descriptor": "soap", "model": "ridge"}, "../x"),
        (("studies", "tiny", "protocol", "train_sizes"), [2, 30], "selection.size is 4"),
        (("density",), {"g_store": 3}, "density.g_store is 3"),
        (("report",), ["tony"], "did you mean 'tiny'"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_told_in_one_message(keys, value, told):
    """Through the package: the Snakefile shows exactly this message (see below)."""
    from rhoflow.config import load
    from rhoflow.errors import ConfigError

    raw = yaml.safe_load(MINI.read_text())
    node = raw
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    with pytest.raises(ConfigError) as error:
        load(raw)
    assert told in str(error.value)
    assert "config/README.md" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n- b\n",
        "datasets: {mini: [\n",
        MINI.read_text() + 'evil: !!python/object/apply:os.system ["touch PWNED"]\n',
        MINI.read_text().replace("n_max", "nmax"),
    ],
    ids=["empty", "list", "syntax", "object", "misspelt"],
)
def test_a_config_that_is_none_stops_before_anything_runs(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, shown = snakemake(tmp_path / "run", path)
    assert code != 0
    assert "Traceback (most recent call last)" not in shown
    assert "onfig" in shown
    assert not (tmp_path / "run" / "results").exists()
    assert not list(tmp_path.rglob("PWNED"))
    assert not (ROOT / "PWNED").exists()


@pytest.mark.parametrize("damage", ["half", "garbage"])
def test_a_damaged_table_is_named_and_its_removal_heals(selected, tmp_path, damage):
    folder = tmp_path / "run"
    shutil.copytree(selected, folder, copy_function=shutil.copy2)
    path = folder / "config.yaml"
    table = folder / "results/dft/mini/0000.structures.parquet"
    vectors = folder / "results/descriptors/composition/mini/0000.parquet"
    good, stamp, before = table.read_bytes(), table.stat(), vectors.read_bytes()
    content = {"half": good[: len(good) // 2], "garbage": b"\x00\xff" * 2000}
    table.write_bytes(content[damage])
    os.utime(table, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    vectors.unlink()
    target = str(vectors.relative_to(folder))
    code, text = snakemake(folder, path, target)
    assert code != 0
    assert "results/dft/mini/0000.structures.parquet: cannot be read" in text
    assert "delete it and run snakemake again" in text
    assert "Traceback (most recent call last)" not in text
    assert (folder / "results/descriptors/composition/mini/0001.parquet").exists()
    table.unlink()
    code, text = snakemake(folder, path, target)
    assert code == 0, text
    assert vectors.read_bytes() == before
    assert table.read_bytes() == good


def test_more_structures_wanted_than_there_are_shows_the_funnel(tmp_path, mixed_folder):
    path = config(tmp_path, from_files(mixed_folder, size=9))
    code, text = snakemake(tmp_path / "run", path, "--until", "structures_select")
    assert code != 0
    assert "leaves 4 structures, but size is 9" in text
    assert "Set size to 4 or less" in text
    assert "Traceback (most recent call last)" not in text


@pytest.mark.dft
def test_lost_calculations_are_counted_and_a_lower_bar_continues_without_recomputing(tmp_path):
    source = tmp_path / "oxides"
    source.mkdir()
    for metal, a in (("Mg", 4.21), ("Be", 3.65), ("U", 4.92), ("Tc", 4.3)):
        write_oxide(source / f"{metal}O.cif", metal, a)
    run = tmp_path / "run"

    def edit(raw: dict[str, Any]) -> None:
        from_files(source)(raw)
        raw["engines"]["gpaw"]["cutoff_ev"] = 250

    code, text = snakemake(run, config(tmp_path, edit), "--until", "dft_collect")
    assert code != 0
    assert "2 of 4 structures succeeded" in text
    assert "no PAW set for U" in text
    assert "min_ok_fraction" in text
    assert "Traceback (most recent call last)" not in text
    done = {p: p.stat().st_mtime_ns for p in (run / "results/dft/done").glob("*.npz")}
    assert len(done) >= 2

    def lower(raw: dict[str, Any]) -> None:
        edit(raw)
        raw["engines"]["gpaw"]["min_ok_fraction"] = 0.5

    code, text = snakemake(run, config(tmp_path, lower), "--until", "dft_collect")
    assert code == 0, text
    assert {p: p.stat().st_mtime_ns for p in done} == done
    records = pd.read_parquet(run / "results/dft/mini/records.parquet")
    assert sorted(records["status"]) == ["failed", "failed", "ok", "ok"]
    assert records.loc[records["status"] == "failed", "reason"].str.startswith("no PAW set").all()
    # The study needs four structures: the next stage says so by itself.
    code, text = snakemake(run, config(tmp_path, lower), "results/splits/tiny.parquet")
    assert code != 0
    assert "study 'tiny': 2 structures have all its targets" in text


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("setting", "told"),
    [("CXX=nosuch++", "no C++ compiler 'nosuch++' found"), ("PYTHON={shim}", "needs Python 3.11")],
)
def test_make_says_what_is_missing_before_it_installs(tmp_path, setting, told):
    shim = tmp_path / "oldpython"
    shim.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 9, 1)\n$2"\n'
    )
    shim.chmod(0o755)
    arguments = [f"PYTHON={sys.executable}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(
        ["make", "-C", str(ROOT), *arguments, setting.format(shim=shim), "run"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "venv").exists()
