"""Figures and the report."""


rule figure_concept:
    """From a real density to its spots and voxels."""
    input:
        density=lambda wildcards: shard_files(
            "results/density/{dataset}/{shard}.npz", study_spec(wildcards).dataset
        ),
        structures=lambda wildcards: (
            f"results/structures/{study_spec(wildcards).dataset}/structures.parquet"
        ),
    output:
        figure=report(
            "results/figures/{study}/concept.svg",
            caption="../report/concept.rst",
            category="{study}",
        ),
    log:
        "results/logs/figure_concept/{study}.log",
    benchmark:
        "results/benchmarks/figure_concept/{study}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=takes(10),
    params:
        spec=study_r3dvs,
        material=lambda wildcards: study_spec(wildcards).show_density_of or "",
    script:
        "../../scripts/figure_concept.py"


rule figure_scores:
    """Figures drawn from a study's predictions and scores."""
    input:
        predictions="results/scores/{study}/predictions.parquet",
    output:
        figure=report(
            "results/figures/{study}/{figure}.svg",
            caption="../report/{figure}.rst",
            category="{study}",
        ),
        data="results/figures/{study}/{figure}.parquet",
    log:
        "results/logs/figure_scores/{study}/{figure}.log",
    benchmark:
        "results/benchmarks/figure_scores/{study}/{figure}.tsv"
    wildcard_constraints:
        figure="learning_curves|parity",
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=takes(10),
    params:
        labels=arm_labels,
    script:
        "../../scripts/figure_scores.py"


rule report_make:
    """One HTML file with the claims, figures, funnel, failures and cost of this run."""
    input:
        *[study_outputs(study) for study in CONFIG.report],
        *[shipped(f"workflow/report/{figure}.rst") for figure in FIGURES],
        *[
            path
            for files in report_layout()["datasets"].values()
            for path in (files["funnel"], files["records"], *files["cost"])
        ],
        template=shipped("workflow/report/report.html.j2"),
    output:
        "results/report.html",
    log:
        "results/logs/report_make.log",
    benchmark:
        "results/benchmarks/report_make.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=takes(10),
    params:
        layout=report_layout(),
        config=CONFIG.model_dump(mode="json"),
    script:
        "../../scripts/report_make.py"
