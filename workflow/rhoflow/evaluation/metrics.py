"""Pure functions from predictions to numbers; errors keep the unit of the target."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KEYS = ["study", "arm", "target", "train_size"]


def mean_absolute_error(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> float:
    """Mean of |y_pred - y_true|, in the unit of y."""
    return float(np.abs(y_pred - y_true).mean())


def r2(y_true: NDArray[np.float64], y_pred: NDArray[np.float64]) -> float:
    """Coefficient of determination, without unit; NaN if all y_true are equal."""
    total = ((y_true - y_true.mean()) ** 2).sum()
    return float(1 - ((y_true - y_pred) ** 2).sum() / total) if total > 0 else float("nan")


def seed_mean(predictions: pd.DataFrame) -> pd.DataFrame:
    """Average the predictions of networks that differ by their seed alone."""
    keys = [*KEYS, "redraw", "material_id"]
    return predictions.groupby(keys, as_index=False, sort=False).agg(
        y_true=("y_true", "first"), y_pred=("y_pred", "mean"), pose_std=("pose_std", "mean")
    )


def errors_by_redraw(predictions: pd.DataFrame) -> pd.DataFrame:
    """MAE of every redraw: columns study, arm, target, train_size, redraw, mae."""
    table = seed_mean(predictions)
    table["mae"] = (table["y_pred"] - table["y_true"]).abs()
    return table.groupby([*KEYS, "redraw"], as_index=False, sort=False)["mae"].mean()


def scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Scores of every arm, target and training size.

    Returns:
        Columns study, arm, target, train_size, mae_mean and mae_std (over redraws, unit of the
        target), r2 (over the test structures of all redraws together), n_redraws, n_test.
    """
    by_redraw = errors_by_redraw(predictions).groupby(KEYS, sort=False)["mae"]
    table = by_redraw.agg(mae_mean="mean", mae_std="std", n_redraws="count")
    averaged = seed_mean(predictions).groupby(KEYS, sort=False)
    table["r2"] = [r2(g["y_true"].to_numpy(), g["y_pred"].to_numpy()) for _, g in averaged]
    table["n_test"] = averaged.size()
    return table.reset_index()
