"""On a cluster: what stays on the login node, and what is looked at before jobs are submitted."""

import os

from rhoflow.slurm import (
    Request,
    SlurmError,
    accounts,
    check,
    end_leftovers,
    min_job_age_s,
    nodes,
)

WEB_SOURCES = ("materials_project", "optimade", "qm9")


# Seconds of work each, on tables and figures of scores.
localrules:
    archive_atom_densities,
    archive_atoms,
    classify_collect,
    dft_prepare_atoms,
    figure_added_tasks,
    figure_architecture,
    figure_classification,
    figure_comparison,
    figure_concept,
    figure_extrapolation,
    figure_funnel,
    figure_learning_curves,
    figure_parity,
    figure_scan,
    figure_score_table,
    figure_task_similarity,
    report_make,
    report_study,
    scores_collect,
    splits_make,
    table_networks,
    wells_solve,


# Compute nodes seldom reach the internet.
if any(d.source.kind in WEB_SOURCES for d in CONFIG.sets.values()):

    localrules:
        molecules_select,
        structures_select,


# Snakemake's longest pause between two looks at the queue, in seconds.
LONGEST_PAUSE_S = 180


def requests():
    """What the jobs of this run ask for on the local cluster."""
    for job in workflow.dag.needrun_jobs():
        asked = {
            name: value
            for name, value in job.resources.items()
            if type(value) in (int, str)
        }
        elsewhere = {"cluster", "clusters", "slurm_cluster"} & set(asked)
        if not job.is_local and not elsewhere:
            yield request_of(job.rule.name, job.threads, asked)


def request_of(who, threads, asked):
    """What a job asks for on one node; 0 for what is not known yet."""
    several = asked.get("nodes", 1) > 1
    each = asked.get("cpus_per_task", threads)
    return Request(
        who,
        str(asked.get("slurm_partition", "")),
        0 if several else each * asked.get("tasks", 1),
        asked.get("mem_mb", 0),
        asked.get("runtime", 0),
        asked.get("gres", ""),
        str(asked.get("slurm_account", "")),
    )


def prepare_slurm():
    """Refuse what cannot run, warn of what may hang, end what a killed run left behind."""
    settings = workflow.executor_settings
    by_file = settings.partition_config or "SNAKEMAKE_SLURM_PARTITIONS" in os.environ
    if not by_file:
        asked = list(requests())
        check(asked, nodes(), accounts() if any(r.account for r in asked) else ())
    age_s = min_job_age_s()
    if settings.status_command == "squeue" and (age_s or 0) < LONGEST_PAUSE_S:
        logger.warning(
            f"MinJobAge is {age_s} s here: squeue may forget a job before Snakemake has seen its "
            "end, and wait for ever. With accounting, set slurm-status-command: sacct."
        )
    # The lock of this folder is ours, so its jobs in the queue are of a run that was killed.
    if workflow.execution_settings.lock:
        logs = settings.logdir or ".snakemake/slurm_logs"
        if ended := end_leftovers(Path(logs)):
            logger.warning(
                f"Jobs that a killed run left behind were cancelled: {', '.join(ended)}"
            )


onstart:
    if (
        workflow.executor_plugin is not None
        and workflow.executor_plugin.name == "slurm"
    ):
        try:
            prepare_slurm()
        except SlurmError as error:
            raise WorkflowError(str(error)) from None
