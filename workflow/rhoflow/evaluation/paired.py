"""Two arms in the same redraws: the difference of their errors, and how sure it is."""

import numpy as np
import pandas as pd


def difference(paired: "pd.Series[float]", test_share: float) -> tuple[float, float]:
    """Mean of paired differences over redraws, and its standard error.

    Redraws of one data set share most of their structures, so s/√n would be far too small: the
    variance gets the correction of Nadeau and Bengio, Mach. Learn. 52, 239 (2003), s² (1/n +
    n_test/n_train). Its n_test is that of the structures like those trained on, whatever the
    errors are of: the correction is for what the training sets share.

    Args:
        paired: one difference a redraw.
        test_share: test structures over training structures, n_test/n_train.
    """
    spread = float(paired.std(ddof=1))
    return float(paired.mean()), spread * np.sqrt(1 / len(paired) + test_share)


def in_errors(mean: float, error: float) -> float:
    """mean/error; equal differences in every redraw count as certain, none as undecided."""
    if error > 1e-12 * abs(mean):
        return mean / error
    return float(np.copysign(np.inf, mean)) if mean else 0.0


def logarithms(errors: pd.DataFrame) -> pd.DataFrame:
    """Natural logarithms of errors; their differences are those of ratios. No error has none."""
    return np.log(errors.where(errors > 0))


def at_largest(predictions: pd.DataFrame) -> tuple[pd.DataFrame, int, int]:
    """Predictions at the largest training size.

    Returns:
        The predictions, the number of training structures and that of test structures of a redraw.
    """
    size = int(predictions["train_size"].max())
    largest = predictions[predictions["train_size"] == size]
    # The larger ones are no part of the pool that redraws share: see ``difference``.
    tested = largest[largest["part"] == "test"].groupby("redraw")["material_id"].nunique()
    return largest, size, int(tested.max())
