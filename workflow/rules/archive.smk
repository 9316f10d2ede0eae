"""Archives: finished calculations in a form that ships, shard by shard."""


rule archive_shard:
    """Structures, records, densities and potentials of one shard, to be kept."""
    input:
        structures=COMPUTED,
        records="results/dft/{dataset}/{shard}.parquet",
        cost="results/dft/{dataset}/{shard}.cost.parquet",
        density="results/density/{dataset}/{shard}.npz",
        potential="results/density/{dataset}/{shard}.potential.npz",
    output:
        table="results/archives/{dataset}/{shard}.parquet",
        density="results/archives/{dataset}/{shard}.density.npz",
        potential="results/archives/{dataset}/{shard}.potential.npz",
    log:
        "results/logs/archive_shard/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/archive_shard/{dataset}/{shard}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("archive_shard"),
        runtime=minutes("archive_shard"),
    params:
        spec=lambda wildcards: {
            "engine": engine(wildcards).crystal_settings(),
            "density": spec("density"),
            "algorithm": 1,
        },
    script:
        "../../scripts/archive_shard.py"


rule archive_atoms:
    """Isolated atoms of an archive, against which its cohesive energies are measured."""
    input:
        atoms="results/dft/{dataset}/atoms.parquet",
    output:
        atoms="results/archives/{dataset}/atoms.parquet",
    log:
        "results/logs/archive_atoms/{dataset}.log",
    benchmark:
        "results/benchmarks/archive_atoms/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("archive_atoms"),
        runtime=minutes("archive_atoms"),
    params:
        spec=lambda wildcards: engine(wildcards).atom_settings(),
    script:
        "../../scripts/archive_atoms.py"


rule archive_atom_densities:
    """Densities of the free atoms of an archive, in the definition of its densities."""
    input:
        atoms="results/dft/{dataset}/atom_densities.parquet",
    output:
        atoms="results/archives/{dataset}/atom_densities.parquet",
    log:
        "results/logs/archive_atom_densities/{dataset}.log",
    benchmark:
        "results/benchmarks/archive_atom_densities/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("archive_atom_densities"),
        runtime=minutes("archive_atom_densities"),
    params:
        spec=lambda wildcards: {
            "engine": engine(wildcards).crystal_settings(),
            "algorithm": 1,
        },
    script:
        "../../scripts/archive_atom_densities.py"
