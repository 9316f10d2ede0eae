"""Claims of a paper as data, judged against what this run measured."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from rhoflow.evaluation import paired
from rhoflow.evaluation.metrics import KEYS, errors_by_redraw, scores
from rhoflow.evaluation.protocol import Part
from rhoflow.properties import TARGETS
from rhoflow.spec import Spec

# What the errors of a part are of, and what a run lacks that has none.
TESTED_ON = {
    "test": "",
    "larger": ", tested on structures of more atoms",
    "unseen": ", tested on elements that were not trained on",
}
NO_SUCH = {
    "test": "structures",
    "larger": "larger structures",
    "unseen": "elements that were not trained on",
}
COLUMNS = ["study", "claim", "paper", "target", "verdict", "measured", "scale", "why"]


class ClaimSpec(Spec):
    """One statement of a paper: an arm's error is lower than that of others, or than a number."""

    claim: str = Field(description="What the paper says, in a sentence.")
    paper: str = Field(description="Where it says so.")
    target: str | None = Field(
        default=None,
        description="Property that the claim is about (a target column); exactly one of `target` "
        "and `targets` is given.",
    )
    targets: tuple[str, ...] | None = Field(
        default=None,
        min_length=2,
        description="Several properties. With `than`: judged by the mean over them of ln(MAE of "
        "the arm / MAE of the other), redraw by redraw. With `r2_at_least`: by the largest R².",
    )
    arm: str = Field(description="Arm that the claim is about.")
    than: tuple[str, ...] = Field(
        default=(),
        description="Arms that it is compared with; exactly one of `than`, `at_most` and "
        "`r2_at_least` is given.",
    )
    at_most: float | None = Field(
        default=None,
        gt=0,
        description="Largest MAE, mean over redraws, in the unit of the target.",
    )
    r2_at_least: float | None = Field(
        default=None,
        le=1,
        description="Smallest R² over the test structures of all redraws together; judged without "
        "a standard error.",
    )
    relation: Literal["lower", "higher", "equal"] = Field(
        default="lower",
        description="Its error is lower or higher than that of each other arm, or equal within "
        "`equal_within`. Of claims with `than` alone.",
    )
    equal_within: float = Field(
        default=0.15, gt=0, le=1, description="Largest relative difference that counts as equal."
    )
    part: Part = Field(
        default="test",
        description="What the errors are of: test structures like those trained on, those of more "
        "than the protocol's `train_max_atoms` atoms, or those with one of its `unseen_elements`.",
    )
    min_train_size: int = Field(
        default=100, ge=1, description="Below this training size the claim is not testable."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "ClaimSpec":
        kinds = {"than": self.than, "at_most": self.at_most, "r2_at_least": self.r2_at_least}
        given = [name for name, value in kinds.items() if value not in ((), None)]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"give exactly one of than, at_most and r2_at_least; got {got}")
        if not self.than and self.relation != "lower":
            raise ValueError(f"relation: compares with the arms of `than`; {given[0]} has none")
        if self.arm in self.than:
            raise ValueError(f"arm '{self.arm}' is compared with itself: take it out of `than`")
        if (self.target is None) == (self.targets is None):
            raise ValueError("give target or targets, and not both")
        if len(set(self.about)) < len(self.about):
            raise ValueError("targets: a target is named twice; name each once")
        if self.targets and self.at_most is not None:
            raise ValueError("at_most: errors of several targets share no unit; give one target")
        return self

    @property
    def about(self) -> tuple[str, ...]:
        """The target or targets that the claim is about."""
        return self.targets or ((self.target,) if self.target else ())

    @property
    def names(self) -> str:
        """The key that holds them."""
        return "targets" if self.targets else "target"


