"""On a cluster: what stays on the login node, and what a killed run left behind."""

from rhoflow.slurm import SlurmError, end_leftovers


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


onstart:
    # The lock of this folder is ours, so its jobs in the queue are of a run that was killed.
    if not workflow.local_exec:
        try:
            ended = end_leftovers(Path(".snakemake/slurm_logs"))
        except SlurmError as error:
            raise WorkflowError(str(error)) from None
        if ended:
            print(
                f"Jobs that a killed run left behind were cancelled: {', '.join(ended)}"
            )
