"""Studies: their arms, protocols, claims and figures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rhoflow.arms import BESIDE, ArmSpec, Name, ScanSpec, slug, vary_arm
from rhoflow.errors import ConfigError
from rhoflow.evaluation.claims import AccuracyClaimSpec, ClaimSpec
from rhoflow.evaluation.classification import ClassificationSpec
from rhoflow.evaluation.densities import OF_DENSITIES
from rhoflow.evaluation.protocol import LearningCurveSpec
from rhoflow.spec import Spec
from rhoflow.wells import WellsSpec

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
    "score_table",
    "added_tasks",
    "task_similarity",
    "slices",
    "isosurface",
    "unseen",
    "scf_starts",
]
DEFAULT_FIGURES: dict[str, tuple[FigureName, ...]] = {
    "learning_curve": ("learning_curves", "parity"),
    "classification": ("classification",),
}
CURVES = (
    "learning_curves",
    "parity",
    "scan",
    "extrapolation",
    "density_map",
    "wells",
    "score_table",
    "added_tasks",
    "task_similarity",
    "slices",
    "isosurface",
    "unseen",
    "scf_starts",
)
OF_MAPS = ("slices", "isosurface", "scf_starts")
NEEDS_VOXELS = ("concept", "architecture", "hartree")
OF_WELLS = "energy_kcal_per_mol"


class StartsSpec(Spec):
    """Self-consistent runs that start from predicted densities."""

    engine: Name = Field(
        description="Name of an entry under `engines`, a gpaw; best the settings of the data set."
    )
    structures: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Runs are made for so many of the structures that the first redraw tests, "
        "those of the smallest cells.",
    )


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
    starts: StartsSpec | None = Field(
        default=None,
        description="Runs of the engine from predicted densities; for the figure scf_starts.",
    )
    show_density_of: str | None = Field(
        default=None,
        description="material_id whose density the figures concept, density_map, slices and "
        "isosurface show; null: the first calculation that succeeded, of a map of molecules the "
        "first tested one, of crystals the best, the middling and the worst.",
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
        varied = {key for arm in self.arms.values() for key in arm.vary}
        if "scan" in self.drawn() and not varied - {BESIDE}:
            raise ValueError("figures: a scan shows what arms `vary`, but none does")
        if "added_tasks" in self.drawn() and BESIDE not in varied:
            raise ValueError("figures: added_tasks needs an arm that varies what it learns beside")
        if ("scf_starts" in self.drawn()) != (self.starts is not None):
            raise ValueError("the figure scf_starts and the settings `starts` need each other")
        elements = getattr(self.protocol, "unseen_elements", ())
        if "unseen" in {*self.drawn(), *(c.part for c in self.claims)} and not elements:
            raise ValueError(
                "claims about elements that are not trained on and the figure unseen need "
                "protocol.unseen_elements"
            )
        if "task_similarity" in self.drawn() and len(self.targets) < 2:
            raise ValueError("figures: task_similarity compares targets; give two at least")
        return self

    def drawn(self) -> tuple[FigureName, ...]:
        """The figures of the study, in their order."""
        return DEFAULT_FIGURES[self.protocol.kind] if self.figures is None else self.figures

    def scan_points(self) -> list[tuple[str, ScanSpec]]:
        """Every value of every ``vary``, and the arm that has it.

        Targets that are learned beside others count as values of `beside`. Where the value is the
        one that the varied arm has anyway, that is this arm itself.
        """
        points = [
            (f"{name}__{slug(key, value)}", ScanSpec(arm=name, key=key, value=value))
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


def maps_problems(
    here: str, study: StudySpec, fields: Mapping[str, Spec], kept: Sequence[str], engine: str | None
) -> Iterable[str]:
    """What a study of maps from potentials to densities lacks, or one of others has too much of.

    Args:
        here: where the study stands.
        study: any.
        fields: settings of the fields that its arms read, by arm.
        kept: arms whose maps are kept.
        engine: kind of the engine that computes its molecules; None of a study of crystals.
    """
    judged = set(study.targets) & set(OF_DENSITIES)
    if not fields:
        if "density_error_percent" in judged or "electrons_per_atom" in judged:
            yield f"{here}.targets: density_error_percent and electrons_per_atom judge maps alone"
        for figure in set(study.drawn()) & set(OF_MAPS):
            yield f"{here}.figures: {figure} needs an arm whose model is a density_operator"
        return
    if len(fields) < len(study.arms):
        yield f"{here}.arms: maps to densities are compared with each other alone"
    if set(study.targets) - judged:
        yield f"{here}.targets: maps are judged by {', '.join(OF_DENSITIES)}"
    if len({settings.model_dump()["g_cut"] for settings in fields.values()}) > 1:
        yield f"{here}.arms: the densities of all arms need one g_cut"
    if any(study.arms[arm].learns != "together" for arm in fields):
        yield f"{here}.arms: a map is judged by all targets at once; say `learns: together`"
    if set(study.drawn()) & set(OF_MAPS) and not kept:
        yield f"{here}.figures: {', '.join(OF_MAPS)} need an arm with `keep: true`"
    if engine is not None:
        yield from _molecule_maps_problems(here, study, fields, engine)


def _molecule_maps_problems(
    here: str, study: StudySpec, fields: Mapping[str, Spec], engine: str
) -> Iterable[str]:
    """What maps of crystals have, but maps of molecules do not."""
    if engine != "pyscf":
        yield (
            f"{here}.dataset: densities of molecules are made of orbitals, so the engine of "
            f"'{study.dataset}' must be a pyscf; it is a {engine}"
        )
    for arm, settings in fields.items():
        if "local" in settings.model_dump()["potentials"]:
            yield (
                f"{here}.arms.{arm}: no local potential is kept of molecules; expected a "
                "descriptor whose potentials are gaussian or ions"
            )
    if study.starts is not None:
        yield f"{here}.starts: runs start from densities of crystals alone; leave it out"


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
                    new = f"{arm}__{slug(key, value)}"
                    if new in taken:
                        raise ConfigError(f"{here}: {value!r} makes a second arm '{new}'")
                    taken.add(new)
                    made = vary_arm(here, arm, spec, key, value, targets=study.targets, pool=pool)
                    if made is not None:
                        arms[new] = made
        wider[name] = study.model_copy(update={"arms": arms})
    return wider
