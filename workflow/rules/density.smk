"""Densities: the spectrum that every later stage reads."""


rule density_shard:
    """Spectra of one shard inside |g| <= g_store, electron counts checked."""
    input:
        densities="results/dft/{dataset}/{shard}.density.npz",
        potentials="results/dft/{dataset}/{shard}.potential.npz",
        records="results/dft/{dataset}/{shard}.parquet",
    output:
        density="results/density/{dataset}/{shard}.npz",
        potential="results/density/{dataset}/{shard}.potential.npz",
    log:
        "results/logs/density_shard/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/density_shard/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.datasets),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("density_shard"),
        runtime=minutes("density_shard"),
    params:
        spec=spec("density"),
    script:
        "../../scripts/density_shard.py"
