"""Arms of a study: the targets that each network of one learns, and the arms that a scan makes."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from rhoflow.errors import ConfigError, did_you_mean
from rhoflow.properties import TARGETS
from rhoflow.spec import Spec

# Names become parts of paths and of wildcards; studies become targets of Snakemake.
NAME = r"^[a-z0-9][a-z0-9_]{0,39}$"
Name = Annotated[str, Field(pattern=NAME)]
Setting = float | int | str | bool | None
# The training of an arm whose one model answers all targets.
TOGETHER = "together"
# Key of `vary` whose values are targets instead of a setting's values.
BESIDE = "beside"


class ScanSpec(Spec):
    """Which setting of which arm an arm differs in."""

    arm: Name = Field(description="The arm that was varied.")
    key: str = Field(description="The setting.")
    value: Setting = Field(description="Its value.")


class ArmSpec(Spec):
    """A contestant: a descriptor and the model that reads it."""

    descriptor: Name = Field(description="Name of an entry under `descriptors`.")
    model: Name = Field(description="Name of an entry under `models`.")
    label: str | None = Field(default=None, description="Name in figures; null: the arm's own.")
    learns: Literal["each", "together", "groups"] = Field(
        default="each",
        description="A model for each target, one whose last layer answers all of them, or one "
        "for each of `groups`; kernel ridge regression gives the same numbers either way.",
    )
    groups: dict[Name, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="With `learns: groups`: the targets that a model learns together, by a name "
        "for the group; each target of the arm stands in one group.",
    )
    beside: tuple[str, ...] = Field(
        default=(),
        description="With `learns: each`: targets of the study that every network learns along "
        "with its own, and is not judged by; the arm has no network for these alone.",
    )
    residual_of: Name | None = Field(
        default=None,
        description="Another arm: this one learns what that one gets wrong on the training set, "
        "and the two answers add up. Test structures enter neither.",
    )
    residual_folds: int = Field(
        default=0,
        ge=0,
        le=100,
        description="0: the residual of a model that was fitted to the same structures (the "
        "paper); 2 or more: of so many models that each left a part of them out.",
    )
    targets: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Targets of the study that this arm learns; null: all.",
    )
    keep: bool = Field(
        default=False,
        description="Keep the network of each job's first redraw, trained on the most structures: "
        "for descriptors of kind pretrained, and for figures of densities.",
    )
    vary: dict[str, Annotated[tuple[Setting, ...], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Settings to scan, one at a time: `descriptor.KEY` or `model.KEY` and their "
        "values. Each value becomes an arm of its own, named ARM__KEY_VALUE; the arm itself stays, "
        "and stands for the values that it has. `beside` and targets: an arm for each target that "
        "is learned beside.",
    )
    scanned: ScanSpec | None = Field(
        default=None, description="Set by `vary` in the arms that it makes; not to be given."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.scanned is not None:
            raise ValueError("scanned: is set by `vary` in the arms that it makes; leave it out")
        if self.residual_folds and self.residual_of is None:
            raise ValueError("residual_folds: says how a residual is taken; give residual_of too")
        if self.residual_folds == 1:
            raise ValueError("residual_folds: one fold leaves nothing to fit; give 0, or 2 or more")
        return self

    @model_validator(mode="after")
    def _tasks_make_sense(self) -> Self:
        if (self.learns == "groups") != bool(self.groups):
            raise ValueError("groups: stand beside `learns: groups`, which needs them; give both")
        for name in self.groups:
            if name in TARGETS or name == TOGETHER:
                raise ValueError(f"groups: '{name}' names a training already; choose another name")
        grouped = [target for group in self.groups.values() for target in group]
        for key, named in (("groups", grouped), (BESIDE, self.beside)):
            twice = _twice(named)
            if twice:
                raise ValueError(f"{key}: '{twice[0]}' is named twice; name each target once")
        if self.learns != "each" and (self.beside or BESIDE in self.vary):
            raise ValueError(f"beside: needs `learns: each`; got `learns: {self.learns}`")
        return self

    def named_targets(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Every list of targets that the arm names, and where it stands."""
        yield "targets", self.targets or ()
        yield BESIDE, self.beside
        for name, group in self.groups.items():
            yield f"groups.{name}", group

    def judged(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Those of a study's targets that the arm predicts and is judged by."""
        return tuple(t for t in self.targets or targets if t not in self.beside)

    def trainings(self, targets: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The networks of an arm by name, each with the targets that it learns.

        Args:
            targets: those of the study.
        """
        judged = self.judged(targets)
        if self.learns == "together":
            return {TOGETHER: judged}
        return self.groups or {target: (target, *self.beside) for target in judged}


def task_problems(
    here: str, arm: ArmSpec, targets: Sequence[str], *, networks: bool
) -> Iterable[str]:
    """What of an arm's tasks does not fit its study.

    Args:
        here: where the arm stands.
        arm: any whose names of targets are known.
        targets: those of the study.
        networks: whether the arm trains any.
    """
    if arm.groups:
        missing = [
            t for t in arm.judged(targets) if not any(t in group for group in arm.groups.values())
        ]
        if missing:
            yield f"{here}.groups: {', '.join(missing)} stands in no group; put it into one"
        for name, group in arm.groups.items():
            for target in group:
                if target not in arm.judged(targets):
                    yield f"{here}.groups.{name}: the arm does not learn {target}; take it out"
    if arm.beside and not networks:
        yield f"{here}.beside: its model learns each target by itself, whatever else it learns"
    if arm.beside and not arm.judged(targets):
        yield f"{here}.beside: holds every target of the arm, so that it is judged by none"


def vary_arm(
    here: str,
    arm: str,
    spec: ArmSpec,
    key: str,
    value: Any,
    *,
    targets: Collection[str],
    pool: dict[str, dict[str, Any]],
) -> ArmSpec | None:
    """An arm that differs in one setting, or learns one target more beside its own.

    Args:
        here: where the variation stands.
        arm: name of the arm that is varied.
        spec: that arm.
        key: what is varied.
        value: its new value.
        targets: those of the study.
        pool: descriptors and models by name; what the new arm needs joins them.

    Returns:
        The new arm; None where the arm has that value already.

    Raises:
        ConfigError: a key or value that cannot be.
    """
    scan = ScanSpec(arm=arm, key=key, value=value)
    if key == BESIDE:
        if value not in targets or value in spec.beside:
            free = [t for t in targets if t not in spec.beside]
            raise ConfigError(f"{here}: expected another target{did_you_mean(str(value), free)}")
        label = f"{spec.label or arm}, beside {TARGETS[value].label}"
        changes: dict[str, Any] = {"beside": (*spec.beside, value)}
    else:
        side, _, path = key.partition(".")
        if side not in pool or not path:
            raise ConfigError(f"{here}: expected descriptor.KEY or model.KEY, or beside")
        name = _with_setting(here, getattr(spec, side), key, value, pool[side])
        if name is None:
            return None
        label = f"{spec.label or arm}, {key.rpartition('.')[2]} {value}"
        changes = {side: name}
    return spec.model_copy(update={**changes, "vary": {}, "label": label, "scanned": scan})


def _with_setting(
    here: str, entry: str, key: str, value: Any, entries: dict[str, Any]
) -> str | None:
    """Name of a descriptor or model with one setting changed, None if it has that value already.

    It joins the entries.
    """
    side, _, path = key.partition(".")
    base = entries[entry]
    settings = base.model_dump()
    owner: Any = {}
    node: Any = settings
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            valid = node if isinstance(node, dict) else ()
            raise ConfigError(f"{here}: {base.kind} has no '{part}'{did_you_mean(part, valid)}")
        owner, node = node, node[part]
    owner[path.rpartition(".")[2]] = value
    try:
        changed = type(base).model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"{here}: {error.errors()[0]['msg']}; got {value!r}") from None
    if changed == base:
        return None
    name = f"{entry}__{slug(key, value)}"
    if entries.setdefault(name, changed) != changed:
        raise ConfigError(f"{here}: {value!r} makes a second {side} '{name}', unlike the first")
    return name


def slug(key: str, value: Any) -> str:
    """A setting and its value as part of a name: letters, digits and underscores."""
    text = f"{key.rpartition('.')[2]}_{value}".lower().replace("-", "m")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def _twice(names: Sequence[str]) -> list[str]:
    return [name for i, name in enumerate(names) if name in names[:i]]
