"""Studies: the arms of a scan, what fits together, and the trainings that follow."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rhoflow.config import WorkflowConfig, load
from rhoflow.errors import ConfigError
from rhoflow.models.registry import ArmTraining, PairSpec

ROOT = Path(__file__).parents[2]
STUDY = "studies.r3dvs"
ARMS = f"{STUDY}.arms"


@pytest.fixture
def raw() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config" / "test" / "r3dvs.yaml").read_text())


def put(raw: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with other values at dotted paths; a path that begins with '-' is taken out."""
    changed = copy.deepcopy(raw)
    for path, value in changes.items():
        node: Any = changed
        *parents, last = path.removeprefix("-").split(".")
        for part in parents:
            node = node[int(part) if isinstance(node, list) else part]
        if path.startswith("-"):
            del node[last]
        else:
            node[last] = value
    return changed


def scanned(raw: dict[str, Any], vary: dict[str, Any], arm: str = "voxels") -> WorkflowConfig:
    changed = copy.deepcopy(raw)
    changed["studies"]["scans"]["arms"][arm]["vary"] = vary
    return load(changed)


# Scans -------------------------------------------------------------------------------------


def test_every_other_value_becomes_an_arm_of_its_own(raw):
    config = load(raw)
    arms = config.studies["scans"].arms
    assert list(arms) == [
        "voxels",
        "soap",
        "voxels__deposit_linear",
        "voxels__epochs_1",
        "soap__ridge_1_0",
    ]
    linear, short = arms["voxels__deposit_linear"], arms["voxels__epochs_1"]
    assert (linear.descriptor, linear.model) == ("voxels__deposit_linear", "cnn")
    assert (short.descriptor, short.model) == ("voxels", "cnn__epochs_1")
    assert config.descriptors["voxels__deposit_linear"].deposit == "linear"
    assert config.models["cnn__epochs_1"].optimiser.epochs == 1
    assert config.models["ridge__ridge_1_0"].ridge == 1.0
    assert linear.label == "R3DVS, deposit linear"
    assert short.label == "R3DVS, epochs 1"
    assert linear.scanned
    assert linear.scanned.model_dump() == {
        "arm": "voxels",
        "key": "descriptor.deposit",
        "value": "linear",
    }
    # What was varied stays as it is, and so does all else.
    assert (config.descriptors["voxels"].deposit, config.models["cnn"].optimiser.epochs) == (
        "nearest",
        2,
    )
    same = {"deposit": "linear"}
    assert (
        config.descriptors["voxels"].model_copy(update=same)
        == config.descriptors["voxels__deposit_linear"]
    )
    assert list(config.studies["scans"].shown_arms()) == ["voxels", "soap"]
    assert all(not arm.vary for arm in arms.values() if arm.scanned)


def test_an_arm_stands_for_a_value_that_it_has_anyway(raw):
    study = scanned(raw, {"descriptor.deposit": ["linear", "nearest"]}).studies["scans"]
    assert "voxels__deposit_nearest" not in study.arms
    points = {(p.key, p.value): name for name, p in study.scan_points() if p.arm == "voxels"}
    assert points == {
        ("descriptor.deposit", "linear"): "voxels__deposit_linear",
        ("descriptor.deposit", "nearest"): "voxels",
    }
    with pytest.raises(ConfigError, match="'nearest' makes a second arm"):
        scanned(raw, {"descriptor.deposit": ["nearest", "nearest"]})


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("model.optimiser.learning_rate", 1e-05, "voxels__learning_rate_1em05"),
        ("model.optimiser.weight_decay", 0.25, "voxels__weight_decay_0_25"),
        ("model.endless", True, "voxels__endless_true"),
        ("descriptor.value", "squared", "voxels__value_squared"),
    ],
)
def test_names_hold_letters_digits_and_underscores_alone(raw, key, value, name):
    arm = scanned(raw, {key: [value]}).studies["scans"].arms[name]
    assert arm.scanned
    assert arm.scanned.value == value
    assert type(arm.scanned.value) is type(value)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"model.replica": [1]}, r"cnn3d has no 'replica'; did you mean 'replicas'\?"),
        ({"model.optimizer.epochs": [1]}, r"cnn3d has no 'optimizer'; did you mean 'optimiser'"),
        ({"model.optimiser.epoch": [1]}, r"cnn3d has no 'epoch'; did you mean 'epochs'\?"),
        ({"model.replicas.more": [1]}, r"cnn3d has no 'more'"),
        ({"descriptor.deposits": ["linear"]}, r"r3dvs has no 'deposits'; did you mean 'deposit'"),
        ({"protocol.seeds": [1]}, r"expected descriptor\.KEY or model\.KEY"),
        ({"model": [1]}, r"expected descriptor\.KEY or model\.KEY"),
        ({"model.replicas": ["many"]}, r"valid integer.*; got 'many'"),
        ({"model.replicas": [0]}, r"greater than or equal to 1; got 0"),
        ({"model.kind": ["krr"]}, r"'cnn3d'; got 'krr'"),
        ({"model.optimiser": [3]}, r"valid dictionary.*; got 3"),
        ({"descriptor.resolution_angstrom": [0.7]}, r"number of voxels .* got 0\.7"),
        ({"model.replicas": []}, r"at least 1 item"),
        ({"model.replicas": [3, 3]}, r"3 makes a second arm 'voxels__replicas_3'"),
        ({"model.leak": [0.1, 0.10]}, r"0\.1 makes a second arm 'voxels__leak_0_1'"),
    ],
)
def test_a_scan_of_something_impossible_says_what_and_where(raw, vary, message):
    with pytest.raises(ConfigError, match=message) as caught:
        scanned(raw, vary)
    (key,) = vary
    assert f"studies.scans.arms.voxels.vary.{key}" in str(caught.value)
    assert str(caught.value).startswith("the config is not valid:\n")
    assert "pydantic" not in str(caught.value)


