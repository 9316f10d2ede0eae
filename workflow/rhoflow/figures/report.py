"""The report: one HTML file that opens without a network."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml
from docutils.core import publish_parts

from rhoflow import __version__, io, tables
from rhoflow.evaluation.protocol import PARTS
from rhoflow.properties import TARGETS
from rhoflow.tables import STATUS_OK


@dataclass(frozen=True)
class FigureSet:
    """The figures of one study, data set or comparison.

    Attributes:
        name: of the study, data set or comparison.
        figures: SVG text by name of the figure, or the HTML text of a page.
        captions: reStructuredText templates by name of the figure.
        pages: names of the figures that are pages.
    """

    name: str
    figures: Mapping[str, str]
    captions: Mapping[str, str]
    pages: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StudyResults:
    """What the report shows of one study.

    Attributes:
        shown: its figures.
        scores: ``tables.SCORES``, or ``tables.ACCURACIES`` of a classification.
        claims: ``tables.CLAIMS``.
        tables: other tables by their titles.
    """

    shown: FigureSet
    scores: pd.DataFrame
    claims: pd.DataFrame
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


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
            the paths of ``figures`` (``.svg``, or ``.html`` of a page) and ``captions`` by figure;
            of a study those of ``scores``,
            ``claims`` and, by title, other ``tables``; of a data set those of ``funnel``,
            ``records`` and, in a list, ``cost``.
    """
    return ReportResults(
        studies=[
            StudyResults(
                _read_figures(name, files),
                scores=io.read_table(files["scores"]),
                claims=io.read_table(files["claims"], tables.CLAIMS),
                tables={title: io.read_table(path) for title, path in files["tables"].items()},
            )
            for name, files in layout["studies"].items()
        ],
        comparisons=[_read_figures(name, files) for name, files in layout["comparisons"].items()],
        datasets=[
            DatasetResults(
                _read_figures(name, files),
                funnel=io.read_table(files["funnel"], tables.FUNNEL),
                records=io.read_table(files["records"], tables.OUTCOMES),
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
    pages = frozenset(n for n, path in files["figures"].items() if str(path).endswith(".html"))
    return FigureSet(name, figures, captions, pages)


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
    environment.filters["cell"] = _cell
    return environment.from_string(template).render(
        version=__version__,
        studies=[_study_view(s, config) for s in results.studies],
        comparisons=[_figures_view(c, "comparison", config) for c in results.comparisons],
        datasets=[_dataset_view(d, config) for d in results.datasets],
        config=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
    )


def _cell(value: Any) -> str:
    """A value of a table as text: numbers short, what is missing as a dash."""
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.4g}"
    return "–" if value is None else str(value)


def _figures_view(shown: FigureSet, wildcard: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": shown.name,
        "figures": [
            {
                "name": name,
                "page": text if name in shown.pages else "",
                "image": "" if name in shown.pages else base64.b64encode(text.encode()).decode(),
                "caption": caption(shown.captions[name], config, {wildcard: shown.name}),
            }
            for name, text in shown.figures.items()
        ],
    }


def _study_view(study: StudyResults, config: Mapping[str, Any]) -> dict[str, Any]:
    spec = config["studies"][study.shown.name]
    labels = {name: arm["label"] or name for name, arm in spec["arms"].items()}
    return {
        **_figures_view(study.shown, "study", config),
        "title": spec["title"],
        "larger": spec["protocol"].get("train_max_atoms"),
        "unseen": spec["protocol"].get("unseen_elements"),
        "claims": [
            {**claim, "unit": TARGETS[claim["target"]].unit if claim["target"] in TARGETS else ""}
            for claim in study.claims.to_dict("records")
        ],
        "scores": _score_table(study.scores, labels) if "mae_mean" in study.scores else [],
        "accuracies": _accuracy_table(study.scores, labels) if "accuracy" in study.scores else [],
        "tables": [
            {"title": title, "columns": list(table), "rows": table.to_numpy(dtype=object).tolist()}
            for title, table in study.tables.items()
        ],
    }


def _accuracy_table(accuracies: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Mean and spread of every arm and number of replicas."""
    table = accuracies.groupby(["arm", "replicas"], sort=False)["accuracy"]
    rows = table.agg(["mean", "std", "count"]).reset_index().to_dict("records")
    return [{**row, "arm": labels[row["arm"]]} for row in rows]


def _score_table(scores: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Errors at the largest training size, the best arm of each target and part marked."""
    table = scores[scores["train_size"] == scores["train_size"].max()]
    # Property by property, first the sizes trained on, the arms of each in the order of the config.
    first = table.groupby("target", sort=False).ngroup()
    table = table.iloc[np.lexsort((table["part"].map(PARTS.index), first))]
    best = table.groupby(["target", "part"])["mae_mean"].idxmin()
    return [
        {
            "target": f"{TARGETS[row['target']].label} ({TARGETS[row['target']].unit})"
            + ("" if row["part"] == "test" else f", {row['part']}"),
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
