"""One config for each source, through the rule that selects and the figure of its funnel."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from tests.optimade_reference import reference_server, rocksalt_entry
from tests.unit.test_structures_icsd import entry

ROOT = Path(__file__).parents[2]
TARGETS = ["results/structures/mini/structures.parquet", "results/structures/mini/funnel.svg"]
OXIDES = {"Mg": 4.212, "Ca": 4.811, "Sr": 5.16, "Ba": 5.52, "Ni": 4.177}

pytestmark = pytest.mark.workflow


def run(folder: Path, source: dict[str, Any], **environment: str) -> tuple[int, str]:
    raw = yaml.safe_load((ROOT / "config" / "test" / "mini.yaml").read_text())
    raw["datasets"]["mini"]["source"] = source
    raw["datasets"]["mini"]["selection"] = {"size": 4}
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--directory", str(folder), "--configfile", str(folder / "config.yaml"),
            "--cores", "1", *TARGETS,
        ],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def selected(folder: Path, source: dict[str, Any], **environment: str) -> pd.DataFrame:
    code, output = run(folder, source, **environment)
    assert code == 0, output
    assert "<svg" in (folder / TARGETS[1]).read_text()
    table = pd.read_parquet(folder / TARGETS[0])
    assert len(table) == 4
    assert set(table["source"]) == {source["kind"]}
    return table


def write_table(folder: Path, scale: float = 1.0) -> None:
    rows = []
    for cation, edge in OXIDES.items():
        half = scale * edge / 2
        rows.append(
            {
                "material_id": f"{cation}O", "species": f"{cation} O",
                "lattice": [[0, half, half], [half, 0, half], [half, half, 0]],
                "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
            }
        )  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "oxides.csv.gz", index=False)


def test_a_table_and_a_change_of_it(tmp_path):
    write_table(tmp_path)
    source = {"kind": "table", "path": "oxides.csv.gz"}

    before = selected(tmp_path, source)
    assert set(before["source_id"]) < {f"{c}O" for c in OXIDES}
    assert "Nothing to be done" in run(tmp_path, source)[1]

    write_table(tmp_path, scale=1.1)
    after = selected(tmp_path, source)
    assert list(after["source_id"]) == list(before["source_id"])
    larger = [
        a[0] / b[0] for a, b in zip(after.lattice_angstrom, before.lattice_angstrom, strict=True)
    ]
    assert larger == pytest.approx([1.1] * 4)


def test_icsd_exports(tmp_path):
    (tmp_path / "icsd").mkdir()
    for number, cation in enumerate(OXIDES, start=1):
        hot = "_cell_measurement_temperature 900" if cation == "Ni" else ""
        text = entry(str(number), hot, cation=cation, formula=f"{cation}1 O1")
        (tmp_path / "icsd" / f"{cation}.cif").write_text(text)

    table = selected(tmp_path, {"kind": "icsd", "path": "icsd", "max_temperature_k": 320})

    assert set(table["source_id"]) == {f"icsd-{n}" for n in range(1, 5)}
    funnel = pd.read_csv(tmp_path / "results/structures/mini/funnel.csv")
    assert funnel.set_index("step").dropped["temperature"] == 1


def test_an_optimade_server(tmp_path):
    (tmp_path / "server").mkdir()
    entries = [rocksalt_entry(cation, edge) for cation, edge in OXIDES.items()]
    with reference_server(tmp_path / "server", entries) as url:
        table = selected(tmp_path, {"kind": "optimade", "base_url": url, "page_size": 2})

    assert set(table["source_id"]) < {e["id"] for e in entries}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "table", "path": "nowhere.csv"}, "'nowhere.csv' is not a file"),
        ({"kind": "icsd", "path": "nowhere"}, "'nowhere' is not a folder"),
        ({"kind": "optimade", "base_url": "http://127.0.0.1:9", "retries": 0}, "no answer from"),
        ({"kind": "optimade", "base_url": "nowhere"}, "is no web address"),
        ({"kind": "materials_project"}, "MP_API_KEY is not set"),
        ({"kind": "materials_project", "api_key": "x"}, "unknown key 'api_key'"),
    ],
)
def test_a_source_that_is_not_there_says_so(tmp_path, source, message):
    code, output = run(tmp_path, source, MP_API_KEY="")

    assert code != 0
    assert message in output
    assert "Traceback (most recent call last)" not in output
