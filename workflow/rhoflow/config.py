"""The config file's model: composes the specs that live beside their code.

``load`` turns the plain dict that Snakemake read into a checked ``WorkflowConfig``, or raises
one ``ConfigError`` that names every wrong key, its value, what was expected and the nearest
valid key. Nothing of the workflow runs before that.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from rhoflow.density.store import DensitySpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.registry import DescriptorSpec
from rhoflow.dft.registry import EngineSpec
from rhoflow.errors import ConfigError, did_you_mean
from rhoflow.evaluation.claims import ClaimSpec
from rhoflow.evaluation.protocol import LearningCurveSpec
from rhoflow.models.registry import ModelSpec, reads_spots
from rhoflow.spec import Spec
from rhoflow.structures.select import SelectionSpec
from rhoflow.structures.sources import SourceSpec
from rhoflow.tables import TARGETS

# Names become parts of paths and of wildcards; studies become targets of Snakemake.
NAME = r"^[a-z0-9][a-z0-9_]{0,39}$"
RESERVED = ("all", "studies", "done")
Name = Annotated[str, Field(pattern=NAME)]


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


class ArmSpec(Spec):
    """A contestant: a descriptor and the model that reads it."""

    descriptor: Name = Field(description="Name of an entry under `descriptors`.")
    model: Name = Field(description="Name of an entry under `models`.")
    label: str | None = Field(default=None, description="Name in figures; null: the arm's own.")


class StudySpec(Spec):
    """A comparison of arms on one data set, by one protocol."""

    title: str = Field(description="Heading in the report.")
    dataset: Name = Field(description="Name of an entry under `datasets`.")
    targets: tuple[str, ...] = Field(min_length=1, description="Properties to learn.")
    arms: dict[Name, ArmSpec] = Field(min_length=1, description="Descriptor and model pairs.")
    protocol: LearningCurveSpec = Field(description="Sizes, redraws and seeds.")
    claims: tuple[ClaimSpec, ...] = Field(default=(), description="Claims of the paper to judge.")
    show_density_of: str | None = Field(
        default=None,
        description="material_id whose density the concept figure shows; null: the first "
        "calculation that succeeded.",
    )


class ComparisonSpec(Spec):
    """The same structures, computed for two data sets: another engine, settings or machine."""

    dataset: Name = Field(description="Name of an entry under `datasets`.")
    reference: Name = Field(
        description="Name of an entry under `datasets` against which it is compared; structures "
        "are paired by their ids in a common source, or by formula and space group."
    )


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
            for arm, spec in study.arms.items():
                at = f"{here}.arms.{arm}"
                yield from _known(f"{at}.descriptor", spec.descriptor, self.descriptors)
                yield from _known(f"{at}.model", spec.model, self.models)
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
        if len(set(study.targets)) < len(study.targets):
            yield f"studies.{name}.targets: a target is named twice; name each once"
        size = self.datasets[study.dataset].selection.size
        needed = max(study.protocol.train_sizes) + study.protocol.test_size
        if needed > size:
            yield (
                f"studies.{name}.protocol: the largest of train_sizes and test_size need {needed} "
                f"structures, but datasets.{study.dataset}.selection.size is {size}"
            )
        for arm, spec in study.arms.items():
            descriptor, model = self.descriptors[spec.descriptor], self.models[spec.model]
            if reads_spots(model) and not isinstance(descriptor, R3DVSSpec):
                yield (
                    f"studies.{name}.arms.{arm}: model '{spec.model}' ({model.kind}) reads r3dvs, "
                    f"but descriptor '{spec.descriptor}' is of kind {descriptor.kind}"
                )
            if model.kind == "krr" and isinstance(descriptor, R3DVSSpec):
                yield (
                    f"studies.{name}.arms.{arm}: model '{spec.model}' (krr) reads vectors, "
                    f"but descriptor '{spec.descriptor}' is of kind r3dvs"
                )
            if isinstance(descriptor, R3DVSSpec) and descriptor.g_cut > self.density.g_store:
                yield (
                    f"density.g_store is {self.density.g_store:g} 1/Å, but descriptor "
                    f"'{spec.descriptor}' needs g_cut = π/δL* = {descriptor.g_cut:.3f} 1/Å"
                )

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
        return WorkflowConfig.model_validate(dict(raw))
    except ValidationError as error:
        lines = [f"  {_explain(e)}" for e in error.errors(include_url=False)]
        raise ConfigError(
            "the config is not valid:\n"
            + "\n".join(lines)
            + "\nconfig/README.md lists every key with its unit and default."
        ) from None


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
