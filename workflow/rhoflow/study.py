"""Studies: their arms, and the arms that a scan of settings makes of one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from rhoflow.errors import ConfigError, did_you_mean
from rhoflow.evaluation.claims import AccuracyClaimSpec, ClaimSpec
from rhoflow.evaluation.classification import ClassificationSpec
from rhoflow.evaluation.protocol import LearningCurveSpec
from rhoflow.spec import Spec
from rhoflow.wells import WellsSpec

# Names become parts of paths and of wildcards; studies become targets of Snakemake.
NAME = r"^[a-z0-9][a-z0-9_]{0,39}$"
Name = Annotated[str, Field(pattern=NAME)]
Setting = float | int | str | bool | None
ProtocolSpec = Annotated[LearningCurveSpec | ClassificationSpec, Field(discriminator="kind")]
FigureName = Literal[
    "concept",
    "architecture",
    "hartree",
    "learning_curves",
    "parity",
    "scan",
    "classification",
    "extrapolation",
    "density_map",
    "wells",
]
DEFAULT_FIGURES: dict[str, tuple[FigureName, ...]] = {
    "learning_curve": ("learning_curves", "parity"),
    "classification": ("classification",),
}
CURVES = ("learning_curves", "parity", "scan", "extrapolation", "density_map", "wells")
NEEDS_VOXELS = ("concept", "architecture", "hartree")
OF_WELLS = "energy_kcal_per_mol"


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
    learns: Literal["each", "together"] = Field(
        default="each",
        description="A model for each target, or one whose last layer answers all of them; kernel "
        "ridge regression gives the same numbers either way.",
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
        "and stands for the values that it has.",
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


class StudySpec(Spec):
    """A comparison of arms on one data set, by one protocol."""

    title: str = Field(description="Heading in the report.")
    dataset: Name = Field(description="Name of an entry under `datasets`, `molecules` or `wells`.")
    targets: tuple[str, ...] = Field(
        default=(), description="Properties to learn; a classification has none."
    )
    arms: dict[Name, ArmSpec] = Field(min_length=1, description="Descriptor and model pairs.")
    protocol: ProtocolSpec = Field(description="How arms are trained and tested.")
    claims: tuple[ClaimSpec, ...] = Field(default=(), description="Claims of the paper to judge.")
    accuracy_claims: tuple[AccuracyClaimSpec, ...] = Field(
        default=(), description="Claims about a classification."
    )
    figures: tuple[FigureName, ...] | None = Field(
        default=None,
        description="Figures to draw, in this order; null: those of the protocol.",
    )
    includes: tuple[Name, ...] = Field(
        default=(), description="Other studies that belong to this one: its target makes them too."
    )
    show_density_of: str | None = Field(
        default=None,
        description="material_id whose density the figures concept and density_map show; null: the "
        "first calculation that succeeded, of a map the first tested one.",
    )

    @model_validator(mode="after")
    def _fits_its_protocol(self) -> Self:
        learns = self.protocol.kind == "learning_curve"
        if learns and not self.targets:
            raise ValueError("targets: a learning curve needs at least one")
        if not learns and (self.targets or self.claims):
            raise ValueError("a classification has no targets, and accuracy_claims for claims")
        if learns and self.accuracy_claims:
            raise ValueError("accuracy_claims are about a classification; use claims")
        foreign = {"classification"} if learns else {*CURVES}
        wrong = sorted(foreign & set(self.figures or ()))
        if wrong:
            raise ValueError(f"figures: a {self.protocol.kind} does not have {', '.join(wrong)}")
        larger = "extrapolation" in self.drawn() or any(c.part == "larger" for c in self.claims)
        if larger and getattr(self.protocol, "train_max_atoms", None) is None:
            raise ValueError(
                "claims about larger structures and the figure extrapolation need "
                "protocol.train_max_atoms"
            )
        if "scan" in self.drawn() and not any(arm.vary for arm in self.arms.values()):
            raise ValueError("figures: a scan shows what arms `vary`, but none does")
        return self

    def drawn(self) -> tuple[FigureName, ...]:
        """The figures of the study, in their order."""
        return DEFAULT_FIGURES[self.protocol.kind] if self.figures is None else self.figures

    def scan_points(self) -> list[tuple[str, ScanSpec]]:
        """Every value of every ``vary``, and the arm that has it.

        Where the value is the one that the varied arm has anyway, that is this arm itself.
        """
        points = [
            (f"{name}__{_slug(key, value)}", ScanSpec(arm=name, key=key, value=value))
            for name, arm in self.arms.items()
            for key, values in arm.vary.items()
            for value in values
        ]
        return [(made if made in self.arms else scan.arm, scan) for made, scan in points]

    def shown_arms(self) -> dict[str, ArmSpec]:
        """The arms without those that a scan made."""
        return {name: arm for name, arm in self.arms.items() if arm.scanned is None}


def wells_problems(
    here: str, study: StudySpec, wells: WellsSpec | None, densities: Sequence[str]
) -> Iterable[str]:
    """What a study asks of wells that they do not have, or of others that wells alone have.

    Args:
        here: where the study stands.
        study: any.
        wells: its data set, None if it holds structures.
        densities: arms whose models predict densities.
    """
    if wells is None:
        if OF_WELLS in study.targets:
            yield f"{here}.targets: {OF_WELLS} is known of wells alone, not of '{study.dataset}'"
        if "wells" in study.drawn():
            yield f"{here}.figures: wells needs a data set of wells; '{study.dataset}' is none"
        return
    protocol = study.protocol
    if set(study.targets) - {OF_WELLS}:
        yield f"{here}.targets: of wells {OF_WELLS} alone is known"
    if protocol.kind == "learning_curve":
        if protocol.keep_together == "formula":
            yield f"{here}.protocol.keep_together: wells have no formulas; leave it out"
        if protocol.train_max_atoms is not None:
            yield f"{here}.protocol.train_max_atoms: wells have no atoms; leave it out"
    if "wells" in study.drawn():
        if not densities:
            yield f"{here}.figures: wells needs an arm whose model is an hk_map or orbital_free"
        if wells.particles > 1:
            yield (
                f"{here}.figures: wells shows density-driven errors, which are known for one "
                f"particle alone; wells.{study.dataset}.particles is {wells.particles}"
            )


class ComparisonSpec(Spec):
    """The same structures, computed for two data sets: another engine, settings or machine."""

    dataset: Name = Field(description="Name of an entry under `datasets`.")
    reference: Name = Field(
        description="Name of an entry under `datasets` against which it is compared; structures "
        "are paired by their ids in a common source, or by formula and space group."
    )


def with_scans(
    studies: Mapping[str, StudySpec], pool: dict[str, dict[str, Any]]
) -> dict[str, StudySpec]:
    """The studies with an arm for every value of every ``vary``.

    Args:
        studies: by name.
        pool: descriptors under "descriptor" and models under "model", by name; those that the new
            arms need join them.

    Raises:
        ConfigError: a key or value that the descriptor or model does not take, or a name that is
            taken already.
    """
    wider = {}
    for name, study in studies.items():
        arms, taken = dict(study.arms), set(study.arms)
        for arm, spec in study.arms.items():
            for key, values in spec.vary.items():
                here = f"studies.{name}.arms.{arm}.vary.{key}"
                for value in values:
                    new = f"{arm}__{_slug(key, value)}"
                    if new in taken:
                        raise ConfigError(f"{here}: {value!r} makes a second arm '{new}'")
                    taken.add(new)
                    made = _scanned(here, arm, spec, key, value, pool)
                    if made is not None:
                        arms[new] = made
        wider[name] = study.model_copy(update={"arms": arms})
    return wider


def _scanned(
    here: str, arm: str, spec: ArmSpec, key: str, value: Any, pool: dict[str, dict[str, Any]]
) -> ArmSpec | None:
    """An arm with one setting changed, None where the arm has that value already.

    Its descriptor or model joins the pool.
    """
    side, _, path = key.partition(".")
    if side not in pool or not path:
        raise ConfigError(f"{here}: expected descriptor.KEY or model.KEY")
    base = pool[side][getattr(spec, side)]
    settings = base.model_dump()
    last = path.rpartition(".")[2]
    owner: Any = {}
    node: Any = settings
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            valid = node if isinstance(node, dict) else ()
            raise ConfigError(f"{here}: {base.kind} has no '{part}'{did_you_mean(part, valid)}")
        owner, node = node, node[part]
    owner[last] = value
    try:
        changed = type(base).model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"{here}: {error.errors()[0]['msg']}; got {value!r}") from None
    if changed == base:
        return None
    name = f"{getattr(spec, side)}__{_slug(key, value)}"
    if pool[side].setdefault(name, changed) != changed:
        raise ConfigError(f"{here}: {value!r} makes a second {side} '{name}', unlike the first")
    label = f"{spec.label or arm}, {last} {value}"
    scan = ScanSpec(arm=arm, key=key, value=value)
    return spec.model_copy(update={side: name, "vary": {}, "label": label, "scanned": scan})


def _slug(key: str, value: Any) -> str:
    """A setting and its value as part of a name: letters, digits and underscores."""
    text = f"{key.rpartition('.')[2]}_{value}".lower().replace("-", "m")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")
