"""Molecules: read and sampled, computed, and what networks read of them."""


rule molecules_select:
    """Candidates of the source, filtered and sampled, with the funnel of what was dropped."""
    input:
        registry=shipped("resources/registry.csv"),
        polymers=shipped("resources/polymers.csv"),
    output:
        structures="results/structures/{dataset}/structures.parquet",
        funnel="results/structures/{dataset}/funnel.csv",
        rejected="results/structures/{dataset}/rejected.csv",
    log:
        "results/logs/molecules_select/{dataset}.log",
    benchmark:
        "results/benchmarks/molecules_select/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.molecules),
    conda:
        "../../envs/molecules.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("molecules_select"),
        runtime=minutes("molecules_select"),
    params:
        spec=lambda wildcards: {
            "source": spec(f"molecules.{wildcards.dataset}.source"),
            "selection": spec(f"molecules.{wildcards.dataset}.selection"),
        },
        source_state=source_state,
    script:
        "../../scripts/molecules_select.py"


rule molecules_run:
    """Energies, levels and occupied orbitals of one shard of molecules."""
    input:
        structures=structures_of,
    output:
        records="results/dft/{dataset}/{shard}.parquet",
        cost="results/dft/{dataset}/{shard}.cost.parquet",
        orbitals=ORBITALS,
    log:
        "results/logs/molecules_run/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/molecules_run/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.molecules),
    conda:
        "../../envs/molecules.yaml"
    threads: at_once
    resources:
        mem_mb=lambda wildcards, input, threads, attempt: (
            shard_request(wildcards, input, threads, attempt).memory_mb + SNAKEMAKE_MB
        ),
        runtime=lambda wildcards, input, threads, attempt: (
            shard_request(wildcards, input, threads, attempt).minutes
        ),
        time_limit_s=time_limit_s,
    params:
        spec=lambda wildcards: engine(wildcards).crystal_settings(),
        shard_size=lambda wildcards: dataset_spec(wildcards).shard_size,
        done=DFT_DONE,
    script:
        "../../scripts/molecules_run.py"


rule molecules_collect:
    """Targets of all molecules of a data set; stops if too many calculations failed."""
    input:
        structures=structures_of,
        records=lambda wildcards: shard_files(
            "results/dft/{dataset}/{shard}.parquet", wildcards.dataset
        ),
        atoms="results/dft/{dataset}/atoms.parquet",
    output:
        records="results/dft/{dataset}/records.parquet",
        targets="results/dft/{dataset}/targets.parquet",
    log:
        "results/logs/molecules_collect/{dataset}.log",
    benchmark:
        "results/benchmarks/molecules_collect/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.molecules),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("molecules_collect"),
        runtime=minutes("molecules_collect"),
    params:
        spec=lambda wildcards: {
            "min_ok_fraction": engine(wildcards).min_ok_fraction,
            "algorithm": 1,
        },
    script:
        "../../scripts/molecules_collect.py"


rule boxed_shard:
    """Molecules of one shard, each alone in a periodic box, and the spectra of their densities."""
    input:
        structures=structures_of,
        orbitals=ORBITALS,
    output:
        density="results/density/{dataset}/{shard}.npz",
        structures=BOXED,
    log:
        "results/logs/boxed_shard/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/boxed_shard/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=one_of(CONFIG.molecules),
    conda:
        "../../envs/molecules.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: (
            boxed_request(input, attempt).memory_mb + SNAKEMAKE_MB
        ),
        runtime=lambda wildcards, input, attempt: boxed_request(input, attempt).minutes,
    params:
        spec=lambda wildcards: {
            "engine": engine(wildcards).crystal_settings(),
            "density": spec("density"),
            "algorithm": 1,
        },
        shard_size=lambda wildcards: dataset_spec(wildcards).shard_size,
    script:
        "../../scripts/boxed_shard.py"


