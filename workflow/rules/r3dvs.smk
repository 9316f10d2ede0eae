"""Figures and tables of the voxel-descriptor paper that need no training."""


rule figure_hartree:
    """How far the Hartree energy follows from |s(g)|: beyond a radius, and on voxels."""
    input:
        densities=lambda wildcards: shard_files(
            "results/density/{dataset}/{shard}.npz", study_spec(wildcards).dataset
        ),
        targets=lambda wildcards: f"results/dft/{study_spec(wildcards).dataset}/targets.parquet",
    output:
        figure=report(
            "results/figures/{study}/hartree.svg",
            caption="../report/hartree.rst",
            category="{study}",
        ),
        scores="results/figures/{study}/hartree.csv",
        energies="results/figures/{study}/hartree.parquet",
        shares="results/figures/{study}/hartree_shares.parquet",
    log:
        "results/logs/figure_hartree/{study}.log",
    benchmark:
        "results/benchmarks/figure_hartree/{study}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_hartree"),
        runtime=minutes("figure_hartree"),
    params:
        spec=lambda wildcards: {
            "algorithm": 1,
            "voxels": study_r3dvs(wildcards),
            "poses": 8,
            "seed": 0,
        },
    script:
        "../../scripts/figure_hartree.py"


rule figure_architecture:
    """The first voxel network of a study, read off the network itself."""
    input:
        densities=lambda wildcards: shard_files(
            "results/density/{dataset}/{shard}.npz", study_spec(wildcards).dataset
        ),
        structures=lambda wildcards: shard_files(
            COMPUTED, study_spec(wildcards).dataset
        ),
    output:
        figure=report(
            "results/figures/{study}/architecture.svg",
            caption="../report/architecture.rst",
            category="{study}",
        ),
        layers=report(
            "results/figures/{study}/architecture.csv",
            caption="../report/architecture.rst",
            category="{study}",
        ),
    log:
        "results/logs/figure_architecture/{study}.log",
    benchmark:
        "results/benchmarks/figure_architecture/{study}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_architecture"),
        runtime=minutes("figure_architecture"),
    params:
        spec=lambda wildcards: next(
            {
                **pair_spec(arm),
                "label": arm.label or name,
                "outputs": getattr(study_spec(wildcards).protocol, "classes", 0)
                or len(next(iter(CONFIG.tasks(wildcards.study, name).values()))),
                "algorithm": 1,
            }
            for name, arm in study_spec(wildcards).arms.items()
            if CONFIG.models[arm.model].kind == "cnn3d"
            and CONFIG.descriptors[arm.descriptor].kind == "r3dvs"
        ),
        material=lambda wildcards: study_spec(wildcards).show_density_of or "",
    script:
        "../../scripts/figure_architecture.py"


rule table_oxides:
    """Every structure of a data set, with what was computed for it."""
    input:
        structures=lambda wildcards: shard_files(COMPUTED, wildcards.dataset),
        targets="results/dft/{dataset}/targets.parquet",
        records="results/dft/{dataset}/records.parquet",
    output:
        table=report(
            "results/dft/{dataset}/oxides.csv",
            caption="../report/oxides.rst",
            category="data sets",
        ),
    log:
        "results/logs/table_oxides/{dataset}.log",
    benchmark:
        "results/benchmarks/table_oxides/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("table_oxides"),
        runtime=minutes("table_oxides"),
    params:
        spec={"algorithm": 1},
    script:
        "../../scripts/table_oxides.py"
