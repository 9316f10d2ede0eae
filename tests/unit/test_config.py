"""A wrong config stops with one message: key, value, what was expected, nearest valid key."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rhoflow.config import load
from rhoflow.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raw() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config" / "test" / "mini.yaml").read_text())


def put(raw: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(raw)
    node: Any = changed
    *parents, last = path.split(".")
    for part in parents:
        node = node[part]
    node[last] = value
    return changed


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda p: p.name)
def test_shipped_configs_are_valid(path):
    load(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("engine", {}, r"engine: unknown key 'engine'; did you mean 'engines'\?"),
        (
            "descriptors.soap.nmax",
            8,
            r"descriptors\.soap\.nmax: unknown key 'nmax'; did you mean 'n_max'\?",
        ),
        (
            "models.cnn.optimiser.epoch",
            3,
            r"models\.cnn\.optimiser\.epoch: unknown key 'epoch'; did you mean 'epochs'\?",
        ),
        (
            "datasets.mini.selection.sizes",
            3,
            r"datasets\.mini\.selection\.sizes: unknown key .* mean 'size'\?",
        ),
        ("descriptors.soap.n_max", 0, r"descriptors\.soap\.n_max: got 0; input should be greater"),
        (
            "engines.gpaw.cutoff_ev",
            "high",
            r"engines\.gpaw\.cutoff_ev: got 'high'; input should be",
        ),
        ("engines.gpaw.cutoff_ev", float("nan"), r"engines\.gpaw\.cutoff_ev: got nan"),
        (
            "datasets.mini.engine",
            "gpaaw",
            r"datasets\.mini\.engine: .*'gpaaw'; did you mean 'gpaw'",
        ),
        (
            "studies.tiny.dataset",
            "maxi",
            r"studies\.tiny\.dataset: unknown name 'maxi'; valid are: mini",
        ),
        (
            "studies.tiny.targets",
            ["band_gap"],
            r"unknown name 'band_gap'; did you mean 'band_gap_ev'",
        ),
        ("studies.tiny.arms.soap.model", "ridg", r"arms\.soap\.model: .*did you mean 'ridge'"),
        (
            "studies.tiny.arms.soap.model",
            "cnn",
            r"model 'cnn' \(cnn3d\) reads spots \(r3dvs\) or images \(density_image\), but .*soap",
        ),
        ("studies.tiny.arms.r3dvs.model", "ridge", r"model 'ridge' \(krr\) reads vectors, but"),
        ("studies.tiny.protocol.test_size", 4, r"need 7 structures, but .*selection\.size is 4"),
        ("studies.tiny.protocol.train_sizes", [3, 2], r"train_sizes: expected ascending"),
        ("report", ["tinny"], r"report: unknown name 'tinny'; did you mean 'tiny'"),
        ("datasets.mini.source.kind", "icd", r"source.*'icd'"),
        ("descriptors.r3dvs.length_angstrom", 6.5, r"descriptors\.r3dvs: .*number of voxels"),
        ("density", {"g_store": 2.0}, r"density\.g_store is 2 .* needs g_cut = .* 3\.927"),
        ("models.Big", {"kind": "mean"}, r"models.Big"),
        ("models.up/../.", {"kind": "mean"}, r"up/\.\./\."),
        ("studies", {}, r"report: unknown name 'tiny'"),
        ("comparisons", {"x": {"dataset": "mini", "reference": "maxi"}}, r"comparisons\.x\.ref"),
        (
            "engines.gpaw",
            {"kind": "archive", "path": "a"},
            r"datasets\.mini: .*must be of kind archive; it is of kind prototypes",
        ),
    ],
)
def test_each_mistake_has_its_message(raw, path, value, message):
    if path == "models.up/../.":
        raw["models"]["up/../."] = value
    else:
        raw = put(raw, path, value)
    with pytest.raises(ConfigError, match=message) as caught:
        load(raw)
    assert "config/README.md lists every key" in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_missing_key_is_named(raw):
    del raw["studies"]["tiny"]["dataset"]
    with pytest.raises(ConfigError, match=r"studies\.tiny\.dataset: .*required and missing"):
        load(raw)


def test_all_mistakes_are_reported_at_once(raw):
    raw["descriptors"]["soap"]["nmax"] = 1
    raw["models"]["cnn"]["leak"] = 2
    with pytest.raises(ConfigError) as caught:
        load(raw)
    assert "nmax" in str(caught.value)
    assert "models.cnn.leak: got 2" in str(caught.value)


def test_shards_follow_from_the_config(raw):
    config = load(raw)
    assert config.n_shards("mini") == 2
    assert config.descriptors_of_kind("r3dvs") == ["r3dvs"]


def test_the_config_is_read_without_what_only_computing_needs():
    """Every job of a cluster reads it twice: SciPy, torch and parsers would double its start."""
    heavy = ("scipy.fft", "scipy.special", "scipy.optimize", "scipy.stats", "torch", "matplotlib",
             "pymatgen.io.vasp", "ase.io", "sklearn", "gpaw")  # fmt: skip
    code = f"import sys, rhoflow.config; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_a_stack_trains_on_one_number_of_devices(raw):
    several = put(raw, "models.cnn.optimiser.devices", 2)
    several["models"]["dense"] = {"kind": "mlp", "optimiser": {"devices": 4}}
    arms = several["studies"]["tiny"]["arms"]
    arms["dense"] = {"descriptor": "soap", "model": "dense"}
    arms["stack"] = {"descriptor": "r3dvs", "model": "cnn", "residual_of": "dense"}
    with pytest.raises(ConfigError, match=r"arms\.stack: .* 2 and 4 devices"):
        load(several)
