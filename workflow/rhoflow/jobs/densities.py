"""What the rule that predicts densities does with a kept map."""

from typing import Any

import pandas as pd

from rhoflow import tables
from rhoflow.density.spectrum import Spectrum
from rhoflow.descriptors.fields import FieldSet
from rhoflow.evaluation.densities import (
    OF_DENSITIES,
    mean_spectrum,
    negative_percent,
    observables,
)
from rhoflow.evaluation.protocol import PARTS


def tested_in_first(splits: pd.DataFrame) -> dict[str, str]:
    """Part of every structure that the first redraw tests, by material id."""
    first = splits[splits["redraw"] == splits["redraw"].min()]
    tested = first[first["part"].isin(PARTS)]
    return dict(zip(tested["material_id"], tested["part"], strict=True))


def predict(
    operator: Any, fields: FieldSet, splits: pd.DataFrame
) -> tuple[dict[str, Spectrum], pd.DataFrame]:
    """Densities that a map predicts for structures that it was not trained on.

    Args:
        operator: a trained map of the first redraw.
        fields: of all structures of the study.
        splits: of the study.

    Returns:
        Mean densities over its networks by material id, and ``tables.PREDICTED_DENSITIES``.
    """
    parts = tested_in_first(splits)
    fields = fields.take([i for i, name in enumerate(fields.ids) if name in parts])
    networks = operator.densities(fields)
    found, rows = {}, []
    for i, (name, flag) in enumerate(zip(fields.ids, operator.flags(fields), strict=True)):
        density = mean_spectrum([of_one[i] for of_one in networks])
        values = observables(density, fields.spectrum(i), OF_DENSITIES)[1]
        judged: dict[str, float] = dict(zip(OF_DENSITIES, values, strict=True))
        judged["negative_percent"] = negative_percent(density)
        rows.append({"material_id": name, "part": parts[name], "flag": flag or None, **judged})
        found[name] = density
    return found, pd.DataFrame(rows, columns=tables.PREDICTED_DENSITIES.names)
