"""On a cluster: what stays on the login node, and what a killed run left behind."""

from rhoflow.slurm import Request, SlurmError, check, end_leftovers, nodes

WEB_SOURCES = ("materials_project", "optimade")


# Seconds of work each, on tables and figures of scores.
localrules:
    archive_atoms,
    classify_collect,
    dft_prepare_atoms,
    figure_architecture,
    figure_classification,
    figure_comparison,
    figure_concept,
    figure_funnel,
    figure_learning_curves,
    figure_parity,
    figure_scan,
    report_make,
    report_study,
    scores_collect,
    splits_make,
    table_oxides,


# Compute nodes seldom reach the internet.
if any(d.source.kind in WEB_SOURCES for d in CONFIG.datasets.values()):

    localrules:
        structures_select,


def requests():
    """What the jobs of this run ask for, and the most that a group of them may."""
    for job in workflow.dag.needrun_jobs():
        if not job.is_local:
            yield request_of(job)
    most = workflow.global_resources
    yield Request(
        "the profile (cores, resources: mem_mb)",
        None,
        workflow.cores or 0,
        int(most["mem_mb"].value) if "mem_mb" in most else 0,
        "",
    )


def request_of(job):
    """What a job asks for on one node; 0 for what is not known yet."""
    asked = {
        name: value
        for name, value in job.resources.items()
        if type(value) in (int, str)
    }
    several = asked.get("nodes", 1) > 1
    return Request(
        job.rule.name,
        asked.get("slurm_partition"),
        0 if several else job.threads * asked.get("tasks", 1),
        asked.get("mem_mb", 0),
        asked.get("gres", ""),
    )


onstart:
    if not workflow.local_exec:
        try:
            check(list(requests()), nodes())
            # The lock of this folder is ours, so its jobs in the queue are of a killed run.
            ended = end_leftovers(Path(".snakemake/slurm_logs"))
        except SlurmError as error:
            raise WorkflowError(str(error)) from None
        if ended:
            print(
                f"Jobs that a killed run left behind were cancelled: {', '.join(ended)}"
            )
