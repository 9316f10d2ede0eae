"""Density-functional theory: one job a shard, one process a structure inside it."""


rule dft_run:
    """Densities, potentials, energies and computed cells of one shard."""
    input:
        structures=structures_of,
    output:
        records="results/dft/{dataset}/{shard}.parquet",
        cost="results/dft/{dataset}/{shard}.cost.parquet",
        structures=COMPUTED,
        densities="results/dft/{dataset}/{shard}.density.npz",
        potentials="results/dft/{dataset}/{shard}.potential.npz",
    log:
        "results/logs/dft_run/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/dft_run/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.datasets),
    conda:
        "../../envs/dft.yaml"
    threads: at_once
    resources:
        mem_mb=lambda wildcards, input, threads, attempt: (
            a_node(
                shard_request(wildcards, input, threads, attempt).memory_mb, wildcards
            )
        ),
        runtime=lambda wildcards, input, threads, attempt: (
            shard_request(wildcards, input, threads, attempt).minutes
        ),
        tasks=mpi_tasks,
        nodes=mpi_nodes,
        mpi=mpi_starter,
        cpus_per_task=mpi_cores,
        time_limit_s=time_limit_s,
    params:
        spec=lambda wildcards: engine(wildcards).crystal_settings(),
        site=lambda wildcards: engine(wildcards).site_settings(),
        licence_state=licence_state,
        g_store=CONFIG.density.g_store,
        shard_size=lambda wildcards: dataset_spec(wildcards).shard_size,
        done=DFT_DONE,
    script:
        "../../scripts/dft_run.py"


rule dft_atoms:
    """Isolated atoms of every element of a data set, with the same engine and settings."""
    input:
        structures=structures_of,
    output:
        atoms="results/dft/{dataset}/atoms.parquet",
    log:
        "results/logs/dft_atoms/{dataset}.log",
    benchmark:
        "results/benchmarks/dft_atoms/{dataset}.tsv"
    conda:
        "../../envs/dft.yaml"
    threads: at_once
    resources:
        mem_mb=lambda wildcards, input, threads, attempt: (
            a_node(
                atoms_request(wildcards, input, threads, attempt).memory_mb, wildcards
            )
        ),
        runtime=lambda wildcards, input, threads, attempt: (
            atoms_request(wildcards, input, threads, attempt).minutes
        ),
        tasks=mpi_tasks,
        nodes=mpi_nodes,
        mpi=mpi_starter,
        cpus_per_task=mpi_cores,
        time_limit_s=time_limit_s,
    params:
        spec=lambda wildcards: engine(wildcards).atom_settings(),
        site=lambda wildcards: engine(wildcards).site_settings(),
        licence_state=licence_state,
        atoms_state=finished_atoms_state,
        done=DFT_DONE,
    script:
        "../../scripts/dft_atoms.py"


rule atom_densities:
    """Densities of the free atoms of a data set, in the definition of its engine."""
    input:
        structures=structures_of,
    output:
        atoms="results/dft/{dataset}/atom_densities.parquet",
    log:
        "results/logs/atom_densities/{dataset}.log",
    benchmark:
        "results/benchmarks/atom_densities/{dataset}.tsv"
    conda:
        "../../envs/dft.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("atom_densities"),
        runtime=minutes("atom_densities"),
    params:
        spec=lambda wildcards: {
            "engine": engine(wildcards).crystal_settings(),
            "algorithm": 1,
        },
    script:
        "../../scripts/atom_densities.py"


rule dft_prepare:
    """VASP's inputs of one shard, to be run elsewhere and read back as outputs."""
    input:
        structures=structures_of,
    output:
        inputs=directory("results/dft/{dataset}/inputs/{shard}"),
    log:
        "results/logs/dft_prepare/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/dft_prepare/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=one_of(computed_with("vasp")),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("dft_prepare"),
        runtime=minutes("dft_prepare"),
    params:
        spec=lambda wildcards: engine(wildcards).crystal_settings(),
        shard_size=lambda wildcards: dataset_spec(wildcards).shard_size,
    script:
        "../../scripts/dft_prepare.py"


rule dft_prepare_atoms:
    """VASP's inputs of the isolated atoms of a data set."""
    input:
        structures=structures_of,
    output:
        inputs=directory("results/dft/{dataset}/inputs/atoms"),
    log:
        "results/logs/dft_prepare_atoms/{dataset}.log",
    benchmark:
        "results/benchmarks/dft_prepare_atoms/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(computed_with("vasp")),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("dft_prepare_atoms"),
        runtime=minutes("dft_prepare_atoms"),
    params:
        spec=lambda wildcards: engine(wildcards).atom_settings(),
    script:
        "../../scripts/dft_prepare_atoms.py"


rule dft_collect:
    """Targets of all structures of a data set; stops if too many calculations failed."""
    input:
        structures=lambda wildcards: shard_files(COMPUTED, wildcards.dataset),
        records=lambda wildcards: shard_files(
            "results/dft/{dataset}/{shard}.parquet", wildcards.dataset
        ),
        atoms="results/dft/{dataset}/atoms.parquet",
    output:
        records="results/dft/{dataset}/records.parquet",
        targets="results/dft/{dataset}/targets.parquet",
    log:
        "results/logs/dft_collect/{dataset}.log",
    benchmark:
        "results/benchmarks/dft_collect/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.datasets),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("dft_collect"),
        runtime=minutes("dft_collect"),
    params:
        spec=lambda wildcards: {
            "min_ok_fraction": engine(wildcards).min_ok_fraction,
            "algorithm": 2,
        },
    script:
        "../../scripts/dft_collect.py"
