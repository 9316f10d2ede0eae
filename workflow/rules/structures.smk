"""Structures: read the source, filter, sample."""


rule structures_select:
    """Candidates of the source, filtered and sampled, with the funnel of what was dropped."""
    input:
        prototypes=shipped("resources/prototypes.yaml"),
    output:
        structures="results/structures/{dataset}/structures.parquet",
        funnel="results/structures/{dataset}/funnel.csv",
        rejected="results/structures/{dataset}/rejected.csv",
    log:
        "results/logs/structures_select/{dataset}.log",
    benchmark:
        "results/benchmarks/structures_select/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=takes(30),
    params:
        spec=lambda wildcards: {
            "source": spec(f"datasets.{wildcards.dataset}.source"),
            "selection": spec(f"datasets.{wildcards.dataset}.selection"),
        },
        source_state=source_state,
    script:
        "../../scripts/structures_select.py"
