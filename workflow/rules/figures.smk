"""Figures and the report."""


rule figure_concept:
    """From a real density to its spots and voxels."""
    input:
        density=lambda wildcards: shard_files(
            "results/density/{dataset}/{shard}.npz", study_spec(wildcards).dataset
        ),
        structures=lambda wildcards: shard_files(
            COMPUTED, study_spec(wildcards).dataset
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
        mem_mb=memory_mb("figure_concept"),
        runtime=minutes("figure_concept"),
    params:
        spec=study_r3dvs,
        material=lambda wildcards: study_spec(wildcards).show_density_of or "",
    script:
        "../../scripts/figure_concept.py"


rule figure_learning_curves:
    """Errors against the number of training structures."""
    input:
        predictions="results/scores/{study}/predictions.parquet",
    output:
        figure=report(
            "results/figures/{study}/learning_curves.svg",
            caption="../report/learning_curves.rst",
            category="{study}",
        ),
        data="results/figures/{study}/learning_curves.parquet",
    log:
        "results/logs/figure_learning_curves/{study}.log",
    benchmark:
        "results/benchmarks/figure_learning_curves/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_learning_curves"),
        runtime=minutes("figure_learning_curves"),
    params:
        labels=arm_labels,
    script:
        "../../scripts/figure_learning_curves.py"


rule figure_parity:
    """Predicted against computed values at the largest training size."""
    input:
        predictions="results/scores/{study}/predictions.parquet",
    output:
        figure=report(
            "results/figures/{study}/parity.svg",
            caption="../report/parity.rst",
            category="{study}",
        ),
        data="results/figures/{study}/parity.parquet",
    log:
        "results/logs/figure_parity/{study}.log",
    benchmark:
        "results/benchmarks/figure_parity/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_parity"),
        runtime=minutes("figure_parity"),
    params:
        labels=arm_labels,
    script:
        "../../scripts/figure_parity.py"


rule figure_scan:
    """Errors against the settings that a study varies."""
    input:
        predictions="results/scores/{study}/predictions.parquet",
    output:
        figure=report(
            "results/figures/{study}/scan.svg",
            caption="../report/scan.rst",
            category="{study}",
        ),
        data="results/figures/{study}/scan.parquet",
    log:
        "results/logs/figure_scan/{study}.log",
    benchmark:
        "results/benchmarks/figure_scan/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_scan"),
        runtime=minutes("figure_scan"),
    params:
        labels=arm_labels,
        scans=arm_scans,
    script:
        "../../scripts/figure_scan.py"


rule figure_extrapolation:
    """Errors against the number of atoms, in range and beyond what was trained on."""
    input:
        predictions="results/scores/{study}/predictions.parquet",
        structures=lambda wildcards: (
            f"results/structures/{study_spec(wildcards).dataset}/structures.parquet"
        ),
    output:
        figure=report(
            "results/figures/{study}/extrapolation.svg",
            caption="../report/extrapolation.rst",
            category="{study}",
        ),
        data="results/figures/{study}/extrapolation.parquet",
    log:
        "results/logs/figure_extrapolation/{study}.log",
    benchmark:
        "results/benchmarks/figure_extrapolation/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_extrapolation"),
        runtime=minutes("figure_extrapolation"),
    params:
        labels=arm_labels,
        train_max_atoms=lambda wildcards: study_spec(wildcards).protocol.train_max_atoms,
    script:
        "../../scripts/figure_extrapolation.py"


rule report_make:
    """One HTML file with the claims, figures, funnel, failures and cost of this run."""
    input:
        *report_inputs(),
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
        mem_mb=memory_mb("report_make"),
        runtime=minutes("report_make"),
    params:
        layout=report_layout(),
        config=CONFIG.model_dump(mode="json"),
    script:
        "../../scripts/report_make.py"


use rule report_make as report_study with:
    input:
        report_inputs,
        template=shipped("workflow/report/report.html.j2"),
    output:
        "results/reports/{study}.html",
    log:
        "results/logs/report_study/{study}.log",
    benchmark:
        "results/benchmarks/report_study/{study}.tsv"
    params:
        layout=report_layout,
        config=CONFIG.model_dump(mode="json"),
