"""Structures: read the source, filter, sample."""


rule structures_select:
    """Candidates of the source, filtered and sampled, with the funnel of what was dropped.

    A database is asked anew at every run of this rule, and answers change; Snakemake runs it again
    only when the settings of source or selection do, or the files of a local source.
    """
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
    wildcard_constraints:
        dataset=one_of(CONFIG.datasets),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("structures_select"),
        runtime=minutes("structures_select"),
    params:
        spec=lambda wildcards: {
            "source": found(dataset_spec(wildcards).source).model_dump(mode="json"),
            "selection": spec(f"datasets.{wildcards.dataset}.selection"),
        },
        source_state=source_state,
    script:
        "../../scripts/structures_select.py"


rule figure_funnel:
    """What each step of the selection dropped."""
    input:
        funnel="results/structures/{dataset}/funnel.csv",
    output:
        figure=report(
            "results/structures/{dataset}/funnel.svg",
            caption="../report/funnel.rst",
            category="data sets",
        ),
    log:
        "results/logs/figure_funnel/{dataset}.log",
    benchmark:
        "results/benchmarks/figure_funnel/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_funnel"),
        runtime=minutes("figure_funnel"),
    script:
        "../../scripts/figure_funnel.py"
