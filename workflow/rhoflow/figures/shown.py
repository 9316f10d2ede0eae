"""Which predicted densities are shown, and what becomes of runs that start from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rhoflow import io, tables
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.errors import DataError
from rhoflow.evaluation.densities import worth_showing
from rhoflow.evaluation.metrics import scores
from rhoflow.figures.densities import DensityPair
from rhoflow.figures.style import COLOURS, MARKERS, PAGE_INCH, house_style

# Of the crystals tested the best, the middling and the worst prediction; of those beyond what was
# trained on the middling one.
QUANTILES = {"test": (0.0, 0.5, 1.0)}
BEYOND = (0.5,)


def chosen(table: pd.DataFrame, show: str = "") -> list[str]:
    """Materials to be shown: best, middling and worst of those like the trained ones, and others.

    Args:
        table: ``tables.PREDICTED_DENSITIES``.
        show: material id, shown first; empty: none is asked for.

    Raises:
        DataError: no density of it was predicted.
    """
    names = table["material_id"].tolist()
    if show and show not in names:
        raise DataError(
            f"show_density_of: no density of '{show}' was predicted; expected a structure that the "
            f"first redraw tests: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}"
        )
    found = [show] if show else []
    for name, part in table.groupby("part", sort=False):
        ranked = part.sort_values("density_error_percent")["material_id"].tolist()
        found += [ranked[round(q * (len(ranked) - 1))] for q in QUANTILES.get(str(name), BEYOND)]
    return list(dict.fromkeys(found))


def read_shown(files: Any, show: str = "") -> list[DensityPair]:
    """The densities to be shown beside the computed ones.

    Args:
        files: paths ``predicted``, ``table``, and in lists ``fields`` and ``structures``.
        show: material id that is shown first, or empty.
    """
    table = io.read_table(files.table, tables.PREDICTED_DENSITIES)
    errors = table.set_index("material_id")["density_error_percent"]
    predicted, true = io.read_spectra(files.predicted), read_true(files.fields)
    crystals, formulas = read_crystals(files.structures), read_formulas(files.structures)
    return [
        DensityPair(
            material_id=name,
            formula=formulas[name],
            crystal=crystals[name],
            true=true[name],
            predicted=predicted[name],
            nmae_percent=float(errors[name]),
        )
        for name in chosen(table, show)
    ]


def read_crystals(paths: Sequence[io.PathLike]) -> dict[str, Crystal]:
    """Crystals by material id."""
    found = [tables.table_to_crystals(io.read_table(p, tables.STRUCTURES)) for p in paths]
    return {crystal.material_id: crystal for part in found for crystal in part}


def read_true(paths: Sequence[io.PathLike]) -> dict[str, Spectrum]:
    """Computed densities inside g_cut by material id."""
    fields = io.read_fields(paths)
    return {name: fields.spectrum(i) for i, name in enumerate(fields.ids)}


def read_formulas(paths: Sequence[io.PathLike]) -> dict[str, str]:
    """Formulas by material id."""
    found = io.read_tables(paths, tables.STRUCTURES)
    return dict(zip(found["material_id"], found["formula"], strict=True))


def unseen(predictions: pd.DataFrame, labels: Mapping[str, str], elements: Sequence[str]) -> Figure:
    """Error of each arm on both parts, a panel a target.

    Args:
        predictions: of all arms at all training sizes; the largest is shown.
        labels: what to call each arm.
        elements: that were not trained on.
    """
    largest = predictions[predictions["train_size"] == predictions["train_size"].max()]
    table = scores(largest)
    targets = worth_showing(largest["target"])
    parts = {"test": "elements trained on", "unseen": f"with {', '.join(elements)}"}
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 0.9 + 0.42 * len(labels)), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(targets), sharey=True))
        for axis, target in zip(axes, targets, strict=True):
            for k, (part, name) in enumerate(parts.items()):
                rows = table[(table["target"] == target) & (table["part"] == part)]
                rows = rows.set_index("arm").reindex(list(labels))
                axis.barh(
                    np.arange(len(labels)) + 0.38 * (k - 0.5),
                    rows["mae_mean"],
                    height=0.36,
                    xerr=rows["mae_std"],
                    color=COLOURS[1 - k],
                    ecolor="0.2",
                    error_kw={"lw": 0.8},
                    label=name,
                )
            known = tables.TARGETS[target]
            axis.set_xlabel(f"MAE of the {known.label} ({known.unit})")
            axis.set_yticks(range(len(labels)), list(labels.values()))
        axes[0].invert_yaxis()
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def starts_table(runs: pd.DataFrame, densities: pd.DataFrame) -> pd.DataFrame:
    """Iterations of each crystal from each start, side by side.

    Args:
        runs: ``tables.START_RUNS``.
        densities: ``tables.PREDICTED_DENSITIES``.
    """
    wide = runs.pivot(index="material_id", columns="start", values="iterations")
    energies = runs.pivot(index="material_id", columns="start", values="total_energy_ev")
    wide = wide.reindex(columns=list(dict.fromkeys(runs["start"])))
    wide["largest_energy_difference_ev"] = energies.max(axis=1) - energies.min(axis=1)
    errors = densities.set_index("material_id")["density_error_percent"]
    wide.insert(0, "density_error_percent", errors.reindex(wide.index))
    failed = runs[runs["status"] != tables.STATUS_OK].groupby("material_id")["reason"].first()
    wide["reason"] = failed.reindex(wide.index)
    return wide.reset_index()


def scf_starts(runs: pd.DataFrame, formulas: Mapping[str, str] | None = None) -> Figure:
    """Iterations to self-consistency of each crystal, a dot a start.

    Args:
        runs: ``tables.START_RUNS``; runs that failed are left out.
        formulas: what to call the crystals; None: their ids.
    """
    done = runs[runs["status"] == tables.STATUS_OK]
    names = list(dict.fromkeys(runs["material_id"]))
    starts = list(dict.fromkeys(runs["start"]))
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 1.1 + 0.28 * len(names)), layout="constrained")
        axis = figure.subplots()
        for k, start in enumerate(starts):
            rows = done[done["start"] == start].set_index("material_id").reindex(names)
            mean = rows["iterations"].mean()
            axis.scatter(
                rows["iterations"],
                np.arange(len(names)) + 0.16 * (k - (len(starts) - 1) / 2),
                color=COLOURS[k % len(COLOURS)],
                marker=MARKERS[k % len(MARKERS)],
                s=28,
                label=f"{start}: {mean:.1f} in the mean",
                zorder=3,
            )
        axis.set_yticks(range(len(names)), [str((formulas or {}).get(n, n)) for n in names])
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("iterations to self-consistency")
        axis.grid(axis="y", lw=0.4, color="0.85")
        figure.legend(loc="outside upper center", ncols=len(starts))
    return figure
