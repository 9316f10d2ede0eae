"""Models: one job a study, arm, target and range of redraws draws one learning curve."""


rule model_train:
    """Predictions of one arm for one target: every training size of a range of redraws."""
    input:
        descriptors=descriptor_files,
        targets=lambda wildcards: (
            f"results/dft/{study_spec(wildcards).dataset}/targets.parquet"
        ),
        splits="results/splits/{study}.parquet",
    output:
        predictions=PREDICTIONS,
    log:
        "results/logs/model_train/{study}/{arm}/{target}/{redraws}.log",
    benchmark:
        "results/benchmarks/model_train/{study}/{arm}/{target}/{redraws}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000),
        runtime=takes(240),
    params:
        spec=train_spec,
    script:
        "../../scripts/model_train.py"
