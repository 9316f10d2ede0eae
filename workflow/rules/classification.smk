"""Classification tests: whether a network has learned that rotations change nothing."""


rule classify_train:
    """Answers of one arm for the unrotated originals, trained on more and more replicas."""
    input:
        unpack(training_inputs),
    output:
        predictions="results/classifications/{study}/{arm}/{redraws}.parquet",
        features="results/classifications/{study}/{arm}/{redraws}.npz",
    log:
        "results/logs/classify_train/{study}/{arm}/{redraws}.log",
    benchmark:
        "results/benchmarks/classify_train/{study}/{arm}/{redraws}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: training_devices
    resources:
        mem_mb=training_memory_mb("classify_train", classify_spec),
        runtime=training_minutes("classify_train", classify_spec),
        gres=gpus,
    params:
        spec=classify_spec,
        checkpoints=CHECKPOINTS,
    script:
        "../../scripts/classify_train.py"


rule classify_collect:
    """Accuracy of every repeat, and the claims judged by it."""
    input:
        predictions=lambda wildcards: expand(
            "results/classifications/{study}/{arm}/{redraws}.parquet",
            study=wildcards.study,
            arm=study_spec(wildcards).arms,
            redraws=study_spec(wildcards).protocol.jobs(),
        ),
    output:
        scores="results/scores/{study}/accuracies.csv",
        claims="results/scores/{study}/claims.csv",
    log:
        "results/logs/classify_collect/{study}.log",
    benchmark:
        "results/benchmarks/classify_collect/{study}.tsv"
    wildcard_constraints:
        study=studies_by("classification"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("classify_collect"),
        runtime=minutes("classify_collect"),
    params:
        spec=lambda wildcards: {
            "claims": [
                c.model_dump(mode="json")
                for c in study_spec(wildcards).accuracy_claims
            ],
            "classes": study_spec(wildcards).protocol.classes,
        },
    script:
        "../../scripts/classify_collect.py"


rule figure_classification:
    """Accuracy against the number of replicas, and what the networks see as alike."""
    input:
        scores="results/scores/{study}/accuracies.csv",
        features=lambda wildcards: expand(
            "results/classifications/{study}/{arm}/{redraws}.npz",
            study=wildcards.study,
            arm=list(study_spec(wildcards).shown_arms())[0],
            redraws=study_spec(wildcards).protocol.jobs()[0],
        ),
    output:
        figure=report(
            "results/figures/{study}/classification.svg",
            caption="../report/classification.rst",
            category="{study}",
        ),
    log:
        "results/logs/figure_classification/{study}.log",
    benchmark:
        "results/benchmarks/figure_classification/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_classification"),
        runtime=minutes("figure_classification"),
    params:
        labels=arm_labels,
    script:
        "../../scripts/figure_classification.py"
