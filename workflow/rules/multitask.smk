"""Figures of several targets: all scores, what learning one beside others brings, which are alike."""


rule figure_score_table:
    """R2 and MAE of every arm and target with their spread."""
    input:
        predictions="results/scores/{study}/predictions.parquet",
    output:
        figure=report(
            "results/figures/{study}/score_table.svg",
            caption="../report/score_table.rst",
            category="{study}",
        ),
        data="results/figures/{study}/score_table.parquet",
    log:
        "results/logs/figure_score_table/{study}.log",
    benchmark:
        "results/benchmarks/figure_score_table/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_score_table"),
        runtime=minutes("figure_score_table"),
    params:
        labels=arm_labels,
    script:
        "../../scripts/figure_score_table.py"


rule figure_added_tasks:
    """What a target learned beside the others does to their errors."""
    input:
        predictions="results/scores/{study}/predictions.parquet",
    output:
        figure=report(
            "results/figures/{study}/added_tasks.svg",
            caption="../report/added_tasks.rst",
            category="{study}",
        ),
        data="results/figures/{study}/added_tasks.parquet",
    log:
        "results/logs/figure_added_tasks/{study}.log",
    benchmark:
        "results/benchmarks/figure_added_tasks/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_added_tasks"),
        runtime=minutes("figure_added_tasks"),
    params:
        labels=arm_labels,
        points=added_tasks,
    script:
        "../../scripts/figure_added_tasks.py"


rule figure_task_similarity:
    """Rank correlations of a study's targets, their tree, and the groups learned together."""
    input:
        targets=targets_of_study,
    output:
        figure=report(
            "results/figures/{study}/task_similarity.svg",
            caption="../report/task_similarity.rst",
            category="{study}",
        ),
        data="results/figures/{study}/task_similarity.parquet",
    log:
        "results/logs/figure_task_similarity/{study}.log",
    benchmark:
        "results/benchmarks/figure_task_similarity/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_task_similarity"),
        runtime=minutes("figure_task_similarity"),
    params:
        targets=lambda wildcards: list(study_spec(wildcards).targets),
        groups=target_groups,
    script:
        "../../scripts/figure_task_similarity.py"