def test_a_scan_does_not_take_the_name_of_an_arm_or_an_entry(raw):
    taken = put(
        raw, {"studies.scans.arms.soap__ridge_1_0": {"descriptor": "soap", "model": "ridge"}}
    )
    with pytest.raises(ConfigError, match=r"1\.0 makes a second arm 'soap__ridge_1_0'"):
        load(taken)
    taken = put(raw, {"models.ridge__ridge_1_0": {"kind": "krr", "ridge": 7.0}})
    with pytest.raises(ConfigError, match=r"makes a second model 'ridge__ridge_1_0', unlike"):
        load(taken)
    # Two studies may scan the same setting of the same entry.
    twice = put(raw, {f"{ARMS}.soap.vary": {"model.ridge": [1.0]}})
    assert load(twice).studies["r3dvs"].arms["soap__ridge_1_0"].model == "ridge__ridge_1_0"


def test_what_a_scan_makes_must_fit_together_too(raw):
    with pytest.raises(ConfigError, match=r"g_store is 8 .* 'voxels__resolution_angstrom_0_2'"):
        scanned(raw, {"descriptor.resolution_angstrom": [0.2]})


def test_an_arm_of_a_scan_is_trained_like_the_one_that_was_varied(raw):
    config = load(put(raw, {f"{ARMS}.stack.vary": {"model.leak": [0.1]}}))
    arm = config.studies["r3dvs"].arms["stack__leak_0_1"]
    assert (arm.residual_of, arm.residual_folds) == ("soap", 2)
    assert config.tasks("r3dvs", "stack__leak_0_1") == config.tasks("r3dvs", "stack")


# What fits together ------------------------------------------------------------------------