class AccuracyClaimSpec(Spec):
    """One statement about a classification: an arm recognises a share of the originals."""

    claim: str = Field(description="What the paper says, in a sentence.")
    paper: str = Field(description="Where it says so.")
    arm: str = Field(description="Arm that the claim is about.")
    replicas: int = Field(ge=1, description="Number of rotated replicas that it is about.")
    accuracy: float | None = Field(
        default=None, ge=0, le=1, description="Share that it recognises at least."
    )
    more_than: int | None = Field(
        default=None,
        ge=1,
        description="Number of replicas with which it recognises fewer; instead of `accuracy`.",
    )
    min_classes: int = Field(
        default=50, ge=2, description="With fewer classes the claim is not testable."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> "AccuracyClaimSpec":
        if (self.accuracy is None) == (self.more_than is None):
            raise ValueError("give accuracy or more_than, not both")
        if self.more_than == self.replicas:
            raise ValueError(f"{self.replicas} replicas are compared with themselves: more_than")
        return self


def judge_accuracy(
    claims: Sequence[AccuracyClaimSpec],
    accuracies: pd.DataFrame,
    *,
    study: str,
    n_classes: int,
) -> pd.DataFrame:
    """Judge claims about a classification.

    Args:
        claims: what the paper says.
        accuracies: columns arm, replicas, repeat, accuracy.
        study: its name.
        n_classes: materials in a repeat.

    Returns:
        The columns of ``judge``.
    """
    rows = [_accuracy_row(claim, accuracies, n_classes) for claim in claims]
    return pd.DataFrame(rows, columns=COLUMNS).assign(study=study)


def _accuracy_row(
    claim: AccuracyClaimSpec, accuracies: pd.DataFrame, n_classes: int
) -> dict[str, str]:
    of_arm = accuracies[accuracies["arm"] == claim.arm]
    table = of_arm.pivot(index="repeat", columns="replicas", values="accuracy")
    wanted = [n for n in (claim.replicas, claim.more_than) if n is not None]
    missing = [n for n in wanted if n not in table]
    measured = ", ".join(f"{table[n].mean():.1%} at {n} replicas" for n in wanted if n in table)
    verdict, why = "not testable", f"{n_classes} classes; the claim is about {claim.min_classes}"
    if missing:
        why = f"this run has no training with {missing[0]} replicas"
    elif n_classes >= claim.min_classes and len(table) < 3:
        verdict, why = "undecided", f"{len(table)} repeats leave the spread unknown"
    elif n_classes >= claim.min_classes:
        known = claim.accuracy if claim.more_than is None else table[claim.more_than]
        gain = table[claim.replicas] - known
        mean, error = float(gain.mean()), float(gain.std(ddof=1)) / np.sqrt(len(gain))
        z = paired.in_errors(mean, error)
        enough = 0 if claim.more_than is None else 2  # a share is reached, an order must be clear
        verdict = "holds" if z >= enough else "does not hold" if z < -2 else "undecided"
        why = f"the difference is {_in_errors(z)}"
    return {
        "claim": claim.claim,
        "paper": claim.paper,
        "target": "",
        "verdict": verdict,
        "measured": measured,
        "scale": f"{n_classes} classes, {len(table)} repeats",
        "why": why,
    }


def judge(
    claims: Sequence[ClaimSpec],
    predictions: pd.DataFrame,
    *,
    study: str,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Judge every claim at the largest training size of the run.

    Args:
        claims: what the paper says.
        predictions: of all arms of the study.
        study: its name.
        labels: what to call each arm.

    Returns:
        Columns study, claim, paper, target, verdict ("holds", "does not hold", "undecided",
        "not testable"), measured (MAE in the unit of the target, after R² where the claim is
        about it; of several targets mean R² and the change of the MAE in percent), scale, why.
    """
    largest, size, n_test = paired.at_largest(predictions)
    by_redraw = errors_by_redraw(largest).merge(scores(largest)[[*KEYS, "r2"]], on=KEYS)
    rows = [_row(claim, by_redraw, size, n_test, labels or {}) for claim in claims]
    return pd.DataFrame(rows, columns=COLUMNS).assign(study=study)


def _row(
    claim: ClaimSpec, by_redraw: pd.DataFrame, size: int, n_test: int, labels: Mapping[str, str]
) -> dict[str, str]:
    chosen = by_redraw[by_redraw["target"].isin(claim.about) & (by_redraw["part"] == claim.part)]
    errors = _errors(claim, chosen)
    if errors.empty:
        measured, verdict, why = "", "not testable", f"this run tested no {NO_SUCH[claim.part]}"
    else:
        r2 = chosen.drop_duplicates(["arm", "target"]).pivot(
            index="target", columns="arm", values="r2"
        )
        largest = float(r2[claim.arm].max(skipna=False))
        verdict, why = _verdict(claim, errors, largest, size, n_test)
        measured = (_measured_of_several if claim.targets else _measured)(claim, errors, r2, labels)
    larger = TESTED_ON[claim.part]
    return {
        "claim": claim.claim,
        "paper": claim.paper,
        "target": ", ".join(claim.about),
        "verdict": verdict,
        "measured": measured,
        "scale": f"{size} training structures, {len(errors)} redraws{larger}",
        "why": why,
    }


def _errors(claim: ClaimSpec, chosen: pd.DataFrame) -> pd.DataFrame:
    """MAE of every redraw and arm; of several targets the mean of the logarithms of theirs."""
    if claim.targets is None:
        return chosen.pivot(index="redraw", columns="arm", values="mae")
    errors = chosen.pivot(index=["redraw", "target"], columns="arm", values="mae")
    by_redraw = paired.logarithms(errors).groupby("redraw")
    return by_redraw.agg(lambda values: values.mean(skipna=False))


def _measured(
    claim: ClaimSpec, errors: pd.DataFrame, r2: pd.DataFrame, labels: Mapping[str, str]
) -> str:
    """What was measured of one target."""
    arms = (claim.arm, *claim.than)
    text = "MAE " + ", ".join(f"{labels.get(a, a)} {errors[a].mean():.3g}" for a in arms)
    if claim.r2_at_least is None:
        return text
    return f"R² {labels.get(claim.arm, claim.arm)} {r2[claim.arm].iloc[0]:.3g}, {text}"


def _measured_of_several(
    claim: ClaimSpec, errors: pd.DataFrame, r2: pd.DataFrame, labels: Mapping[str, str]
) -> str:
    """What was measured of several targets."""
    name, own = labels.get(claim.arm, claim.arm), r2[claim.arm]
    if claim.r2_at_least is not None:
        best = TARGETS[str(own.idxmax())].label if own.notna().any() else "none"
        return f"largest R² {name} {own.max():.3g} ({best}), mean R² {own.mean():.3g}"
    arms = (claim.arm, *claim.than)
    means = ", ".join(f"{labels.get(a, a)} {r2[a].mean():.3g}" for a in arms)
    changes = [
        f"{100 * np.expm1((errors[claim.arm] - errors[a]).mean()):+.1f} % against "
        f"{labels.get(a, a)}"
        for a in claim.than
    ]
    return f"mean R² {means}; MAE of {name} {', '.join(changes)}"


def _verdict(
    claim: ClaimSpec, errors: pd.DataFrame, r2: float, size: int, n_test: int
) -> tuple[str, str]:
    if size < claim.min_train_size:
        return "not testable", (
            f"{size} training structures; the claim is about {claim.min_train_size} and more"
        )
    if claim.r2_at_least is not None:
        return _judge_r2(r2 - claim.r2_at_least)
    # A redraw in which an arm gave no number tells nothing of the claim.
    errors = errors[[claim.arm, *claim.than]].replace([np.inf, -np.inf], np.nan).dropna()
    if len(errors) < 3:
        return "undecided", f"{len(errors)} redraws leave the spread unknown"
    if claim.at_most is not None and claim.target is not None:
        margin = paired.difference(claim.at_most - errors[claim.arm], n_test / size)
        bound = f"{claim.at_most:g} {TARGETS[claim.target].unit}"
        return _judge_order([margin], 1, f"the difference from {bound}")
    differences = [
        paired.difference(errors[other] - errors[claim.arm], n_test / size) for other in claim.than
    ]
    if claim.relation == "equal":
        tolerances = [_tolerance(claim, errors[other]) for other in claim.than]
        return _judge_equal(differences, tolerances)
    return _judge_order(differences, 1 if claim.relation == "lower" else -1)


def _tolerance(claim: ClaimSpec, errors: "pd.Series[float]") -> float:
    """What counts as equal to another arm, in the unit of the errors."""
    if claim.targets:  # logarithms
        return float(np.log1p(claim.equal_within))
    return claim.equal_within * float(errors.mean())


def _judge_order(
    differences: list[tuple[float, float]], sign: int, which: str = "the closest difference"
) -> tuple[str, str]:
    """Two standard errors decide; the arm must win against every other."""
    z = min(paired.in_errors(sign * mean, error) for mean, error in differences)
    why = f"{which} is {_in_errors(z)}"
    if z > 2:
        return "holds", why
    return ("does not hold" if z < -2 else "undecided"), why


def _judge_r2(margin: float) -> tuple[str, str]:
    """The number alone decides, for there is one R² of all redraws, without a spread."""
    if not np.isfinite(margin):
        return "undecided", "R² is not a number"
    return "holds" if margin >= 0 else "does not hold", (
        f"the difference is {margin:.2g}; R² of all redraws together has no standard error"
    )


def _judge_equal(
    differences: list[tuple[float, float]], tolerances: list[float]
) -> tuple[str, str]:
    """The whole interval of two standard errors must lie inside the tolerance, or outside it."""
    pairs = list(zip(differences, tolerances, strict=True))
    worst = max(abs(mean) / tolerance for (mean, _), tolerance in pairs)
    why = f"the largest difference is {worst:.2g} of what counts as equal"
    if all(abs(mean) + 2 * error <= tolerance for (mean, error), tolerance in pairs):
        return "holds", why
    if any(abs(mean) - 2 * error > tolerance for (mean, error), tolerance in pairs):
        return "does not hold", why
    return "undecided", why


def _in_errors(z: float) -> str:
    return "the same in every draw" if np.isinf(z) else f"{z:.1f} standard errors"
