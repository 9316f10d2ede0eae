"""The list of oxides: a row a structure, with what was computed for it."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pymatgen.core import Composition
from pymatgen.symmetry.groups import SpaceGroup

from rhoflow.errors import DataError
from rhoflow.evaluation.known import reduced
from rhoflow.tables import STRUCTURES

# Columns of the targets that the list shows, and how many digits after the point they are good for.
_VALUES = {
    "volume_angstrom3_per_atom": 3,
    "hartree_energy_ev_per_atom": 3,
    "cohesive_energy_ev_per_atom": 4,
    "band_gap_ev": 3,
    "bulk_modulus_gpa": 1,
}

COLUMNS = [
    "formula",
    "spacegroup_symbol",
    "spacegroup_number",
    "structure_type",
    "n_atoms",
    *_VALUES,
    "status",
    "reason",
    "source",
    "source_id",
    "material_id",
]


def oxide_list(
    structures: pd.DataFrame, targets: pd.DataFrame, records: pd.DataFrame
) -> pd.DataFrame:
    """Every structure of a data set, sorted by formula, space group and id.

    Args:
        structures: ``tables.STRUCTURES``, the cells as computed.
        targets: ``tables.TARGET_TABLE``; null where a calculation failed.
        records: ``tables.DFT_RECORDS``; of it, status and reason.

    Returns:
        ``COLUMNS``; formula is the reduced one with its elements by electronegativity, n_atoms
        that of the primitive cell, structure_type the prototype where the source generated the
        structure from one and empty elsewhere. Values are rounded for print and null where there
        is none.

    Raises:
        DataError: a structure has no record, or a table names one twice.
    """
    told = records[["material_id", "status", "reason"]]
    shown = targets[["material_id", *_VALUES]]
    named = set(told["material_id"]) & set(shown["material_id"])
    lost = sorted(set(structures["material_id"]) - named)
    if lost:
        raise DataError(
            f"list of oxides: no record of {lost[0]} ({len(lost)} in all); structures, targets and "
            "records do not belong together: delete them and run snakemake again"
        )
    try:
        table = (
            structures[STRUCTURES.names]
            .merge(shown, on="material_id", validate="1:1")
            .merge(told, on="material_id", validate="1:1")
        )
    except pd.errors.MergeError as error:
        raise DataError(f"list of oxides: a material is named twice ({error})") from error
    table = table.assign(
        formula=[reduced_formula(symbols) for symbols in table["symbols"]],
        spacegroup_symbol=[_symbol(number) for number in table["spacegroup_number"]],
        structure_type=[
            structure_type(row["source"], row["source_id"], row["symbols"])
            for row in table.to_dict("records")
        ],
        **{name: table[name].astype(np.float64).round(digits) for name, digits in _VALUES.items()},
    )
    order = ["formula", "spacegroup_number", "material_id"]
    return table.sort_values(order, ignore_index=True)[COLUMNS]


def reduced_formula(symbols: Sequence[str]) -> str:
    """Reduced formula of a cell, elements from the most electropositive on: SrTiO3."""
    return Composition(Counter(symbols)).reduced_formula


def _symbol(number: float) -> str:
    """Short Hermann-Mauguin symbol of a space group, P2_1/c; empty if the number is none."""
    if not (np.isfinite(number) and 1 <= number <= 230):
        return ""
    symbol = str(SpaceGroup.from_int_number(int(number)).symbol)
    # Monoclinic ones come with the axes that have no symmetry: P12_1/c1.
    return re.sub(r"^([A-Z])1(.+)1$", r"\1\2", symbol) if 3 <= number <= 15 else symbol


def structure_type(source: str, source_id: str, symbols: Sequence[str]) -> str:
    """Name of the prototype in an id ``prototype-formula``; empty for any other id.

    A structure of an archive keeps the id that its first source gave, so ids of archives count
    too where their last part is the composition of the structure.
    """
    if source not in ("prototypes", "archive"):
        return ""
    name, _, formula = str(source_id).rpartition("-")
    parts = re.findall(r"([A-Z][a-z]?)([1-9]\d{0,3})?", formula)
    if "".join(map("".join, parts)) != formula or not formula:
        return ""
    counts = Counter(symbols)
    written: Counter[str] = Counter()
    for element, number in parts:
        written[element] += int(number or 1)
    return name if reduced(written) == reduced(counts) else ""