CURVE = {"kind": "learning_curve", "train_sizes": [4], "test_size": 3}
NUMBER = {
    "claim": "The stack's error is at most 0.1 eV/atom.",
    "paper": "ours",
    "target": "cohesive_energy_ev_per_atom",
    "arm": "stack",
    "at_most": 0.1,
}
BAD = [
    ({f"{ARMS}.stack.residual_of": "sopa"}, r"residual_of: unknown name 'sopa'; did you mean 'soa"),
    ({f"{ARMS}.voxels.residual_of": "stack"}, r"voxels\.residual_of: 'stack' learns a residual"),
    ({f"{ARMS}.stack.residual_of": "stack"}, r"stack\.residual_of: 'stack' learns a residual"),
    ({f"{ARMS}.stack.residual_folds": 1}, r"residual_folds: one fold leaves nothing to fit"),
    ({f"{ARMS}.voxels.residual_folds": 3}, r"residual_folds: .* give residual_of too"),
    ({f"{ARMS}.dense.targets": ["band_gap"]}, r"targets: unknown name 'band_gap'; did you mean"),
    ({f"{ARMS}.dense.targets": ["fermi_energy_ev"]}, r"dense\.targets: unknown .* valid are: band"),
    ({f"{ARMS}.dense.targets": []}, r"dense\.targets: got \[\]; .*at least 1 item"),
    ({f"{ARMS}.dense.targets": ["band_gap_ev"] * 2}, r"a target is named twice"),
    ({f"{STUDY}.claims.0.than": ["dense"]}, r"claims\.0: arm 'dense' does not learn cohesive"),
    ({f"{STUDY}.claims.0.target": "band_gap_ev"}, r"arm 'stack' does not learn band_gap_ev"),
    ({f"{STUDY}.claims.0.than": []}, r"claims\.0: give exactly one of than, .*; got none$"),
    ({f"-{STUDY}.claims.0.than": None}, r"claims\.0: give exactly one of than, .*; got none$"),
    ({f"{STUDY}.claims.0.at_most": 0.1}, r"claims\.0: give exactly .*; got than and at_most$"),
    ({f"{STUDY}.claims": [{**NUMBER, "at_most": 0}]}, r"at_most: got 0; .*greater than 0"),
    ({f"{STUDY}.claims": [{**NUMBER, "arm": "dense"}]}, r"claims\.0: arm 'dense' does not learn"),
    ({f"{STUDY}.claims": [{**NUMBER, "arm": "stac"}]}, r"0\.arm: unknown name 'stac'; did you"),
    ({f"{STUDY}.claims": [{**NUMBER, "part": "larger"}]}, r"larger .* need protocol\.train_max"),
    ({f"{STUDY}.claims": [{**NUMBER, "relation": "equal"}]}, r"relation: .*; at_most has none"),
    ({f"{ARMS}.dense.learns": "both"}, r"dense\.learns: got 'both'; input should be 'each', 't"),
    (
        {f"{ARMS}.dense.scanned": {"arm": "soap", "key": "model.ridge", "value": 1}},
        r"arms\.dense: scanned: is set by `vary`",
    ),
    ({f"{ARMS}.dense.descriptor": "voxels"}, r"'dense' \(mlp\) reads vectors, but .* gives spots"),
    ({f"{ARMS}.soap.descriptor": "voxels"}, r"'ridge' \(krr\) reads vectors, but .* gives spots"),
    ({f"{STUDY}.includes": ["rotation"]}, r"includes: .*'rotation'; did you mean 'rotations'"),
    ({f"{STUDY}.protocol.spread_poses": 1}, r"spread_poses: one pose has no spread"),
    ({f"{STUDY}.protocol.keep_together": "element"}, r"keep_together: got 'element'; .*'formula'"),
    ({f"{STUDY}.targets": []}, r"studies\.r3dvs: targets: a learning curve needs at least one"),
    # A classification
    ({"studies.rotations.targets": ["band_gap_ev"]}, r"rotations: a classification has no targets"),
    ({"studies.rotations.protocol.classes": 13}, r"classes: 13 materials, but .*size is 12"),
    ({"studies.rotations.protocol.replicas": [2, 1]}, r"replicas: expected ascending"),
    ({"studies.rotations.arms.voxels.model": "ridge"}, r"a classification needs a cnn3d"),
    ({"studies.rotations.arms.voxels.residual_of": "voxels"}, r"classes have no residual"),
    ({"studies.rotations.accuracy_claims.0.arm": "voxel"}, r"accuracy_claims\.0\.arm: .*'voxels'"),
    ({"studies.rotations.accuracy_claims.0.accuracy": 94}, r"accuracy: got 94; .*less than"),
    ({"studies.rotations.accuracy_claims.0.more_than": 1}, r"give accuracy or more_than, not"),
    ({"studies.rotations.protocol.kind": "classify"}, r"protocol\.kind: unknown kind 'classify'"),
    ({"-studies.rotations.protocol.kind": None}, r"protocol\.kind: required and missing"),
    ({"studies.rotations.protocol": CURVE}, r"targets: a learning curve needs at least one"),
    # Figures
    ({f"{STUDY}.figures": ["classification"]}, r"a learning_curve does not have classification$"),
    ({f"{STUDY}.figures": ["scan"]}, r"a scan shows what arms `vary`, but none does"),
    ({f"{STUDY}.figures": ["fig4"]}, r"figures\.0: got 'fig4'; input should be 'concept'"),
    ({"studies.rotations.figures": ["parity"]}, r"a classification does not have parity$"),
    ({"studies.rotations.figures": ["parity", "scan"]}, r"does not have parity, scan$"),
    # Voxels and fields
    ({"descriptors.fields.channels": []}, r"fields\.channels: got \[\]; .*at least 1 item"),
    ({"descriptors.fields.channels": ["density"] * 2}, r"each of density, .* at most once"),
    ({"descriptors.fields.channels": ["spin"]}, r"channels\.0: got 'spin'"),
    ({"descriptors.fields.length_angstrom": 7.2}, r"half: an even number of voxels has halves, 9"),
    ({"descriptors.fields.origin": "no way"}, r"fields\.origin: got 'no way'"),
    # Networks
    ({"models.dense.hidden": [0]}, r"models\.dense\.hidden\.0: got 0"),
    ({"models.dense.dropout": 1.0}, r"models\.dense\.dropout: got 1\.0"),
    ({"models.cnn.optimiser.precision": "half"}, r"precision: got 'half'; .*'bfloat16'"),
    ({"models.cnn.test_poses": 0}, r"models\.cnn\.test_poses: got 0"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[m for _, m in BAD])
def test_each_mistake_has_its_message(raw, changes, message):
    with pytest.raises(ConfigError) as caught:
        load(put(raw, changes))
    text = str(caught.value)
    lines = text.splitlines()
    assert lines[-1].startswith("config/README.md lists every key")
    assert re.search(message, text, re.MULTILINE), text
    assert "pydantic" not in text


@pytest.mark.parametrize("figure", ["concept", "architecture", "hartree"])
def test_figures_of_voxels_need_voxels(raw, figure):
    text = {f"{STUDY}.figures": [figure], f"{STUDY}.claims": []}
    vectors = {name: raw["studies"]["r3dvs"]["arms"][name] for name in ("soap", "dense")}
    with pytest.raises(ConfigError, match=rf"{figure} need an arm with an r3dvs descriptor"):
        load(put(raw, {**text, ARMS: vectors}))


def test_the_architecture_needs_a_network_of_voxels(raw):
    """Voxels that only the mean "reads" have no layers to show."""
    arms = {"mean": {"descriptor": "voxels", "model": "mean"}}
    changes = {"models.mean": {"kind": "mean"}, ARMS: arms, f"{STUDY}.claims": []}
    with pytest.raises(ConfigError, match="architecture needs an arm whose model is a cnn3d"):
        load(put(raw, {**changes, f"{STUDY}.figures": ["architecture"]}))
    assert load(put(raw, {**changes, f"{STUDY}.figures": ["concept", "hartree"]}))


@pytest.mark.parametrize("bound", [{"at_most": 0.1}, {"at_most": None, "r2_at_least": 0.9}])
def test_a_claim_may_be_about_a_number(raw, bound):
    stated = {**NUMBER, **bound}
    (claim,) = load(put(raw, {f"{STUDY}.claims": [stated]})).studies["r3dvs"].claims
    assert claim.model_dump(include=set(stated)) == stated
    assert claim.than == ()
    beyond = [{**stated, "part": "larger"}]
    protocol = f"{STUDY}.protocol.train_max_atoms"
    (claim,) = load(put(raw, {f"{STUDY}.claims": beyond, protocol: 6})).studies["r3dvs"].claims
    assert claim.part == "larger"


# What follows from a config ----------------------------------------------------------------


def test_the_trainings_of_an_arm(raw):
    targets = ("cohesive_energy_ev_per_atom", "band_gap_ev")
    config = load(raw)
    each = {name: (name,) for name in targets}
    assert config.tasks("r3dvs", "voxels") == each
    assert config.tasks("r3dvs", "fields") == {"together": targets}
    # Kernel ridge gives the same numbers either way, and one job is less than two.
    assert config.tasks("r3dvs", "soap") == {"together": targets}
    assert config.tasks("r3dvs", "dense") == {"band_gap_ev": ("band_gap_ev",)}
    # The first model of a stack has no seed, but the second has.
    assert config.tasks("r3dvs", "stack") == {targets[0]: (targets[0],)}
    exact = put(raw, {f"{ARMS}.stack.descriptor": "soap", f"{ARMS}.stack.model": "ridge"})
    assert load(exact).tasks("r3dvs", "stack") == {"together": (targets[0],)}
    random = put(exact, {f"{ARMS}.stack.residual_of": "voxels"})
    assert load(random).tasks("r3dvs", "stack") == {targets[0]: (targets[0],)}


def test_a_family_is_a_study_with_all_that_belongs_to_it(raw):
    config = load(raw)
    assert config.family("r3dvs") == ("r3dvs", "rotations", "scans", "tasks")
    assert config.family("scans") == ("scans",)
    nested = load(
        put(raw, {f"{STUDY}.includes": ["scans"], "studies.scans.includes": ["rotations", "r3dvs"]})
    )
    assert nested.family("r3dvs") == ("r3dvs", "scans", "rotations")
    assert nested.family("scans") == ("scans", "rotations", "r3dvs")


def test_figures_follow_from_the_protocol_where_none_are_named(raw):
    config = load(put(raw, {f"-{STUDY}.figures": None}))
    assert config.studies["r3dvs"].drawn() == ("learning_curves", "parity")
    assert config.studies["rotations"].drawn() == ("classification",)
    assert config.studies["scans"].drawn() == ("scan",)


def test_what_a_job_gets_can_be_read_back(raw):
    """Rules hand specs on as plain dicts."""
    config = load(raw)
    arm = config.studies["r3dvs"].arms["stack"]
    plain = {
        part: config.named(f"{part}s.{getattr(arm, part)}").model_dump(mode="json")
        for part in ("descriptor", "model")
    }
    training = ArmTraining.model_validate({**plain, "first": plain, "residual_folds": 2})
    assert training.model == config.models["cnn"]
    assert training.first == PairSpec.model_validate(plain)
