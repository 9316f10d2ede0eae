"""Models: one job a study, arm, task and range of redraws draws a learning curve."""


rule model_train:
    """Predictions of one arm with networks: every training size of a range of redraws."""
    input:
        unpack(training_inputs),
        targets=targets_of_study,
        splits="results/splits/{study}.parquet",
    output:
        predictions=PREDICTIONS,
    log:
        "results/logs/model_train/{study}/{arm}/{task}/{redraws}.log",
    benchmark:
        "results/benchmarks/model_train/{study}/{arm}/{task}/{redraws}.tsv"
    wildcard_constraints:
        study=studies_of_arms(
            lambda study, arm: (
                CONFIG.trains_networks(study, arm)
                and not CONFIG.studies[study].arms[arm].keep
            )
        ),
    conda:
        "../../envs/torch.yaml"
    threads: training_devices
    resources:
        mem_mb=training_memory_mb("model_train", train_spec),
        runtime=training_minutes("model_train", train_spec),
        gres=gpus,
    params:
        spec=train_spec,
        checkpoints=CHECKPOINTS,
    script:
        "../../scripts/model_train.py"


use rule model_train as model_keep with:
    # Networks that descriptors and figures read: those of a job's first redraw.
    output:
        predictions=PREDICTIONS,
        network=NETWORK,
    log:
        "results/logs/model_keep/{study}/{arm}/{task}/{redraws}.log",
    benchmark:
        "results/benchmarks/model_keep/{study}/{arm}/{task}/{redraws}.tsv"
    wildcard_constraints:
        study=studies_of_arms(lambda study, arm: CONFIG.studies[study].arms[arm].keep),
    resources:
        mem_mb=training_memory_mb("model_keep", train_spec),
        runtime=training_minutes("model_keep", train_spec),
        gres=gpus,


use rule model_train as model_fit with:
    # Kernel ridge regression and means, which need no GPU.
    log:
        "results/logs/model_fit/{study}/{arm}/{task}/{redraws}.log",
    benchmark:
        "results/benchmarks/model_fit/{study}/{arm}/{task}/{redraws}.tsv"
    wildcard_constraints:
        study=studies_of_arms(
            lambda study, arm: (not CONFIG.trains_networks(study, arm))
        ),
    resources:
        mem_mb=training_memory_mb("model_fit", train_spec),
        runtime=training_minutes("model_fit", train_spec),
