"""The report: one HTML file that opens without a network."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml
from docutils.core import publish_parts

from rhoflow import __version__, io, tables
from rhoflow.tables import STATUS_OK, TARGETS


@dataclass(frozen=True)
class FigureSet:
    """The figures of one study, data set or comparison.

    Attributes:
        name: of the study, data set or comparison.
        figures: SVG text by name of the figure.
        captions: reStructuredText templates by name of the figure.
    """

    name: str
    figures: Mapping[str, str]
    captions: Mapping[str, str]


@dataclass(frozen=True)
class StudyResults:
    """What the report shows of one study: figures, and tables of ``rhoflow.evaluation``."""

    shown: FigureSet
    scores: pd.DataFrame
    claims: pd.DataFrame


@dataclass(frozen=True)
class DatasetResults:
    """What the report shows of one data set: figures, funnel, calculations and their cost."""

    shown: FigureSet
    funnel: pd.DataFrame
    records: pd.DataFrame
    cost: pd.DataFrame


@dataclass(frozen=True)
class ReportResults:
    """What the report shows, in its order."""

    studies: list[StudyResults]
    comparisons: list[FigureSet]
    datasets: list[DatasetResults]


def read_results(layout: Mapping[str, Mapping[str, Any]]) -> ReportResults:
    """Read what a layout names.

    Args:
        layout: for each of ``studies``, ``comparisons`` and ``datasets`` and each of their names
            the paths of ``figures`` and ``captions`` by figure; of a study those of ``scores`` and
            ``claims``; of a data set those of ``funnel``, ``records`` and, in a list, ``cost``.
    """
    return ReportResults(
        studies=[
            StudyResults(
                _read_figures(name, files),
                scores=io.read_table(files["scores"], tables.SCORES),
                claims=io.read_table(files["claims"], tables.CLAIMS),
            )
            for name, files in layout["studies"].items()
        ],
        comparisons=[_read_figures(name, files) for name, files in layout["comparisons"].items()],
        datasets=[
            DatasetResults(
                _read_figures(name, files),
                funnel=io.read_table(files["funnel"], tables.FUNNEL),
                records=io.read_table(files["records"], tables.DFT_RECORDS),
                cost=io.read_tables(files["cost"], tables.DFT_COST),
            )
            for name, files in layout["datasets"].items()
        ],
    )


def _read_figures(name: str, files: Mapping[str, Any]) -> FigureSet:
    figures, captions = (
        {figure: io.read_text(path) for figure, path in files[part].items()}
        for part in ("figures", "captions")
    )
    return FigureSet(name, figures, captions)


def caption(template: str, config: Mapping[str, Any], wildcards: Mapping[str, str]) -> str:
    """A caption template filled with the live config, as HTML.

    The template is the one that Snakemake's own report uses: it sees ``snakemake.config`` and
    ``snakemake.wildcards``.
    """
    context = SimpleNamespace(config=config, wildcards=SimpleNamespace(**wildcards))
    text = jinja2.Template(template).render(snakemake=context)
    settings = {"raw_enabled": False, "file_insertion_enabled": False, "report_level": 5}
    # A docutils.conf on the machine must not change the text.
    settings["_disable_config"] = True
    parts = dict(publish_parts(text, writer="html5", settings_overrides=settings))
    return str(parts["body"])


def render(template: str, results: ReportResults, config: Mapping[str, Any]) -> str:
    """The report as one HTML text; everything that comes from data is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["number"] = lambda v: "–" if pd.isna(v) else f"{v:.3g}"
    return environment.from_string(template).render(
        version=__version__,
        studies=[_study_view(s, config) for s in results.studies],
        comparisons=[_figures_view(c, "comparison", config) for c in results.comparisons],
        datasets=[_dataset_view(d, config) for d in results.datasets],
        config=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
    )


def _figures_view(shown: FigureSet, wildcard: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": shown.name,
        "figures": [
            {
                "name": name,
                "image": base64.b64encode(svg.encode()).decode(),
                "caption": caption(shown.captions[name], config, {wildcard: shown.name}),
            }
            for name, svg in shown.figures.items()
        ],
    }


def _study_view(study: StudyResults, config: Mapping[str, Any]) -> dict[str, Any]:
    spec = config["studies"][study.shown.name]
    labels = {name: arm["label"] or name for name, arm in spec["arms"].items()}
    return {
        **_figures_view(study.shown, "study", config),
        "title": spec["title"],
        "claims": [
            {**claim, "unit": TARGETS[claim["target"]].unit}
            for claim in study.claims.to_dict("records")
        ],
        "scores": _score_table(study.scores, labels),
    }


def _score_table(scores: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of the largest training size, the best arm of each target marked."""
    table = scores[scores["train_size"] == scores["train_size"].max()]
    # Property by property, the arms of each in the order of the config.
    order = table["target"].map({t: i for i, t in enumerate(dict.fromkeys(table["target"]))})
    table = table.iloc[np.argsort(order.to_numpy(), kind="stable")]
    best = table.groupby("target")["mae_mean"].idxmin()
    return [
        {
            "target": f"{TARGETS[row['target']].label} ({TARGETS[row['target']].unit})",
            "arm": labels[row["arm"]],
            "train_size": row["train_size"],
            "mae": row["mae_mean"],
            "spread": row["mae_std"],
            "r2": row["r2"],
            "best": index in set(best),
        }
        for index, row in zip(table.index, table.to_dict("records"), strict=True)
    ]


def _dataset_view(data: DatasetResults, config: Mapping[str, Any]) -> dict[str, Any]:
    status = data.records["status"]
    lost = data.records[status != STATUS_OK]
    return {
        **_figures_view(data.shown, "dataset", config),
        "funnel": data.funnel.fillna({"detail": ""}).to_dict("records"),
        "n": len(data.records),
        "ok": int((status == STATUS_OK).sum()),
        "engines": sorted(
            {
                f"{r['engine']} {r['engine_version']}"
                for r in data.records.to_dict("records")
                if r["engine"]
            }
        ),
        "lost": lost[["material_id", "status", "reason"]].to_dict("records"),
        "cpu_minutes": float(data.cost["cpu_time_s"].sum() / 60),
        "cpu_median": float(data.cost["cpu_time_s"].median()),
        "memory": float(data.cost["peak_memory_mb"].max()),
        "slowest": data.cost.nlargest(3, "cpu_time_s").to_dict("records"),
    }
