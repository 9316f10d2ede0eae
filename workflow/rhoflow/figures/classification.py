"""Fig. 3 of Kajita et al., Sci. Rep. 7, 16991 (2017): do networks learn rotation invariance?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from rhoflow.errors import DataError
from rhoflow.figures.style import GREY, PAGE_INCH, house_style, letter, line_look, look

PAPER_ACCURACY = 0.94
PCA_COMPONENTS = 50


def project(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """t-SNE of features to the plane.

    van der Maaten and Hinton, J. Mach. Learn. Res. 9, 2579 (2008); the leading principal
    components stand for the features, as is usual.

    Args:
        features: (classes, poses, d).

    Returns:
        (classes, poses, 2), without unit; all at 0 where all features are equal.

    Raises:
        DataError: the features are not finite.
    """
    classes, poses, d = features.shape
    flat = features.reshape(-1, d).astype(np.float64)
    if not np.isfinite(flat).all():
        raise DataError(
            "features of a classification: not finite, so its training diverged; lower the "
            "model's learning_rate"
        )
    if np.ptp(flat, axis=0).max() == 0:  # t-SNE would divide by their spread
        return np.zeros((classes, poses, 2))
    n_components = min(PCA_COMPONENTS, len(flat) - 1, d)
    flat = PCA(n_components, random_state=0).fit_transform(flat)
    perplexity = min(30.0, max(2.0, len(flat) / 4))
    plane = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(flat)
    return np.asarray(plane, dtype=np.float64).reshape(classes, poses, 2)


def draw(
    accuracies: pd.DataFrame,
    maps: Mapping[int, NDArray[np.float64]],
    labels: Mapping[str, str],
) -> Figure:
    """Accuracy against replicas, and maps of the features.

    Args:
        accuracies: columns arm, replicas, repeat, accuracy.
        maps: (classes, poses, 2) points by number of replicas.
        labels: what to call each arm.
    """
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 2.9))
        panels = figure.subplots(1, 1 + len(maps), squeeze=False)[0]
        _accuracy_panel(panels[0], accuracies, labels)
        for ax, (replicas, points) in zip(panels[1:], sorted(maps.items()), strict=True):
            _map_panel(ax, points)
            ax.set_title(f"{replicas} replicas")
        letter(list(panels))
    return figure


def _accuracy_panel(ax: Axes, accuracies: pd.DataFrame, labels: Mapping[str, str]) -> None:
    table = accuracies.groupby(["arm", "replicas"])["accuracy"].agg(["mean", "std"]).reset_index()
    ax.axhline(PAPER_ACCURACY, color=GREY, linewidth=0.8, linestyle=":")
    for i, arm in enumerate(a for a in labels if a in set(table["arm"])):
        rows = table[table["arm"] == arm].sort_values("replicas")
        ax.errorbar(
            rows["replicas"],
            rows["mean"],
            yerr=rows["std"].fillna(0),
            label=labels[arm],
            **line_look(i),
            capsize=2,
            elinewidth=0.8,
        )
    ax.set_xscale("log")
    ticks = sorted(set(table["replicas"]))
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(xlabel="rotated replicas of a material", ylabel="originals recognised", ylim=(0, 1.04))
    ax.legend(loc="lower right")


def _map_panel(ax: Axes, points: NDArray[np.float64]) -> None:
    """One mark and colour a class; together they tell 49 classes apart."""
    for i, cloud in enumerate(points):
        ax.scatter(cloud[:, 0], cloud[:, 1], s=7, linewidths=0, **look(i))
    ax.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2", box_aspect=1)
