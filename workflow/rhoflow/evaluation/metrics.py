"""Pure functions from predictions to numbers; errors keep the unit of the target."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow.errors import DataError

KEYS = ["study", "arm", "target", "train_size", "part"]


def mean_absolute_error(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> float:
    """Mean of |y_pred - y_true|, in the unit of y."""
    return float(np.abs(y_pred - y_true).mean())


def r2(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> float:
    """Coefficient of determination, without unit; NaN if all y_true are equal."""
    total = ((y_true - y_true.mean()) ** 2).sum()
    return float(1 - ((y_true - y_pred) ** 2).sum() / total) if total > 0 else float("nan")


def density_distance(density: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """How far a density is from another one, in percent: 100 Σ |a - b| / Σ |b|.

    Args:
        density: values at points that stand for equal volumes, e/Å³; any shape.
        reference: those of the other density at the same points, e/Å³.

    Raises:
        DataError: the two have different shapes, or the reference is zero everywhere.
    """
    if density.shape != reference.shape:
        raise DataError(
            f"densities at {density.shape} and {reference.shape} points cannot be compared; "
            "evaluate both at the same ones"
        )
    scale = float(np.abs(reference).sum())
    if scale == 0:
        raise DataError("the reference density is zero at all points, so nothing is measured by it")
    return 100 * float(np.abs(density - reference).sum()) / scale


def seed_mean(predictions: pd.DataFrame) -> pd.DataFrame:
    """Average the predictions of networks that differ by their seed alone."""
    keys = [*KEYS, "redraw", "material_id"]
    return predictions.groupby(keys, as_index=False, sort=False).agg(
        y_true=("y_true", "first"), y_pred=("y_pred", "mean"), pose_std=("pose_std", "mean")
    )


def errors_by_redraw(predictions: pd.DataFrame) -> pd.DataFrame:
    """MAE of every redraw: columns study, arm, target, train_size, part, redraw, mae."""
    table = seed_mean(predictions)
    table["mae"] = (table["y_pred"] - table["y_true"]).abs()
    return table.groupby([*KEYS, "redraw"], as_index=False, sort=False)["mae"].mean()


def r2_by_redraw(predictions: pd.DataFrame) -> pd.DataFrame:
    """R² of every redraw: columns study, arm, target, train_size, part, redraw, r2."""
    groups = seed_mean(predictions).groupby([*KEYS, "redraw"], sort=False)
    rows = [(*key, r2(g["y_true"].to_numpy(), g["y_pred"].to_numpy())) for key, g in groups]
    return pd.DataFrame(rows, columns=pd.Index([*KEYS, "redraw", "r2"]))


def scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Scores of every arm, target, training size and part.

    Returns:
        Columns study, arm, target, train_size, part, mae_mean and mae_std (over redraws, unit of
        the target), r2 (over the structures of the part of all redraws together), n_redraws,
        n_test (predictions, those of all redraws together).
    """
    by_redraw = errors_by_redraw(predictions).groupby(KEYS, sort=False)["mae"]
    table = by_redraw.agg(mae_mean="mean", mae_std="std", n_redraws="count")
    averaged = seed_mean(predictions).groupby(KEYS, sort=False)
    table["r2"] = [r2(g["y_true"].to_numpy(), g["y_pred"].to_numpy()) for _, g in averaged]
    table["n_test"] = averaged.size()
    return table.reset_index()
