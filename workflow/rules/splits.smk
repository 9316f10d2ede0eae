"""Splits: drawn once a study, shared by all its arms."""


rule splits_make:
    """Test and training structures of every redraw."""
    input:
        targets=targets_of_study,
        structures=names_of_study,
    output:
        splits="results/splits/{study}.parquet",
    log:
        "results/logs/splits_make/{study}.log",
    benchmark:
        "results/benchmarks/splits_make/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("splits_make"),
        runtime=minutes("splits_make"),
    params:
        spec=lambda wildcards: {
            "protocol": spec(f"studies.{wildcards.study}.protocol"),
            "targets": list(study_spec(wildcards).targets),
        },
    script:
        "../../scripts/splits_make.py"
