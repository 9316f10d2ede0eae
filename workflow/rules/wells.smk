"""Wells in a box: potentials solved exactly, and the densities that models predict for them."""


rule wells_solve:
    """Random potentials of one dimension, their densities and energies."""
    output:
        systems=SOLVED["wells"],
        potentials=SOLVED["wells_potential"],
        targets="results/wells/{dataset}/targets.parquet",
    log:
        "results/logs/wells_solve/{dataset}.log",
    benchmark:
        "results/benchmarks/wells_solve/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.wells),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: (
            solved_request(wildcards, attempt).memory_mb + SNAKEMAKE_MB
        ),
        runtime=lambda wildcards, attempt: solved_request(wildcards, attempt).minutes,
    params:
        spec=lambda wildcards: spec(f"wells.{wildcards.dataset}"),
    script:
        "../../scripts/wells_solve.py"


rule figure_wells:
    """Potentials, exact and predicted densities, and the error of energies that is due to these."""
    input:
        systems=lambda wildcards: SOLVED["wells"].format(
            dataset=study_spec(wildcards).dataset
        ),
        splits="results/splits/{study}.parquet",
    output:
        figure=report(
            "results/figures/{study}/wells.svg",
            caption="../report/wells.rst",
            category="{study}",
        ),
        data="results/figures/{study}/wells.parquet",
        errors="results/figures/{study}/wells.csv",
    log:
        "results/logs/figure_wells/{study}.log",
    benchmark:
        "results/benchmarks/figure_wells/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_wells"),
        runtime=minutes("figure_wells"),
    params:
        spec=wells_figure_spec,
        labels=arm_labels,
    script:
        "../../scripts/figure_wells.py"
