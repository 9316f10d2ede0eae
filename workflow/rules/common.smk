"""What the rules share: specs as plain dicts, shards, resources by attempt."""

from rhoflow.structures.files import fingerprint

PREDICTIONS = "results/predictions/{study}/{arm}/{target}/{redraws}.parquet"


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    study="|".join(CONFIG.studies),
    descriptor="|".join(CONFIG.descriptors),
    arm="[a-z0-9_]+",
    target="[a-z0-9_]+",
    shard=r"\d{4}",
    redraws=r"\d+-\d+",


def spec(path):
    """The spec at a dotted path of the config, as the plain dict that params hold.

    Snakemake compares params as a set of values; one dict with every setting and the
    `algorithm` number makes each change count.
    """
    return CONFIG.named(path).model_dump(mode="json")


def shipped(path):
    """A file that ships with the workflow, by a name that stays the same from run to run.

    Relative inside the working directory, so that a checkout may move; absolute elsewhere.
    Not `workflow.source_path`: it answers with a new temporary copy at every start, and a rule
    whose inputs or params name that copy would run each time.
    """
    full, here = Path(workflow.basedir) / path, Path.cwd()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)


def dataset_spec(wildcards):
    """Settings of the data set that a job belongs to."""
    return CONFIG.datasets[wildcards.dataset]


def study_spec(wildcards):
    """Settings of the study that a job belongs to."""
    return CONFIG.studies[wildcards.study]


def shards(dataset):
    """Names of a data set's shards, from the config alone."""
    return [f"{i:04d}" for i in range(CONFIG.datasets[dataset].n_shards)]


def shard_files(pattern, dataset, **wildcards):
    """The files of all shards of a data set."""
    return expand(pattern, dataset=dataset, shard=shards(dataset), **wildcards)


def structures_of(wildcards):
    """The structures table of the data set that a job belongs to."""
    return f"results/structures/{wildcards.dataset}/structures.parquet"


def grows(mb):
    """Memory that grows with the attempt, for profiles with retries."""
    return lambda wildcards, attempt: mb * attempt


def takes(minutes):
    """Run time that grows with the attempt, for profiles with retries."""
    return lambda wildcards, attempt: minutes * attempt


# structures ------------------------------------------------------------------------------


def source_state(wildcards):
    """Names, sizes and times of a `files` source, so that a changed file is read again.

    A parameter and no input: Snakemake would take braces in a file's name for wildcards, and
    list the files of every data set at each start, wanted or not.
    """
    source = dataset_spec(wildcards).source
    if source.kind != "files":
        return ""
    try:
        return fingerprint(source)
    except ConfigError as error:
        where = f"datasets.{wildcards.dataset}.source"
        raise WorkflowError(f"{where}: {error}") from None


# dft -------------------------------------------------------------------------------------

# Finished calculations, named by a digest of structure, settings and engine version: a killed
# run, another sample or other shards find them again.
DFT_DONE = "results/dft/done"


def engine(wildcards):
    """The engine that computes a data set."""
    return CONFIG.engines[dataset_spec(wildcards).engine]


def time_limit_s(wildcards):
    """Wall time of one structure in seconds, 0 for none: a resource, since it decides no number."""
    return round(engine(wildcards).time_limit_s or 0)


# descriptors -----------------------------------------------------------------------------


def of_kind(kind):
    """Regular expression of the descriptors of one kind; one that never matches if none."""
    return "|".join(CONFIG.descriptors_of_kind(kind)) or "(?!)"


def descriptor_spec(wildcards):
    """Settings of a descriptor."""
    return spec(f"descriptors.{wildcards.descriptor}")


def spots_spec(wildcards):
    """What decides which spots are kept; how they become voxels concerns training alone."""
    return CONFIG.descriptors[wildcards.descriptor].spots_spec().model_dump(mode="json")


def shard_size(wildcards):
    """Structures in each shard of a data set."""
    return dataset_spec(wildcards).shard_size


# models ----------------------------------------------------------------------------------


def descriptor_files(wildcards):
    """The shards of the descriptor that an arm reads."""
    study = study_spec(wildcards)
    name = study.arms[wildcards.arm].descriptor
    ending = "npz" if CONFIG.descriptors[name].kind == "r3dvs" else "parquet"
    pattern = f"results/descriptors/{name}/{{dataset}}/{{shard}}.{ending}"
    return shard_files(pattern, study.dataset)


def train_spec(wildcards):
    """Descriptor, model and protocol of an arm."""
    study = study_spec(wildcards)
    arm = study.arms[wildcards.arm]
    return {
        "descriptor": spec(f"descriptors.{arm.descriptor}"),
        "model": spec(f"models.{arm.model}"),
        "protocol": spec(f"studies.{wildcards.study}.protocol"),
    }


# scores ----------------------------------------------------------------------------------


def study_predictions(wildcards):
    """Predictions of all arms, targets and redraws of a study."""
    study = study_spec(wildcards)
    return expand(
        PREDICTIONS,
        study=wildcards.study,
        arm=study.arms,
        target=study.targets,
        redraws=study.protocol.jobs(),
    )


# figures ---------------------------------------------------------------------------------

FIGURES = ["concept", "learning_curves", "parity"]


def study_outputs(study):
    """What the target of a study's name makes."""
    return [
        f"results/scores/{study}/scores.csv",
        f"results/scores/{study}/claims.csv",
        *expand("results/figures/{study}/{figure}.svg", study=study, figure=FIGURES),
    ]


def arm_labels(wildcards):
    """How figures call each arm of a study."""
    return {name: arm.label or name for name, arm in study_spec(wildcards).arms.items()}


def study_r3dvs(wildcards):
    """The first voxel descriptor of a study, or the paper's."""
    arms = study_spec(wildcards).arms.values()
    names = [
        a.descriptor for a in arms if CONFIG.descriptors[a.descriptor].kind == "r3dvs"
    ]
    return CONFIG.descriptors[names[0]].model_dump(mode="json") if names else {}


def report_layout():
    """Where the report finds what it shows, by study and data set."""
    datasets = dict.fromkeys(CONFIG.studies[study].dataset for study in CONFIG.report)
    return {
        "studies": {
            study: {
                "figures": {f: f"results/figures/{study}/{f}.svg" for f in FIGURES},
                "captions": {f: shipped(f"workflow/report/{f}.rst") for f in FIGURES},
                "scores": f"results/scores/{study}/scores.csv",
                "claims": f"results/scores/{study}/claims.csv",
            }
            for study in CONFIG.report
        },
        "datasets": {
            dataset: {
                "funnel": f"results/structures/{dataset}/funnel.csv",
                "records": f"results/dft/{dataset}/records.parquet",
                "cost": shard_files(
                    "results/dft/{dataset}/{shard}.cost.parquet", dataset
                ),
            }
            for dataset in datasets
        },
    }
