"""Checks: data sets against known oxides, and against each other."""


rule figure_known:
    """Volumes, gaps and bulk moduli of well-known oxides, and E_H of every stored density."""
    input:
        targets="results/dft/{dataset}/targets.parquet",
        structures=lambda wildcards: shard_files(COMPUTED, wildcards.dataset),
        densities=lambda wildcards: shard_files(
            "results/density/{dataset}/{shard}.npz", wildcards.dataset
        ),
        known=shipped("resources/known_oxides.csv"),
    output:
        figure=report(
            "results/dft/{dataset}/known.svg",
            caption="../report/known.rst",
            category="data sets",
        ),
        known="results/dft/{dataset}/known.parquet",
        hartree="results/dft/{dataset}/hartree.parquet",
    log:
        "results/logs/figure_known/{dataset}.log",
    benchmark:
        "results/benchmarks/figure_known/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_known"),
        runtime=minutes("figure_known"),
    params:
        spec={"algorithm": 1},
    script:
        "../../scripts/figure_known.py"


rule figure_comparison:
    """Target by target, the differences between two data sets of the same structures."""
    input:
        structures=lambda wildcards: compared(wildcards, "dataset", "structures"),
        targets=lambda wildcards: compared(wildcards, "dataset", "targets"),
        reference_structures=lambda wildcards: compared(
            wildcards, "reference", "structures"
        ),
        reference_targets=lambda wildcards: compared(wildcards, "reference", "targets"),
    output:
        figure=report(
            "results/comparisons/{comparison}.svg",
            caption="../report/comparison.rst",
            category="data sets",
        ),
        data="results/comparisons/{comparison}.parquet",
    log:
        "results/logs/figure_comparison/{comparison}.log",
    benchmark:
        "results/benchmarks/figure_comparison/{comparison}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_comparison"),
        runtime=minutes("figure_comparison"),
    params:
        spec={"algorithm": 1},
    script:
        "../../scripts/figure_comparison.py"
