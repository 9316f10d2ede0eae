"""Scores: one tidy table a study, and the verdict on each claim of its paper."""


rule scores_collect:
    """MAE and R2 with their spread over redraws, and the claims judged by them."""
    input:
        predictions=study_predictions,
    output:
        predictions="results/scores/{study}/predictions.parquet",
        scores="results/scores/{study}/scores.csv",
        claims="results/scores/{study}/claims.csv",
    log:
        "results/logs/scores_collect/{study}.log",
    benchmark:
        "results/benchmarks/scores_collect/{study}.tsv"
    wildcard_constraints:
        study=studies_by("learning_curve"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("scores_collect"),
        runtime=minutes("scores_collect"),
    params:
        spec=lambda wildcards: {
            "labels": {n: a.label or n for n, a in study_spec(wildcards).arms.items()},
            "claims": claim_specs(wildcards),
        },
    script:
        "../../scripts/scores_collect.py"
