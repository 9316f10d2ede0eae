"""Densities: the spectrum that every later stage reads."""


rule density_shard:
    """Density spectra of one shard inside |g| <= g_store, electron counts checked."""
    input:
        spectra="results/dft/{dataset}/{shard}.npz",
        records="results/dft/{dataset}/{shard}.parquet",
    output:
        density="results/density/{dataset}/{shard}.npz",
    log:
        "results/logs/density_shard/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/density_shard/{dataset}/{shard}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=grows(2000),
        runtime=takes(30),
    params:
        spec=spec("density"),
    script:
        "../../scripts/density_shard.py"
