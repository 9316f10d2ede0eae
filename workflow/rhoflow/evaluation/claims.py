"""Claims of a paper as data, judged against what this run measured."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from rhoflow.evaluation.metrics import errors_by_redraw
from rhoflow.spec import Spec

COLUMNS = ["study", "claim", "paper", "target", "verdict", "measured", "scale", "why"]


class ClaimSpec(Spec):
    """One statement of a paper: an arm's error is lower than (or equal to) that of others."""

    claim: str = Field(description="What the paper says, in a sentence.")
    paper: str = Field(description="Where it says so.")
    target: str = Field(description="Property that the claim is about (a target column).")
    arm: str = Field(description="Arm that the claim is about.")
    than: tuple[str, ...] = Field(min_length=1, description="Arms that it is compared with.")
    relation: str = Field(
        default="lower",
        pattern="^(lower|equal)$",
        description="lower: its error is smaller; equal: within `equal_within` of theirs.",
    )
    equal_within: float = Field(
        default=0.15, gt=0, le=1, description="Largest relative difference that counts as equal."
    )
    min_train_size: int = Field(
        default=100, ge=1, description="Below this training size the claim is not testable."
    )

    @model_validator(mode="after")
    def _not_itself(self) -> "ClaimSpec":
        if self.arm in self.than:
            raise ValueError(f"arm '{self.arm}' is compared with itself: take it out of `than`")
        return self


def judge(
    claims: Sequence[ClaimSpec],
    predictions: pd.DataFrame,
    *,
    study: str,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Judge every claim at the largest training size of the run.

    A difference counts when its mean over the redraws exceeds twice its standard error; redraws
    are paired, since all arms see the same splits.

    Args:
        claims: what the paper says.
        predictions: of all arms of the study.
        study: its name.
        labels: what to call each arm.

    Returns:
        Columns study, claim, paper, target, verdict ("holds", "does not hold", "undecided", "not
        testable"), measured, scale, why.
    """
    by_redraw = errors_by_redraw(predictions)
    names = labels or {}
    size = int(by_redraw["train_size"].max())
    table = by_redraw[by_redraw["train_size"] == size]
    rows = []
    for claim in claims:
        errors = table[table["target"] == claim.target].pivot(
            index="redraw", columns="arm", values="mae"
        )
        verdict, why = _verdict(claim, errors, size)
        measured = ", ".join(
            f"{names.get(a, a)} {errors[a].mean():.3g}" for a in (claim.arm, *claim.than)
        )
        rows.append(
            {
                "study": study,
                "claim": claim.claim,
                "paper": claim.paper,
                "target": claim.target,
                "verdict": verdict,
                "measured": f"MAE {measured}",
                "scale": f"{size} training structures, {len(errors)} redraws",
                "why": why,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _verdict(claim: ClaimSpec, errors: pd.DataFrame, size: int) -> tuple[str, str]:
    if size < claim.min_train_size:
        return "not testable", (
            f"{size} training structures; the claim is about {claim.min_train_size} and more"
        )
    if len(errors) < 3:
        return "undecided", f"{len(errors)} redraws leave the spread unknown"
    if claim.relation == "equal":
        ratios = [errors[claim.arm].mean() / errors[other].mean() for other in claim.than]
        worst = max(abs(r - 1) for r in ratios)
        verdict = "holds" if worst <= claim.equal_within else "does not hold"
        return verdict, f"the errors differ by {worst:.0%} at most"
    z = [_paired_z(errors[other] - errors[claim.arm]) for other in claim.than]
    why = f"paired difference over its standard error: {min(z):.1f} at least"
    if min(z) > 2:
        return "holds", why
    return ("does not hold" if min(z) < -2 else "undecided"), why


def _paired_z(difference: "pd.Series[float]") -> float:
    error = float(difference.std(ddof=1)) / np.sqrt(len(difference))
    return float(difference.mean()) / error if error > 0 else float(np.inf)
