"""The config file's model: composes the specs that live beside their code.

``load`` turns the plain dict that Snakemake read into a checked ``WorkflowConfig``, or raises
one ``ConfigError`` that names every wrong key, its value, what was expected and the nearest
valid key. Nothing of the workflow runs before that.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from pydantic import Field, ValidationError, model_validator

from rhoflow.arms import TOGETHER, ArmSpec, Name, task_problems
from rhoflow.config_errors import explain
from rhoflow.datasets import AnySet, DatasetSpec, MoleculesSpec, engine_problems
from rhoflow.density.store import DensitySpec
from rhoflow.descriptors.fields import FieldsSpec
from rhoflow.descriptors.image import ImageSpec
from rhoflow.descriptors.pretrained import PretrainedSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec
from rhoflow.descriptors.registry import DescriptorSpec, made_of
from rhoflow.dft.registry import EngineSpec
from rhoflow.errors import ConfigError, did_you_mean
from rhoflow.models.base import devices
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.registry import ModelSpec, can_be_kept, gives, has_features, is_random, reads
from rhoflow.properties import TARGETS
from rhoflow.spec import Spec
from rhoflow.study import (
    NEEDS_VOXELS,
    ComparisonSpec,
    StudySpec,
    maps_problems,
    wells_problems,
    with_scans,
)
from rhoflow.wells import WellsSpec

RESERVED = ("all", "studies", "done")
HOLDS = {"datasets": "crystals", "molecules": "molecules", "wells": "wells"}


class WorkflowConfig(Spec):
    """The whole config file."""

    datasets: dict[Name, DatasetSpec] = Field(
        default_factory=dict, description="Sets of crystals, by name."
    )
    molecules: dict[Name, MoleculesSpec] = Field(
        default_factory=dict, description="Sets of molecules, by name."
    )
    wells: dict[Name, WellsSpec] = Field(
        default_factory=dict,
        description="Sets of potentials in a box of one dimension, by name; they need no engine.",
    )
    engines: dict[Name, EngineSpec] = Field(
        default_factory=dict, description="How structures are computed."
    )
    density: DensitySpec = Field(
        default_factory=lambda: DensitySpec(), description="What is kept of a density."
    )
    descriptors: dict[Name, DescriptorSpec] = Field(
        default_factory=dict, description="Descriptors by name."
    )
    models: dict[Name, ModelSpec] = Field(default_factory=dict, description="Models by name.")
    studies: dict[Name, StudySpec] = Field(default_factory=dict, description="Studies by name.")
    comparisons: dict[Name, ComparisonSpec] = Field(
        default_factory=dict, description="Data sets held against each other, by name."
    )
    report: tuple[Name, ...] = Field(
        default=(),
        description="Studies of the default run, shown in results/report.html; without any it "
        "shows the data sets.",
    )

    @model_validator(mode="after")
    def _names_exist(self) -> "WorkflowConfig":
        problems = list(self._unknown_names())
        if not problems:
            problems = [
                p for name, s in self.studies.items() for p in self._study_problems(name, s)
            ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unknown_names(self) -> Iterable[str]:
        """Names that are taken, or point to no entry of the config."""
        sections = {name: getattr(self, name) for name in HOLDS}
        if not any(sections.values()):
            yield f"{', '.join(HOLDS)}: the config has none of these; give at least one set"
        for name in (*self.sets, *self.wells, *self.studies):
            if name in RESERVED:
                yield f"'{name}' is a name of the workflow's own; choose another"
        for one, other in combinations(HOLDS, 2):
            for name in sections[one].keys() & sections[other].keys():
                yield f"'{name}' stands under {one} and under {other}; choose another name for one"
        for section, sets in (("datasets", self.datasets), ("molecules", self.molecules)):
            for name, data in sets.items():
                yield from _known(f"{section}.{name}.engine", data.engine, self.engines)
                if data.engine in self.engines:
                    yield from engine_problems(section, name, data, self.engines[data.engine])
        for name, comparison in self.comparisons.items():
            here = f"comparisons.{name}"
            yield from _known(f"{here}.dataset", comparison.dataset, self.datasets)
            yield from _known(f"{here}.reference", comparison.reference, self.datasets)
        for name, study in self.studies.items():
            here = f"studies.{name}"
            yield from _known(f"{here}.dataset", study.dataset, [*self.sets, *self.wells])
            for target in study.targets:
                yield from _known(f"{here}.targets", target, TARGETS)
            for other in study.includes:
                yield from _known(f"{here}.includes", other, self.studies)
            for arm, spec in study.arms.items():
                at = f"{here}.arms.{arm}"
                yield from _known(f"{at}.descriptor", spec.descriptor, self.descriptors)
                yield from _known(f"{at}.model", spec.model, self.models)
                if spec.residual_of is not None:
                    yield from _known(f"{at}.residual_of", spec.residual_of, study.arms)
                for key, named in spec.named_targets():
                    for target in named:
                        yield from _known(f"{at}.{key}", target, study.targets)
            for i, stated in enumerate(study.accuracy_claims):
                yield from _known(f"{here}.accuracy_claims.{i}.arm", stated.arm, study.arms)
            for i, claim in enumerate(study.claims):
                at = f"{here}.claims.{i}"
                for target in claim.about:
                    yield from _known(f"{at}.{claim.names}", target, study.targets)
                yield from _known(f"{at}.arm", claim.arm, study.arms)
                for arm in claim.than:
                    yield from _known(f"{at}.than", arm, study.arms)
        for name in self.report:
            yield from _known("report", name, self.studies)

    def _study_problems(self, name: str, study: StudySpec) -> Iterable[str]:
        """Sizes and pairs that cannot work together."""
        named = [study.targets, *(a.targets for a in study.arms.values() if a.targets)]
        if any(len(set(targets)) < len(targets) for targets in named):
            yield f"studies.{name}.targets: a target is named twice; name each once"
        yield from self._size_problems(name, study)
        yield from self._figure_problems(name, study)
        held, densities = self.wells.get(study.dataset), self.arms_with_densities(name)
        yield from wells_problems(f"studies.{name}", study, held, densities)
        shown = self.fields_of(name)
        fields = {arm: self.descriptors[study.arms[arm].descriptor] for arm in shown}
        data = self.molecules.get(study.dataset)
        engine = None if data is None else self.engines[data.engine].kind
        yield from maps_problems(f"studies.{name}", study, fields, self.kept_maps(name), engine)
        for i, claim in enumerate(study.claims):
            for arm in (claim.arm, *claim.than):
                for target in claim.about:
                    if target not in study.arms[arm].judged(study.targets):
                        yield f"studies.{name}.claims.{i}: arm '{arm}' does not learn {target}"
        for arm, spec in study.arms.items():
            yield from self._arm_problems(f"studies.{name}.arms.{arm}", study, arm, spec)

    def _arm_problems(self, here: str, study: StudySpec, arm: str, spec: ArmSpec) -> Iterable[str]:
        """What of an arm does not fit together, or does not fit its study."""
        networks = any(is_random(model) for model in self.models_of(study, arm))
        yield from task_problems(here, spec, study.targets, networks=networks)
        if study.protocol.kind == "classification" and spec.residual_of:
            yield f"{here}.residual_of: classes have no residual"
        if spec.residual_of and study.arms[spec.residual_of].residual_of:
            yield (
                f"{here}.residual_of: '{spec.residual_of}' learns a residual itself; name an arm "
                "that does not"
            )
        try:
            devices(*self.models_of(study, arm))
        except ConfigError as error:
            yield f"{here}: {error}"
        descriptor, model = self.descriptors[spec.descriptor], self.models[spec.model]
        wanted, given = reads(model), gives(descriptor)
        if not {given, "anything"} & set(wanted):
            yield (
                f"{here}: model '{spec.model}' ({model.kind}) reads {' or '.join(wanted)}, "
                f"but descriptor '{spec.descriptor}' ({descriptor.kind}) gives {given}"
            )
        if spec.residual_of and "wells" in wanted:
            yield f"{here}.residual_of: {model.kind} learns energies, not the errors of another arm"
        held, meant = HOLDS[self.section(study.dataset).partition(".")[0]], made_of(descriptor)
        if held not in meant:
            yield (
                f"{here}: descriptor '{spec.descriptor}' ({descriptor.kind}) is one of "
                f"{' or '.join(meant)}, but '{study.dataset}' holds {held}"
            )
        if spec.keep and (not can_be_kept(model) or spec.residual_of or spec.learns != "together"):
            yield (
                f"{here}.keep: expected an mlp, a qdf, a gcn or a density_operator that learns all "
                "its targets together, and no residual"
            )
        if isinstance(descriptor, PretrainedSpec):
            yield from self._pretrained_problems(spec.descriptor, descriptor)
        needed, why = _reach(descriptor)
        if needed > self.density.g_store:
            yield (
                f"density.g_store is {self.density.g_store:g} 1/Å, but descriptor "
                f"'{spec.descriptor}' needs {why} = {needed:.3f} 1/Å"
            )
        if isinstance(model, CNN3DSpec) and isinstance(descriptor, R3DVSSpec | ImageSpec):
            try:
                model.edges(descriptor.grid_shape)
            except ConfigError as error:
                yield f"{here}: {error}"

    def _pretrained_problems(self, name: str, spec: PretrainedSpec) -> Iterable[str]:
        """A network that is not there, or is not kept."""
        here = f"descriptors.{name}"
        if spec.study not in self.studies:
            yield from _known(f"{here}.study", spec.study, self.studies)
            return
        arms = self.studies[spec.study].arms
        yield from _known(f"{here}.arm", spec.arm, arms)
        if spec.arm in arms and not has_features(self.models[arms[spec.arm].model]):
            yield f"{here}.arm: the network of '{spec.arm}' gives no vector; name another arm"
        elif spec.arm in arms and not arms[spec.arm].keep:
            yield f"{here}.arm: studies.{spec.study}.arms.{spec.arm} must say `keep: true`"
        elif spec.arm in arms and self.descriptors[arms[spec.arm].descriptor].kind == spec.kind:
            yield f"{here}.arm: '{spec.arm}' reads a pretrained descriptor itself; name another arm"

    def _figure_problems(self, name: str, study: StudySpec) -> Iterable[str]:
        """Figures of something that no arm of the study has."""
        arms = study.arms.values()
        kinds = {self.descriptors[a.descriptor].kind for a in arms}
        if "density_map" in study.drawn():
            data = self.molecules.get(study.dataset)
            if data is None or self.engines[data.engine].kind != "pyscf":
                yield (
                    f"studies.{name}.figures: density_map compares with an engine's orbitals, so "
                    "the data set must be one of molecules whose engine is a pyscf"
                )
            if not self.mapped_arms(name):
                yield f"studies.{name}.figures: density_map needs a qdf arm with `keep: true`"
        voxels = [figure for figure in study.drawn() if figure in NEEDS_VOXELS]
        if voxels and "r3dvs" not in kinds:
            yield (
                f"studies.{name}.figures: {', '.join(voxels)} need an arm with an r3dvs descriptor"
            )
        if "architecture" in study.drawn() and not any(self._reads_spots(a) for a in arms):
            yield (
                f"studies.{name}.figures: architecture needs an arm whose model is a cnn3d that "
                "reads an r3dvs descriptor"
            )

    def _reads_spots(self, arm: ArmSpec) -> bool:
        """Whether an arm is a voxel network on reciprocal spots."""
        kinds = self.models[arm.model].kind, self.descriptors[arm.descriptor].kind
        return kinds == ("cnn3d", "r3dvs")

    def _size_problems(self, name: str, study: StudySpec) -> Iterable[str]:
        """A protocol that asks for more structures than its data set has."""
        here, size, protocol = f"studies.{name}.protocol", self.size(study.dataset), study.protocol
        told = f"{self.section(study.dataset)}{'' if study.dataset in self.wells else '.selection'}"
        if protocol.kind == "classification":
            if protocol.classes > size:
                yield f"{here}.classes: {protocol.classes} materials, but {told}.size is {size}"
            for arm, spec in study.arms.items():
                if not self._reads_spots(spec):
                    yield (
                        f"studies.{name}.arms.{arm}.model: a classification needs a cnn3d that "
                        "reads an r3dvs descriptor"
                    )
            return
        needed = max(protocol.train_sizes) + protocol.test_size
        if needed > size:
            yield (
                f"{here}: the largest of train_sizes and test_size need {needed} "
                f"structures, but {told}.size is {size}"
            )

    @property
    def sets(self) -> dict[str, AnySet]:
        """All sets of structures by name: crystals, then molecules."""
        return {**self.datasets, **self.molecules}

    def section(self, dataset: str) -> str:
        """Where a data set stands in the config."""
        return f"{next(s for s in HOLDS if dataset in getattr(self, s))}.{dataset}"

    def size(self, dataset: str) -> int:
        """Structures of a data set, or potentials of wells, from the config alone."""
        if dataset in self.wells:
            return self.wells[dataset].size
        return self.sets[dataset].selection.size

    def n_shards(self, dataset: str) -> int:
        """Number of shards of a set of structures, from the config alone."""
        data = self.sets[dataset]
        return -(-data.selection.size // data.shard_size)

    def tasks(self, study: str, arm: str) -> dict[str, tuple[str, ...]]:
        """The trainings of an arm by name, each with the targets that it learns.

        Models without randomness learn all targets at once: their numbers are the same.
        """
        settings, targets = self.studies[study].arms[arm], self.studies[study].targets
        if not self.trains_networks(study, arm):
            return {TOGETHER: settings.judged(targets)}
        return settings.trainings(targets)

    def trains_networks(self, study: str, arm: str) -> bool:
        """Whether an arm, or the one whose residual it learns, is a network: work for a GPU."""
        return any(is_random(model) for model in self.models_of(self.studies[study], arm))

    def models_of(self, study: StudySpec, arm: str) -> list[ModelSpec]:
        """The model of an arm, and before it that of the arm whose residual it learns."""
        names = [study.arms[arm].residual_of, arm]
        return [self.models[study.arms[name].model] for name in names if name is not None]

    def family(self, study: str) -> tuple[str, ...]:
        """A study and, one after the other, those that belong to it."""
        names = [study]
        for name in names:  # grows while it is read; a circle of includes ends
            names += [n for n in self.studies[name].includes if n not in names]
        return tuple(names)

    def named(self, path: str) -> Spec:
        """The spec at a dotted path such as ``descriptors.soap``."""
        node: Any = self
        for part in path.split("."):
            node = node[part] if isinstance(node, Mapping) else getattr(node, part)
        return node

    def mapped_arms(self, study: str) -> list[str]:
        """Arms of a study whose network is kept and has a density."""
        arms = self.studies[study].arms
        return [n for n, a in arms.items() if a.keep and self.models[a.model].kind == "qdf"]

    def fields_of(self, study: str) -> list[str]:
        """Arms of a study that map potentials to densities."""
        arms = self.studies[study].arms
        return [n for n, a in arms.items() if self.descriptors[a.descriptor].kind == "fields"]

    def kept_maps(self, study: str) -> list[str]:
        """Those of them that are kept."""
        return [n for n in self.fields_of(study) if self.studies[study].arms[n].keep]

    def arms_with_densities(self, study: str) -> list[str]:
        """Arms of a study of wells whose models predict densities, without those of a scan."""
        arms = self.studies[study].shown_arms()
        return [n for n, a in arms.items() if "wells" in reads(self.models[a.model])]

    def descriptors_of_kind(self, kind: str) -> list[str]:
        """Names of the descriptors of one kind."""
        return [name for name, spec in self.descriptors.items() if spec.kind == kind]


def _reach(descriptor: Spec) -> tuple[float, str]:
    """The |g| up to which a descriptor needs the density, 1/Å, and what it is called."""
    match descriptor:
        case R3DVSSpec() | R3DVSPowerSpec():
            return descriptor.g_cut, "g_cut = π/δL*"
        case ImageSpec():
            return descriptor.g_needed, "π·edge/length"
        case FieldsSpec():
            return descriptor.g_cut, "g_cut"
    return 0.0, ""


def _known(where: str, name: str, valid: Iterable[str]) -> Iterable[str]:
    names = list(valid)
    if name not in names:
        yield f"{where}: unknown name '{name}'{did_you_mean(name, names)}"


def load(raw: Mapping[str, Any]) -> WorkflowConfig:
    """Check a config.

    Raises:
        ConfigError: one message for all that is wrong with it.
    """
    try:
        config = WorkflowConfig.model_validate(dict(raw))
    except ValidationError as error:
        lines = [explain(e, WorkflowConfig) for e in error.errors(include_url=False)]
        raise _not_valid(lines) from None
    pool = {"descriptor": dict(config.descriptors), "model": dict(config.models)}
    try:
        studies = with_scans(config.studies, pool)
    except ConfigError as error:
        raise _not_valid([str(error)]) from None
    wider = config.model_copy(
        update={"studies": studies, "descriptors": pool["descriptor"], "models": pool["model"]}
    )
    # What a scan makes must fit together too.
    problems = [p for n, s in studies.items() for p in wider._study_problems(n, s)]
    if problems:
        raise _not_valid(problems)
    return wider


def _not_valid(lines: Iterable[str]) -> ConfigError:
    return ConfigError(
        "the config is not valid:\n"
        + "\n".join(f"  {line}" for line in lines)
        + "\nconfig/README.md lists every key with its unit and default."
    )