rule geometry_shard:
    """Elements and positions of one shard of molecules, as networks read them."""
    input:
        structures=structures_of,
    output:
        geometry="results/descriptors/{descriptor}/{dataset}/{shard}.npz",
    log:
        "results/logs/geometry_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/geometry_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("geometry"),
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("geometry_shard"),
        runtime=minutes("geometry_shard"),
    params:
        spec=descriptor_spec,
        shard_size=lambda wildcards: dataset_spec(wildcards).shard_size,
    script:
        "../../scripts/geometry_shard.py"


rule molecular_shard:
    """Vectors of one shard of molecules: counts of elements, MBTR or SOAP."""
    input:
        structures=structures_of,
    output:
        vectors="results/descriptors/{descriptor}/{dataset}/{shard}.parquet",
    log:
        "results/logs/molecular_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/molecular_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("atom_counts", "mbtr", "molecule_soap"),
    conda:
        "../../envs/descriptors.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("molecular_shard"),
        runtime=minutes("molecular_shard"),
    params:
        spec=descriptor_spec,
        shard_size=lambda wildcards: dataset_spec(wildcards).shard_size,
    script:
        "../../scripts/molecular_shard.py"


rule pretrained_shard:
    """What a kept network's last layer reads of one shard of molecules."""
    input:
        network=lambda wildcards: kept_network(*pretrained_by(wildcards)),
        molecules=pretrained_reads,
    output:
        vectors="results/descriptors/{descriptor}/{dataset}/{shard}.parquet",
    log:
        "results/logs/pretrained_shard/{descriptor}/{dataset}/{shard}.log",
    benchmark:
        "results/benchmarks/pretrained_shard/{descriptor}/{dataset}/{shard}.tsv"
    wildcard_constraints:
        descriptor=of_kind("pretrained"),
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("pretrained_shard"),
        runtime=minutes("pretrained_shard"),
    params:
        spec=lambda wildcards: {
            **descriptor_spec(wildcards),
            "pair": pair_spec(arm_of(*pretrained_by(wildcards))),
        },
    script:
        "../../scripts/pretrained_shard.py"


rule table_networks:
    """Sizes of the networks whose descriptors a study compares."""
    input:
        networks=lambda wildcards: [
            kept_network(d.study, d.arm)
            for d in pretrained_descriptors(wildcards.study).values()
        ],
    output:
        table=report(
            "results/figures/{study}/networks.csv",
            caption="../report/networks.rst",
            category="{study}",
        ),
    log:
        "results/logs/table_networks/{study}.log",
    benchmark:
        "results/benchmarks/table_networks/{study}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("table_networks"),
        runtime=minutes("table_networks"),
    params:
        spec=lambda wildcards: {
            "algorithm": 1,
            "pairs": {
                name: pair_spec(arm_of(d.study, d.arm))
                for name, d in pretrained_descriptors(wildcards.study).items()
            },
        },
        labels=arm_labels,
    script:
        "../../scripts/table_networks.py"


rule figure_density_map:
    """Density of a kept network and of the engine: on a plane as a figure, around it as cubes."""
    input:
        network=lambda wildcards: kept_network(wildcards.study, map_arm(wildcards)),
        splits="results/splits/{study}.parquet",
        structures=lambda wildcards: (
            f"results/structures/{study_spec(wildcards).dataset}/structures.parquet"
        ),
        orbitals=lambda wildcards: shard_files(ORBITALS, study_spec(wildcards).dataset),
    output:
        figure=report(
            "results/figures/{study}/density_map.svg",
            caption="../report/density_map.rst",
            category="{study}",
        ),
        data="results/figures/{study}/density_map.parquet",
        model="results/figures/{study}/model.cube",
        engine="results/figures/{study}/engine.cube",
    log:
        "results/logs/figure_density_map/{study}.log",
    benchmark:
        "results/benchmarks/figure_density_map/{study}.tsv"
    conda:
        "../../envs/molecules.yaml"
    threads: 1
    resources:
        mem_mb=memory_mb("figure_density_map"),
        runtime=minutes("figure_density_map"),
    params:
        spec=map_spec,
    script:
        "../../scripts/figure_density_map.py"
