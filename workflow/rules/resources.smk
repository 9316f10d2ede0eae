"""What jobs ask a cluster for: memory, run time, GPUs and MPI tasks, by content and attempt."""

import math
from functools import lru_cache

from rhoflow import io, tables
from rhoflow.costs.light import light_resources
from rhoflow.costs.molecules import molecules_resources
from rhoflow.costs.resources import (
    atoms_resources,
    boxed_atoms,
    request,
    shard_resources,
)
from rhoflow.costs.training import training_resources
from rhoflow.models.base import devices

# A job of a cluster holds two Snakemakes beside the step itself, 140 to 170 MB each.
SNAKEMAKE_MB = 350
# Before its structures are known, a shard counts as so many seconds and MB; nobody submits it yet.
UNKNOWN = (3600, 2000)


def size_mb(input):
    """Size of a job's inputs, without those that are still to be made, by its group say."""
    files = map(Path, input)
    return sum(f.stat().st_size for f in files if f.exists()) / 2**20


def memory_mb(rule):
    """Memory of a rule that computes little."""
    return lambda wildcards, input, attempt: (
        light_resources(rule, size_mb(input), attempt).memory_mb + SNAKEMAKE_MB
    )


def minutes(rule):
    """Run time of a rule that computes little."""
    return lambda wildcards, input, attempt: (
        light_resources(rule, size_mb(input), attempt).minutes
    )


@lru_cache
def structures_table(path, changed):
    """A table of structures, read once for all shards as long as it does not change."""
    return io.read_table(path, tables.NAMES)


def structures_if_there(path):
    """A table of structures; None while it is still to be made."""
    file = Path(path)
    return structures_table(path, file.stat().st_mtime_ns) if file.exists() else None


def solved_request(wildcards, attempt):
    """What solving wells asks for, by the size of its potentials and densities."""
    settings = CONFIG.wells[wildcards.dataset]
    made_mb = 2 * 8 * settings.size * settings.points / 2**20
    return light_resources("wells_solve", made_mb, attempt)


def boxed_request(input, attempt):
    """What spectra of molecules ask for; measured inside 9 1/Å, they grow as the sphere does."""
    sphere = (CONFIG.density.g_store / 9) ** 3
    return light_resources("boxed_shard", sphere * size_mb(input), attempt)


def mpi_tasks(wildcards):
    """MPI tasks of a calculation; None where the engine starts none."""
    tasks = getattr(engine(wildcards), "tasks", 1)
    return tasks if tasks > 1 else None


def mpi_nodes(wildcards):
    """Nodes that MPI tasks are spread over."""
    return engine(wildcards).nodes if mpi_tasks(wildcards) else None


def mpi_starter(wildcards):
    """Tells Snakemake that the step itself starts its tasks, as with srun."""
    return "srun" if mpi_tasks(wildcards) else None


def mpi_cores(wildcards):
    """Cores of each MPI task."""
    return 1 if mpi_tasks(wildcards) else None


def a_node(memory_mb, wildcards):
    """Memory on each node of a calculation whose MPI tasks are spread over several."""
    return math.ceil(memory_mb / (mpi_nodes(wildcards) or 1)) + SNAKEMAKE_MB


def shard_request(wildcards, input, threads, attempt):
    """What the calculations of a shard ask for."""
    table = structures_if_there(input.structures)
    if table is None:
        return request(*UNKNOWN, attempt=attempt)
    rows = tables.shard_rows(table, wildcards.shard, dataset_spec(wildcards).shard_size)
    settings = engine(wildcards).crystal_settings()
    limits = {
        "threads": threads,
        "attempt": attempt,
        "time_limit_s": time_limit_s(wildcards),
    }
    if wildcards.dataset in CONFIG.molecules:
        return molecules_resources(rows, settings, **limits)
    return shard_resources(rows, settings, cores=mpi_tasks(wildcards) or 1, **limits)


def atoms_request(wildcards, input, threads, attempt):
    """What the isolated atoms of a data set ask for."""
    table = structures_if_there(input.structures)
    if table is None:
        return request(*UNKNOWN, attempt=attempt)
    elements = sorted({element for symbols in table["symbols"] for element in symbols})
    settings = engine(wildcards).atom_settings()
    if settings["kind"] != "vasp":
        return atoms_resources(len(elements), threads=threads, attempt=attempt)
    return shard_resources(
        boxed_atoms(elements, settings["box_angstrom"]),
        engine(wildcards).crystal_settings(),
        threads=threads,
        attempt=attempt,
        time_limit_s=time_limit_s(wildcards),
        cores=mpi_tasks(wildcards) or 1,
    )


def training_devices(wildcards):
    """Devices that share each batch of a training."""
    return devices(*CONFIG.models_of(study_spec(wildcards), wildcards.arm))


def gpus(wildcards):
    """Generic resources of a training of networks: a GPU for each of its devices."""
    return f"gpu:{training_devices(wildcards)}"


def has_gpus(rule):
    """Whether the profile leaves a rule its GPU."""
    given = workflow.resource_settings.overwrite_resources.get(rule, {})
    return "gres" not in given or "gpu" in str(given["gres"].raw)


def training_request(rule, spec):
    """What a training asks for, by its settings."""

    def asked(wildcards, attempt):
        return training_resources(
            spec(wildcards),
            wildcards.redraws,
            n_structures=CONFIG.size(study_spec(wildcards).dataset),
            attempt=attempt,
            gpu=has_gpus(rule),
        )

    return asked


def training_memory_mb(rule, spec):
    """Memory of a training."""
    asked = training_request(rule, spec)
    return lambda wildcards, attempt: asked(wildcards, attempt).memory_mb + SNAKEMAKE_MB


def training_minutes(rule, spec):
    """Run time of a training."""
    asked = training_request(rule, spec)
    return lambda wildcards, attempt: asked(wildcards, attempt).minutes
