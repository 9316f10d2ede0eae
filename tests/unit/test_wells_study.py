"""Wells as the data set of a study: config, files, models by kind, and what trainings cost."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.unit.test_study import put

from rhoflow import io, tables, wells
from rhoflow.config import load
from rhoflow.costs.resources import LEAST_MINUTES
from rhoflow.costs.training import expected_s, training_resources, training_work
from rhoflow.descriptors.base import VectorSet
from rhoflow.errors import ConfigError, DataError
from rhoflow.models.base import Start
from rhoflow.models.hk1d.fit import FittedHKMap
from rhoflow.models.hk1d.orbital_free import FittedOrbitalFree
from rhoflow.models.krr.fit import FittedKRR
from rhoflow.models.registry import PairSpec, fit, fit_wells, gives, is_random, reads
from rhoflow.wells import WellSet, WellsSpec

ROOT = Path(__file__).parents[2]
ARMS = "studies.maps.arms"
SPEC = WellsSpec(size=12, points=256)


@pytest.fixture
def raw() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config" / "test" / "wells.yaml").read_text())


@pytest.fixture(scope="module")
def solved() -> WellSet:
    return wells.solve(SPEC)


# Config ------------------------------------------------------------------------------------


def test_wells_need_no_structures_and_no_engine(raw):
    config = load(raw)
    assert config.sets == {}
    assert config.engines == {}
    assert config.size("box") == 40
    assert config.section("box") == "wells.box"
    assert config.arms_with_densities("maps") == ["map", "pauli", "waves", "descent"]
    assert config.tasks("maps", "map") == {"together": ("energy_kcal_per_mol",)}
    assert not config.trains_networks("maps", "descent")


def test_arms_of_a_scan_show_no_densities(raw):
    config = load(put(raw, {f"{ARMS}.map.vary": {"model.functions": [5, 10]}}))
    assert "map__functions_5" in config.studies["maps"].arms
    assert config.arms_with_densities("maps") == ["map", "pauli", "waves", "descent"]


def test_sets_of_all_sections_share_their_names(raw):
    mini = yaml.safe_load((ROOT / "config" / "test" / "mini.yaml").read_text())
    mini["wells"] = {"mini": {"size": 9}}
    with pytest.raises(ConfigError, match="'mini' stands under datasets and under wells"):
        load(mini)
    molecules = yaml.safe_load((ROOT / "config" / "test" / "molecules.yaml").read_text())
    molecules["wells"] = {"small": {"size": 9}}
    with pytest.raises(ConfigError, match="'small' stands under molecules and under wells"):
        load(molecules)
    with pytest.raises(ConfigError, match="'studies' is a name of the workflow's own"):
        load(put(raw, {"wells.studies": {"size": 9}}))
    with pytest.raises(ConfigError, match="datasets, molecules, wells: the config has none"):
        load(put(raw, {"wells": {}}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("wells.box.sise", 3, r"wells\.box\.sise: unknown key 'sise'; did you mean 'size'\?"),
        ("wells.box.size", 0, r"wells\.box\.size: got 0; input should be greater"),
        ("wells.box.width_bohr", [0.1, 0.03], r"width_bohr: expected two ascending numbers"),
        ("wells.box.size", 34, r"need 35 structures, but wells\.box\.size is 34"),
        ("studies.maps.dataset", "bocks", r"maps\.dataset: unknown name 'bocks'; valid are: box"),
        (
            "studies.maps.targets",
            ["energy_kcal_per_mol", "band_gap_ev"],
            r"studies\.maps\.targets: of wells energy_kcal_per_mol alone is known",
        ),
        (
            "studies.maps.protocol.keep_together",
            "formula",
            r"keep_together: wells have no formulas; leave it out",
        ),
        (
            "studies.maps.protocol.train_max_atoms",
            3,
            r"train_max_atoms: wells have no atoms; leave it out",
        ),
        (
            f"{ARMS}.map.descriptor",
            "potential",
            r"arms\.map: model 'map' \(hk_map\) reads wells, but descriptor 'potential' "
            r"\(wells_potential\) gives vectors",
        ),
        (
            f"{ARMS}.direct.descriptor",
            "wells",
            r"arms\.direct: model 'ridge' \(krr\) reads vectors, but descriptor 'wells' \(wells\) "
            "gives wells",
        ),
        (
            f"{ARMS}.descent.residual_of",
            "direct",
            r"arms\.descent\.residual_of: orbital_free learns energies, not the errors of",
        ),
        (
            f"{ARMS}.map.keep",
            True,
            r"arms\.map\.keep: expected an mlp, a qdf, a gcn or",
        ),
        ("wells.box.particles", 2, r"one particle alone; wells\.box\.particles is 2"),
        (
            "studies.maps.figures",
            ["density_map"],
            r"density_map compares .* must be one of molecules",
        ),
        (
            "descriptors.potential",
            {"kind": "composition"},
            r"\(composition\) is one of crystals, but 'box' holds wells",
        ),
        (
            "descriptors.potential",
            {"kind": "atom_counts"},
            r"\(atom_counts\) is one of molecules, but 'box' holds wells",
        ),
    ],
)
def test_each_mistake_has_its_message(raw, path, value, message):
    with pytest.raises(ConfigError, match=message):
        load(put(raw, {path: value}))


def test_two_particles_can_be_learned_without_the_figure(raw):
    changes = {"wells.box.particles": 2, "studies.maps.figures": ["learning_curves"]}
    assert load(put(raw, changes)).wells["box"].particles == 2


def test_the_figure_needs_densities(raw):
    changed = copy.deepcopy(raw)
    study = changed["studies"]["maps"]
    study["arms"] = {name: study["arms"][name] for name in ("direct", "mean")}
    study["claims"] = []
    with pytest.raises(ConfigError, match="figures: wells needs an arm whose model is an hk_map"):
        load(changed)


def test_structures_have_nothing_of_wells():
    mini = yaml.safe_load((ROOT / "config" / "test" / "mini.yaml").read_text())
    mini["descriptors"]["wells"] = {"kind": "wells"}
    mini["models"]["map"] = {"kind": "hk_map"}
    study = mini["studies"]["tiny"]
    with pytest.raises(ConfigError, match=r"targets: energy_kcal_per_mol is known of wells alone"):
        load(put(mini, {"studies.tiny.targets": [*study["targets"], "energy_kcal_per_mol"]}))
    with pytest.raises(ConfigError, match="figures: wells needs a data set of wells; 'mini'"):
        load(put(mini, {"studies.tiny.figures": ["wells"]}))
    study["arms"]["map"] = {"descriptor": "wells", "model": "map"}
    with pytest.raises(ConfigError, match=r"\(wells\) is one of wells, but 'mini' holds crystals"):
        load(mini)


# Files and models --------------------------------------------------------------------------


def test_solved_wells_come_back(tmp_path, solved):
    spec = SPEC.model_dump(mode="json")
    io.write_wells(tmp_path / "a.npz", solved, spec=spec)
    back = io.read_descriptors([tmp_path / "a.npz"])
    assert isinstance(back, WellSet)
    assert back.ids == solved.ids
    assert back.fingerprint() == solved.fingerprint()
    io.write_wells(tmp_path / "b.npz", back, spec=spec)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    io.write_arrays(tmp_path / "c.npz", {"material_id": np.array(["x"])}, {"spec": spec})
    with pytest.raises(DataError, match=r"c\.npz: lacks the arrays \['potentials', 'densities'"):
        io.read_wells(tmp_path / "c.npz")


def test_potentials_are_vectors_and_energies_targets(tmp_path, solved):
    path = tmp_path / "v.parquet"
    io.write_vectors(path, solved.ids, list(solved.potentials), spec=SPEC.model_dump(mode="json"))
    back = io.read_descriptors([path])
    assert isinstance(back, VectorSet)
    np.testing.assert_array_equal(back.values, solved.potentials)
    targets = tables.wells_to_targets(solved)
    io.write_table(tmp_path / "t.parquet", targets, tables.TARGET_TABLE)
    table = io.read_targets(tmp_path / "t.parquet")
    assert table["material_id"].tolist() == list(solved.ids)
    np.testing.assert_allclose(table["energy_kcal_per_mol"], 627.5094740631 * solved.energies)
    assert table["band_gap_ev"].isna().all()


def test_a_table_may_be_older_than_a_target(tmp_path, solved):
    old = tables.wells_to_targets(solved)[["material_id", "energy_kcal_per_mol"]]
    io.write_table(tmp_path / "t.parquet", old)
    table = io.read_targets(tmp_path / "t.parquet")
    assert list(table) == tables.TARGET_TABLE.names
    assert table["band_gap_ev"].isna().all()
    np.testing.assert_array_equal(table["energy_kcal_per_mol"], old["energy_kcal_per_mol"])
    io.write_table(tmp_path / "other.parquet", old.drop(columns="material_id"))
    with pytest.raises(DataError, match=r"lacks the columns \['material_id'\]"):
        io.read_targets(tmp_path / "other.parquet")


def pair(model: dict[str, Any], descriptor: str = "wells") -> PairSpec:
    return PairSpec.model_validate({"descriptor": {"kind": descriptor}, "model": model})


@pytest.mark.parametrize(
    ("kind", "fitted"), [("hk_map", FittedHKMap), ("orbital_free", FittedOrbitalFree)]
)
def test_models_of_wells_by_kind(solved, kind, fitted):
    chosen = pair({"kind": kind})
    assert reads(chosen.model) == ("wells",)
    assert gives(chosen.descriptor) == "wells"
    assert not is_random(chosen.model)
    model = fit_wells(chosen, solved)
    assert isinstance(model, fitted)
    kcal = wells.KCAL_PER_MOL_PER_HARTREE * solved.energies[:, None]
    np.testing.assert_array_equal(
        model.predict(solved), fit(chosen, solved, kcal, Start()).predict(solved)
    )
    with pytest.raises(ConfigError, match=f"'{kind}' cannot read a descriptor of kind"):
        fit(chosen, VectorSet(solved.ids, solved.potentials), kcal, Start())


def test_kernel_ridge_reads_potentials(solved):
    direct = pair({"kind": "krr", "kernel": "gaussian", "tuned": True}, "wells_potential")
    assert gives(direct.descriptor) == "vectors"
    vectors = VectorSet(solved.ids, solved.potentials)
    assert isinstance(fit(direct, vectors, solved.energies[:, None], Start()), FittedKRR)
    with pytest.raises(ConfigError, match="'krr' cannot read"):
        fit(direct, solved, solved.energies[:, None], Start())


# Costs -------------------------------------------------------------------------------------


def cost(model: dict[str, Any], descriptor: str = "wells") -> float:
    """Expected seconds of a redraw of five training sizes and 300 tests."""
    protocol = {"kind": "learning_curve", "train_sizes": [10, 20, 50, 100, 200], "test_size": 300}
    spec = {
        "arm": {"descriptor": {"kind": descriptor}, "model": model},
        "targets": ["energy_kcal_per_mol"],
        "protocol": {**protocol, "seeds": 1},
    }
    asked = training_resources(spec, "0-4", n_structures=1200)
    assert asked.minutes == LEAST_MINUTES
    assert 225 < asked.memory_mb < 600  # 222 MB measured
    return expected_s(training_work(spec, "0-0"))


def test_trainings_cost_what_was_measured():
    """Processor time of jobs of five redraws, start included: 2, 6 and 35 s."""
    together = cost({"kind": "hk_map"})
    each = cost({"kind": "hk_map", "basis": "fourier", "coefficients": "each"})
    descent = cost({"kind": "orbital_free"})
    assert 0.1 < together < 1
    assert 0.5 < each < 4
    assert 4 < descent < 14
    assert cost({"kind": "orbital_free", "directions": 3}) < descent
    assert cost({"kind": "krr", "kernel": "gaussian", "tuned": True}, "wells_potential") < 1
