"""The config file's model: composes the specs that live beside their code.

``load`` turns the plain dict that Snakemake read into a checked ``WorkflowConfig``, or raises
one ``ConfigError`` that names every wrong key, its value, what was expected and the nearest
valid key. Nothing of the workflow runs before that.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from rhoflow.density.store import DensitySpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec
from rhoflow.descriptors.registry import DescriptorSpec
from rhoflow.dft.registry import EngineSpec
from rhoflow.errors import ConfigError, did_you_mean
from rhoflow.models.base import devices
from rhoflow.models.registry import ModelSpec, is_random, reads_spots, reads_vectors
from rhoflow.spec import Spec
from rhoflow.structures.select import SelectionSpec
from rhoflow.structures.sources import SourceSpec
from rhoflow.study import NEEDS_VOXELS, ComparisonSpec, Name, StudySpec, with_scans
from rhoflow.tables import TARGETS

RESERVED = ("all", "studies", "done")
TOGETHER = "together"


class DatasetSpec(Spec):
    """A set of structures and how they are computed."""

    source: SourceSpec = Field(description="Where structures come from.")
    selection: SelectionSpec = Field(description="Filters and random sample.")
    engine: Name = Field(description="Name of an entry under `engines`.")
    shard_size: int = Field(
        default=24,
        ge=1,
        le=1000,
        description="Structures that one job works through; 20 to 30 on a cluster.",
    )

    @property
    def n_shards(self) -> int:
        """Number of shards, from the config alone."""
        return -(-self.selection.size // self.shard_size)


class WorkflowConfig(Spec):
    """The whole config file."""

    datasets: dict[Name, DatasetSpec] = Field(description="Sets of structures.")
    engines: dict[Name, EngineSpec] = Field(description="How densities are computed.")
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
        for name in (*self.datasets, *self.studies):
            if name in RESERVED:
                yield f"'{name}' is a name of the workflow's own; choose another"
        for name, data in self.datasets.items():
            yield from _known(f"datasets.{name}.engine", data.engine, self.engines)
            if data.engine in self.engines:
                yield from _takes_finished(name, data, self.engines[data.engine])
        for name, comparison in self.comparisons.items():
            here = f"comparisons.{name}"
            yield from _known(f"{here}.dataset", comparison.dataset, self.datasets)
            yield from _known(f"{here}.reference", comparison.reference, self.datasets)
        for name, study in self.studies.items():
            here = f"studies.{name}"
            yield from _known(f"{here}.dataset", study.dataset, self.datasets)
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
                for target in spec.targets or ():
                    yield from _known(f"{at}.targets", target, study.targets)
            for i, stated in enumerate(study.accuracy_claims):
                yield from _known(f"{here}.accuracy_claims.{i}.arm", stated.arm, study.arms)
            for i, claim in enumerate(study.claims):
                at = f"{here}.claims.{i}"
                yield from _known(f"{at}.target", claim.target, study.targets)
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
        for i, claim in enumerate(study.claims):
            for arm in (claim.arm, *claim.than):
                if claim.target not in (study.arms[arm].targets or study.targets):
                    yield f"studies.{name}.claims.{i}: arm '{arm}' does not learn {claim.target}"
        for arm, spec in study.arms.items():
            if study.protocol.kind == "classification" and spec.residual_of:
                yield f"studies.{name}.arms.{arm}.residual_of: classes have no residual"
            if spec.residual_of and study.arms[spec.residual_of].residual_of:
                yield (
                    f"studies.{name}.arms.{arm}.residual_of: '{spec.residual_of}' learns a "
                    "residual itself; name an arm that does not"
                )
            try:
                devices(*self.models_of(study, arm))
            except ConfigError as error:
                yield f"studies.{name}.arms.{arm}: {error}"
            descriptor, model = self.descriptors[spec.descriptor], self.models[spec.model]
            if reads_spots(model) and not isinstance(descriptor, R3DVSSpec):
                yield (
                    f"studies.{name}.arms.{arm}: model '{spec.model}' ({model.kind}) reads r3dvs, "
                    f"but descriptor '{spec.descriptor}' is of kind {descriptor.kind}"
                )
            if reads_vectors(model) and isinstance(descriptor, R3DVSSpec):
                yield (
                    f"studies.{name}.arms.{arm}: model '{spec.model}' ({model.kind}) reads "
                    f"vectors, but descriptor '{spec.descriptor}' is of kind r3dvs"
                )
            reciprocal = isinstance(descriptor, R3DVSSpec | R3DVSPowerSpec)
            if reciprocal and descriptor.g_cut > self.density.g_store:
                yield (
                    f"density.g_store is {self.density.g_store:g} 1/Å, but descriptor "
                    f"'{spec.descriptor}' needs g_cut = π/δL* = {descriptor.g_cut:.3f} 1/Å"
                )

    def _figure_problems(self, name: str, study: StudySpec) -> Iterable[str]:
        """Figures of something that no arm of the study has."""
        arms = study.arms.values()
        kinds = {self.descriptors[a.descriptor].kind for a in arms}
        voxels = [figure for figure in study.drawn() if figure in NEEDS_VOXELS]
        if voxels and "r3dvs" not in kinds:
            yield (
                f"studies.{name}.figures: {', '.join(voxels)} need an arm with an r3dvs descriptor"
            )
        if "architecture" in study.drawn() and not any(
            reads_spots(self.models[a.model]) for a in arms
        ):
            yield f"studies.{name}.figures: architecture needs an arm whose model is a cnn3d"

    def _size_problems(self, name: str, study: StudySpec) -> Iterable[str]:
        """A protocol that asks for more structures than its data set has."""
        here, size = f"studies.{name}.protocol", self.datasets[study.dataset].selection.size
        protocol = study.protocol
        if protocol.kind == "classification":
            if protocol.classes > size:
                yield (
                    f"{here}.classes: {protocol.classes} materials, but "
                    f"datasets.{study.dataset}.selection.size is {size}"
                )
            for arm, spec in study.arms.items():
                if not reads_spots(self.models[spec.model]):
                    yield f"studies.{name}.arms.{arm}.model: a classification needs a cnn3d"
            return
        needed = max(protocol.train_sizes) + protocol.test_size
        if needed > size:
            yield (
                f"{here}: the largest of train_sizes and test_size need {needed} "
                f"structures, but datasets.{study.dataset}.selection.size is {size}"
            )

    def tasks(self, study: str, arm: str) -> dict[str, tuple[str, ...]]:
        """The trainings of an arm by name, each with the targets that it learns.

        Models without randomness learn all targets at once: their numbers are the same.
        """
        settings = self.studies[study].arms[arm]
        targets = settings.targets or self.studies[study].targets
        if settings.learns == "together" or not self.trains_networks(study, arm):
            return {TOGETHER: targets}
        return {target: (target,) for target in targets}

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

    def descriptors_of_kind(self, kind: str) -> list[str]:
        """Names of the descriptors of one kind."""
        return [name for name, spec in self.descriptors.items() if spec.kind == kind]


def _takes_finished(name: str, data: DatasetSpec, engine: EngineSpec) -> Iterable[str]:
    """Engines that take finished calculations need the source that knows where they are."""
    if engine.kind not in ("archive", "outputs"):
        return
    here = f"datasets.{name}"
    source = data.source
    if source.kind != engine.kind:
        yield (
            f"{here}: engine '{data.engine}' ({engine.kind}) takes finished calculations, so the "
            f"source must be of kind {engine.kind}; it is of kind {source.kind}"
        )
    elif source.kind == "archive" and engine.kind == "archive" and source.path != engine.path:
        yield (
            f"{here}: the source reads the archive '{source.path}', but engine "
            f"'{data.engine}' takes from '{engine.path}'; give both the same path"
        )


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
        raise _not_valid(_explain(e) for e in error.errors(include_url=False)) from None
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


def _explain(error: ErrorDetails) -> str:
    """One line: where, what was got, what was expected, the nearest valid key."""
    location = [part for part in error["loc"] if part != "[key]"]
    owner, shown = _walk(location)
    where = ".".join(str(part) for part in shown) or "config"
    if error["type"] == "extra_forbidden":
        keys = owner.model_fields if owner else ()
        return f"{where}: unknown key '{shown[-1]}'{did_you_mean(str(shown[-1]), keys)}"
    if error["type"] == "missing":
        return f"{where}: this key is required and missing"
    if error["type"] == "value_error":
        return re.sub(r"^config: ", "", f"{where}: {error['msg'].removeprefix('Value error, ')}")
    if error["type"].startswith("union_tag"):
        given = error["input"].get("kind") if isinstance(error["input"], Mapping) else None
        kinds = [
            k.strip(" '") for k in (error.get("ctx") or {}).get("expected_tags", "").split(",")
        ]
        hint = did_you_mean(str(given), kinds if kinds != [""] else ())
        return (
            f"{where}.kind: {f'unknown kind {given!r}' if given else 'required and missing'}{hint}"
        )
    got = repr(error["input"])
    got = got if len(got) < 80 else got[:77] + "..."
    return f"{where}: got {got}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _walk(location: list[str | int]) -> tuple[type[BaseModel] | None, list[str | int]]:
    """Follow an error's location through the models.

    Returns:
        The model that owns the last key, and the location without the tags of unions.
    """
    annotation: Any = WorkflowConfig
    owner: type[BaseModel] | None = None
    shown: list[str | int] = []
    for part in location:
        options = _models(annotation)
        tagged = [m for m in options if _kind(m) == part]
        if len(options) > 1 and tagged:
            annotation = tagged[0]
            continue
        shown.append(part)
        if options:
            owner = options[0]
            field = owner.model_fields.get(str(part))
            annotation = field.annotation if field else None
        else:
            annotation = _item(annotation)
    return owner, shown


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (dict, tuple, list):
        return []
    return [m for a in get_args(annotation) for m in _models(a)]


def _item(annotation: Any) -> Any:
    """What the values of a dict or the items of a tuple are annotated with."""
    args = get_args(annotation)
    if get_origin(annotation) is dict:
        return args[1]
    return args[0] if args else None


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return None if field is None else field.default
