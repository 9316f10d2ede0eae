"""Two data sets of the same structures, held against each other target by target."""

import logging

import numpy as np
import pandas as pd

from rhoflow.errors import DataError
from rhoflow.evaluation.known import reduced

logger = logging.getLogger(__name__)

COLUMNS = ["source_id", "formula", "target", "value", "reference", "difference"]


def compare(
    structures: pd.DataFrame,
    targets: pd.DataFrame,
    reference_structures: pd.DataFrame,
    reference_targets: pd.DataFrame,
) -> pd.DataFrame:
    """Differences of every target that both data sets have.

    Structures are paired by the id in their common source; where the two share no id, by reduced
    composition and space group. What is ambiguous (an id or an oxide that a data set holds twice)
    or differs in its composition is left out, and counted in the log.

    Args:
        structures: ``tables.STRUCTURES`` of the data set.
        targets: its ``tables.TARGET_TABLE``; null where a calculation failed.
        reference_structures: the same of the reference.
        reference_targets: the same of the reference.

    Returns:
        ``COLUMNS``, one row a pair and target for which both have a value, target by target;
        source_id and formula are the data set's own, difference = value - reference in the unit
        of the target.

    Raises:
        DataError: the two data sets have no structure in common.
    """
    pairs = _pairs(structures, reference_structures)
    joined = pairs.merge(targets, on="material_id", how="left", validate="1:1").merge(
        reference_targets.add_suffix(" of reference"),
        left_on="reference_id",
        right_on="material_id of reference",
        how="left",
        validate="1:1",
    )
    shared = [t for t in targets.columns if t in reference_targets and t != "material_id"]
    tables = [_one_target(joined, target) for target in shared]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _one_target(joined: pd.DataFrame, target: str) -> pd.DataFrame:
    """Rows of one target, those pairs left out of which one has no value."""
    value = joined[target].to_numpy(dtype=np.float64)
    reference = joined[f"{target} of reference"].to_numpy(dtype=np.float64)
    table = joined[["source_id", "formula"]].assign(
        target=target, value=value, reference=reference, difference=value - reference
    )
    return table[np.isfinite(table["difference"])][COLUMNS]


def _pairs(structures: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Columns material_id, reference_id, source_id, formula: the pairs in the first's order."""
    mine, theirs = _named(structures), _named(reference)
    by = "source_id" if set(mine["source_id"].dropna()) & set(theirs["source_id"]) else "oxide"
    clear = [t[t[by].notna() & ~t[by].duplicated(keep=False)] for t in (mine, theirs)]
    found = clear[0].merge(clear[1], on=by, suffixes=("", " of reference"), validate="1:1")
    kept = found[found["composition"] == found["composition of reference"]]
    logger.info(
        "%d pairs by %s; left out: %d and %d structures without one of their own, %d pairs of "
        "different composition",
        len(kept), by, len(mine) - len(clear[0]), len(theirs) - len(clear[1]),
        len(found) - len(kept),
    )  # fmt: skip
    if kept.empty:
        raise DataError(
            f"comparison: {len(mine)} and {len(theirs)} structures, but none in common, neither by "
            "the id in their source nor by composition and space group; compare data sets that "
            "come from one source"
        )
    kept = kept.rename(columns={"material_id of reference": "reference_id"})
    return kept[["material_id", "reference_id", "source_id", "formula"]]


def _named(structures: pd.DataFrame) -> pd.DataFrame:
    """Ids, formulas, and what a structure is called where ids do not help."""
    composition = [reduced(pd.Series(s).value_counts().to_dict()) for s in structures["symbols"]]
    numbers = structures["spacegroup_number"]
    return structures[["material_id", "source_id", "formula"]].assign(
        composition=composition,
        oxide=[f"{c} {n}" for c, n in zip(composition, numbers, strict=True)],
    )
