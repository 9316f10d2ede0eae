"""What `snakemake status` needs to know: whether it was asked, and where everything lies."""

import contextlib
import os

from rhoflow.evaluation.protocol import parse_range
from snakemake.cli import get_argument_parser
from snakemake.io import strip_wildcard_constraints
from snakemake.settings.types import ExecMode

# Snakemake's own folder.
OWN = ".snakemake"
# What else `snakemake status` may be asked for: these do what they always do.
OTHER_ACTIONS = ["lint", "list_rules", "list_target_rules", "unlock"]


def status_asked():
    """Whether this process was started as `snakemake status`, with whatever options.

    Snakemake asks for cores and for the lock of the folder once the rules are known, which is too
    late for a question about a run that goes on: the page is printed while they are read.
    """
    if "status" not in sys.argv or workflow.exec_mode != ExecMode.DEFAULT:
        return False
    given, _ = get_argument_parser().parse_known_args(sys.argv[1:])
    if "status" not in given.targets or any(getattr(given, a) for a in OTHER_ACTIONS):
        return False
    if set(given.targets) != {"status"}:
        raise WorkflowError(
            "status: prints where a run stands and runs nothing, so no other target can stand "
            "beside it; got: " + " ".join(given.targets)
        )
    return True


def pattern_of(path):
    """A rule's path with {wildcards}, without what they are constrained to."""
    return strip_wildcard_constraints(str(path))


def job_files(path, name, *rules_of_it):
    """The files of the job that writes a path, of one of these rules."""
    for writer in map(workflow.get_rule, rules_of_it):
        if match := writer.output[0].match(path):
            return {
                "name": name,
                "rule": writer.name,
                "output": path,
                "log": pattern_of(writer.log[0]).format(**match.groupdict()),
                "benchmark": pattern_of(writer.benchmark).format(**match.groupdict()),
            }
    raise WorkflowError(f"status: none of {', '.join(rules_of_it)} writes {path}")


def status_dataset(dataset):
    """Where a data set's structures and calculations are."""
    settings = CONFIG.sets[dataset]
    records, cost = "results/dft/{}/{}.parquet", "results/dft/{}/{}.cost.parquet"
    names = {shard: f"{dataset}/{shard}" for shard in shards(dataset)}
    computes = CONFIG.engines[settings.engine].kind not in (
        "archive",
        "given",
        "outputs",
    )
    return {
        "size": settings.selection.size,
        "shard_size": settings.shard_size,
        "structures": f"results/structures/{dataset}/structures.parquet",
        "shards": [
            job_files(records.format(dataset, shard), name, "dft_run", "molecules_run")
            for shard, name in names.items()
        ],
        "costs": (
            {name: cost.format(dataset, shard) for shard, name in names.items()}
            if computes
            else None
        ),
    }


def status_trainings(study):
    """The trainings of a study: the job of each, and how many fits it makes."""
    protocol = CONFIG.studies[study].protocol
    if protocol.kind == "classification":
        steps, rules_of_it = len(protocol.replicas), ["classify_train"]
        folder, tasks = "results/classifications", lambda arm: [""]
    else:
        steps, rules_of_it = len(protocol.train_sizes), [
            "model_train",
            "model_keep",
            "model_fit",
        ]
        folder, tasks = "results/predictions", lambda arm: CONFIG.tasks(study, arm)
    for arm in CONFIG.studies[study].arms:
        for task in tasks(arm):
            for redraws in protocol.jobs():
                name = "/".join(filter(None, [study, arm, task, redraws]))
                yield {
                    "arm": arm,
                    "job": job_files(f"{folder}/{name}.parquet", name, *rules_of_it),
                    "fits": steps * len(parse_range(redraws)),
                }


def status_study(study):
    """Where a study's trainings, figures and report are."""
    figures = {
        figure: STUDY_FIGURE.format(study=study, figure=figure)
        for figure in CONFIG.studies[study].drawn()
    }
    return {
        "trainings": list(status_trainings(study)),
        "figures": figures,
        "report": f"results/reports/{study}.html",
    }


def status_layout():
    """Where everything lies that tells how far the run of this config is."""
    counted = [
        "dft_run",
        "molecules_run",
        "model_keep",
        "model_train",
        "model_fit",
        "classify_train",
    ]
    return {
        "snakemake": OWN,
        "datasets": {name: status_dataset(name) for name in CONFIG.sets},
        "studies": {name: status_study(name) for name in CONFIG.studies},
        "stages": {
            stage.name: {
                "log": pattern_of(stage.log[0]),
                "logs": stage.log[0].regex().pattern,
                "output": pattern_of(stage.output[0]),
                "outputs": stage.output[0].regex().pattern,
            }
            for stage in workflow.rules
            if stage.log and stage.output and stage.name not in counted
        },
        "engine_logs": DFT_DONE,
        "checkpoints": CHECKPOINTS,
        "report": "results/report.html",
    }


def forget_own_log():
    """Remove the log that Snakemake began for this process, and the folders made for it."""
    for handler, path in list(workflow.logger_manager.logfile_handlers.items()):
        handler.close()
        with contextlib.suppress(OSError):
            os.unlink(path)
    with contextlib.suppress(OSError):  # a run's own logs are in it
        os.rmdir(f"{OWN}/log")
        os.rmdir(OWN)
