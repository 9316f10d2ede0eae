"""Descriptors: one rule a kind, one job a shard."""


rule r3dvs_shard:
    """Spots |s(g)| inside g_cut for one shard of densities."""
    input:
        unpack(channel_files),
        density="results/density/{dataset}/{shard}.npz",
    output:
        spots="results/descriptors/{descriptor}/{dataset}/{shard}.npz",
    log:
        "results/logs/r3dvs_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/r3dvs_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("r3dvs"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("r3dvs_shard"),
        runtime=minutes("r3dvs_shard"),
    params:
        spec=spots_spec,
    script:
        "../../scripts/r3dvs_shard.py"


rule density_image_shard:
    """Spectra of one shard of densities, cut to what images of them need."""
    input:
        unpack(channel_files),
        density="results/density/{dataset}/{shard}.npz",
    output:
        images="results/descriptors/{descriptor}/{dataset}/{shard}.npz",
    log:
        "results/logs/density_image_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/density_image_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("density_image"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("density_image_shard"),
        runtime=minutes("density_image_shard"),
    params:
        spec=descriptor_spec,
    script:
        "../../scripts/density_image_shard.py"


rule soap_shard:
    """Mean alchemical SOAP power spectra of one shard of structures."""
    input:
        structures=COMPUTED,
    output:
        vectors="results/descriptors/{descriptor}/{dataset}/{shard}.parquet",
    log:
        "results/logs/soap_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/soap_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("soap"),
    conda:
        "../../envs/descriptors.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("soap_shard"),
        runtime=minutes("soap_shard"),
    params:
        spec=descriptor_spec,
    script:
        "../../scripts/soap_shard.py"


rule coulomb_shard:
    """Ewald Coulomb matrix eigenvalues of one shard of structures."""
    input:
        structures=COMPUTED,
    output:
        vectors="results/descriptors/{descriptor}/{dataset}/{shard}.parquet",
    log:
        "results/logs/coulomb_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/coulomb_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("coulomb"),
    conda:
        "../../envs/descriptors.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("coulomb_shard"),
        runtime=minutes("coulomb_shard"),
    params:
        spec=descriptor_spec,
    script:
        "../../scripts/coulomb_shard.py"


rule composition_shard:
    """Element fractions and volume per atom of one shard of structures."""
    input:
        structures=COMPUTED,
    output:
        vectors="results/descriptors/{descriptor}/{dataset}/{shard}.parquet",
    log:
        "results/logs/composition_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/composition_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("composition"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("composition_shard"),
        runtime=minutes("composition_shard"),
    params:
        spec=descriptor_spec,
    script:
        "../../scripts/composition_shard.py"


rule crystal_graph_shard:
    """Atoms of one shard of structures with their neighbours."""
    input:
        structures=COMPUTED,
    output:
        graphs="results/descriptors/{descriptor}/{dataset}/{shard}.npz",
    log:
        "results/logs/crystal_graph_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/crystal_graph_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("crystal_graph"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("crystal_graph_shard"),
        runtime=minutes("crystal_graph_shard"),
    params:
        spec=descriptor_spec,
    script:
        "../../scripts/crystal_graph_shard.py"


rule r3dvs_power_shard:
    """Rotation-invariant power spectra of the spots of one shard of densities."""
    input:
        density="results/density/{dataset}/{shard}.npz",
    output:
        vectors="results/descriptors/{descriptor}/{dataset}/{shard}.parquet",
    log:
        "results/logs/r3dvs_power_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/r3dvs_power_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("r3dvs_power"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("r3dvs_power_shard"),
        runtime=minutes("r3dvs_power_shard"),
    params:
        spec=descriptor_spec,
    script:
        "../../scripts/r3dvs_power_shard.py"
