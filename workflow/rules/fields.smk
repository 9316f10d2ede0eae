"""Maps from potentials to densities: fields, predicted densities, their pictures and uses."""

PREDICTED = "results/densities/{study}/{arm}"


rule fields_shard:
    """Potentials, free atoms and densities of one shard on the same wave vectors."""
    input:
        unpack(fields_inputs),
    output:
        fields="results/descriptors/{descriptor}/{dataset}/{shard}.npz",
    log:
        "results/logs/fields_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/fields_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("fields"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("fields_shard"),
        runtime=minutes("fields_shard"),
    params:
        spec=descriptor_spec,
    script:
        "../../scripts/fields_shard.py"


rule density_truths:
    """The computed densities in the terms that predicted ones are judged by."""
    input:
        fields=lambda wildcards: shard_files(
            "results/descriptors/{descriptor}/{dataset}/{shard}.npz",
            wildcards.dataset,
            descriptor=wildcards.descriptor,
        ),
    output:
        targets=TRUTHS,
    log:
        "results/logs/density_truths/{descriptor}/{dataset}.log",
    benchmark:
        "results/benchmarks/density_truths/{descriptor}/{dataset}.tsv"
    wildcard_constraints:
        descriptor=of_kind("fields"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("density_truths"),
        runtime=minutes("density_truths"),
    script:
        "../../scripts/density_truths.py"


rule densities_predict:
    """Densities of structures that a kept map was not trained on, and what they are worth."""
    input:
        network=lambda wildcards: kept_network(wildcards.study, wildcards.arm),
        fields=lambda wildcards: descriptor_files(study_spec(wildcards), wildcards.arm),
        splits="results/splits/{study}.parquet",
    output:
        densities=f"{PREDICTED}.npz",
        table=f"{PREDICTED}.parquet",
    log:
        "results/logs/densities_predict/{study}/{arm}.log",
    benchmark:
        "results/benchmarks/densities_predict/{study}/{arm}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("densities_predict"),
        runtime=minutes("densities_predict"),
    params:
        spec=lambda wildcards: {
            "algorithm": 1,
            "pair": pair_spec(arm_of(wildcards.study, wildcards.arm)),
        },
    script:
        "../../scripts/densities_predict.py"


rule density_files:
    """Predicted densities as files that other programs open."""
    input:
        unpack(shown_densities),
    output:
        files=directory(f"{PREDICTED}"),
    log:
        "results/logs/density_files/{study}/{arm}.log",
    benchmark:
        "results/benchmarks/density_files/{study}/{arm}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("density_files"),
        runtime=minutes("density_files"),
    params:
        show=lambda wildcards: study_spec(wildcards).show_density_of or "",
    script:
        "../../scripts/density_files.py"


rule figure_slices:
    """Computed and predicted densities and their difference on planes through atoms."""
    input:
        unpack(shown_densities),
    output:
        figure=report(
            "results/figures/{study}/slices.svg",
            caption="../report/slices.rst",
            category="{study}",
        ),
        data="results/figures/{study}/slices.parquet",
    log:
        "results/logs/figure_slices/{study}.log",
    benchmark:
        "results/benchmarks/figure_slices/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_slices"),
        runtime=minutes("figure_slices"),
    params:
        show=lambda wildcards: study_spec(wildcards).show_density_of or "",
    script:
        "../../scripts/figure_slices.py"


rule figure_isosurface:
    """The same densities as surfaces that can be turned."""
    input:
        unpack(shown_densities),
        template=shipped("workflow/report/isosurface.html.j2"),
        code=shipped("workflow/report/isosurface.js"),
        shader=shipped("workflow/report/isosurface.glsl"),
    output:
        figure=report(
            "results/figures/{study}/isosurface.html",
            caption="../report/isosurface.rst",
            category="{study}",
        ),
        data="results/figures/{study}/isosurface.npz",
    log:
        "results/logs/figure_isosurface/{study}.log",
    benchmark:
        "results/benchmarks/figure_isosurface/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_isosurface"),
        runtime=minutes("figure_isosurface"),
    params:
        show=lambda wildcards: study_spec(wildcards).show_density_of or "",
    script:
        "../../scripts/figure_isosurface.py"


rule figure_unseen:
    """Errors for structures like those trained on, and for elements that were not."""
    input:
        predictions="results/scores/{study}/predictions.parquet",
    output:
        figure=report(
            "results/figures/{study}/unseen.svg",
            caption="../report/unseen.rst",
            category="{study}",
        ),
        data="results/figures/{study}/unseen.parquet",
    log:
        "results/logs/figure_unseen/{study}.log",
    benchmark:
        "results/benchmarks/figure_unseen/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_unseen"),
        runtime=minutes("figure_unseen"),
    params:
        labels=arm_labels,
        elements=lambda wildcards: list(study_spec(wildcards).protocol.unseen_elements),
    script:
        "../../scripts/figure_unseen.py"


rule scf_starts:
    """Self-consistent runs from superposed atoms, from predicted and from converged densities."""
    input:
        unpack(shown_densities),
    output:
        runs="results/starts/{study}.parquet",
    log:
        "results/logs/scf_starts/{study}.log",
    benchmark:
        "results/benchmarks/scf_starts/{study}.tsv"
    conda:
        "../../envs/dft.yaml"
    threads: lambda wildcards: study_spec(wildcards).starts.structures
    resources:
        mem_mb=lambda wildcards, threads, attempt: 1500 * threads * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        spec=starts_spec,
        done=DFT_DONE,
    script:
        "../../scripts/scf_starts.py"


rule figure_scf_starts:
    """How many iterations a predicted density saves."""
    input:
        runs="results/starts/{study}.parquet",
        densities=lambda wildcards: shown_densities(wildcards)["table"],
    output:
        figure=report(
            "results/figures/{study}/scf_starts.svg",
            caption="../report/scf_starts.rst",
            category="{study}",
        ),
        data="results/figures/{study}/scf_starts.parquet",
        table="results/figures/{study}/scf_starts.csv",
    log:
        "results/logs/figure_scf_starts/{study}.log",
    benchmark:
        "results/benchmarks/figure_scf_starts/{study}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_scf_starts"),
        runtime=minutes("figure_scf_starts"),
    script:
        "../../scripts/figure_scf_starts.py"
