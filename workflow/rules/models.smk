"""Models: one job a study, arm, task and range of redraws draws a learning curve."""


rule model_train:
    """Predictions of one arm for its targets: every training size of a range of redraws."""
    input:
        unpack(training_inputs),
        targets=lambda wildcards: (
            f"results/dft/{study_spec(wildcards).dataset}/targets.parquet"
        ),
        splits="results/splits/{study}.parquet",
    output:
        predictions=PREDICTIONS,
    log:
        "results/logs/model_train/{study}/{arm}/{task}/{redraws}.log",
    benchmark:
        "results/benchmarks/model_train/{study}/{arm}/{task}/{redraws}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=takes(240),
    params:
        spec=train_spec,
        checkpoints=CHECKPOINTS,
    script:
        "../../scripts/model_train.py"
