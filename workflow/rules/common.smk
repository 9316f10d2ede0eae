"""What the rules share: specs as plain dicts, shards, resources by attempt."""

from rhoflow.dft.vasp_atoms import atoms_state
from rhoflow.dft.vasp_potcar import potcar_state
from rhoflow.structures.sources import source_fingerprint

PREDICTIONS = "results/predictions/{study}/{arm}/{target}/{redraws}.parquet"


def one_of(names):
    """Regular expression of these names; one that never matches if there are none."""
    return "|".join(names) or "(?!)"


wildcard_constraints:
    dataset=one_of(CONFIG.datasets),
    study=one_of(CONFIG.studies),
    comparison=one_of(CONFIG.comparisons),
    descriptor=one_of(CONFIG.descriptors),
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


def found(settings):
    """Settings whose archive lies where they say, or in the workflow's own folder."""
    if settings.kind != "archive" or Path(settings.path).expanduser().exists():
        return settings
    return settings.model_copy(update={"path": shipped(settings.path)})


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
    """Names, sizes and times of a source's files, so that a changed file is read again.

    A parameter and no input: Snakemake would take braces in a file's name for wildcards, and
    list the files of every data set at each start, wanted or not.
    """
    try:
        return source_fingerprint(found(dataset_spec(wildcards).source))
    except ConfigError as error:
        where = f"datasets.{wildcards.dataset}.source"
        raise WorkflowError(f"{where}: {error}") from None


# dft -------------------------------------------------------------------------------------

# Finished calculations, named by a digest of structure, settings and engine version: a killed
# run, another sample or other shards find them again.
DFT_DONE = "results/dft/done"

# The structures of a shard as they were computed: at their equilibrium volume, say.
COMPUTED = "results/dft/{dataset}/{shard}.structures.parquet"


def engine(wildcards):
    """The engine that computes a data set."""
    return found(CONFIG.engines[dataset_spec(wildcards).engine])


def licence_state(wildcards):
    """Names, sizes and times of the POTCARs that an engine takes, so that a new one counts."""
    settings = engine(wildcards)
    return potcar_state(settings) if settings.kind == "vasp" else ""


def finished_atoms_state(wildcards):
    """The same of finished runs of isolated atoms."""
    return atoms_state(engine(wildcards))


def at_once(wildcards):
    """Calculations of a job at once; VASP's command takes the cores itself."""
    return 1 if engine(wildcards).kind == "vasp" else 8


def computed_with(kind):
    """Names of the data sets whose engine is of one kind."""
    return [
        n for n, d in CONFIG.datasets.items() if CONFIG.engines[d.engine].kind == kind
    ]


def time_limit_s(wildcards):
    """Wall time of one structure in seconds, 0 for none: a resource, since it decides no number."""
    return round(engine(wildcards).time_limit_s or 0)


# data sets and archives ------------------------------------------------------------------


def dataset_outputs(dataset):
    """What the target `data` makes of a data set."""
    return [
        f"results/dft/{dataset}/targets.parquet",
        f"results/structures/{dataset}/funnel.svg",
        *shard_files("results/density/{dataset}/{shard}.npz", dataset),
    ]


def input_folders(dataset):
    """Folders with the inputs of a data set that VASP computes."""
    pattern = "results/dft/{dataset}/inputs/{shard}"
    return [*shard_files(pattern, dataset), f"results/dft/{dataset}/inputs/atoms"]


def archive_outputs(dataset):
    """The files of a data set's archive."""
    pattern = "results/archives/{dataset}/{shard}.parquet"
    return [
        f"results/archives/{dataset}/atoms.parquet",
        *shard_files(pattern, dataset),
    ]


def compared(wildcards, side, what):
    """The structures or targets of one side of a comparison."""
    dataset = getattr(CONFIG.comparisons[wildcards.comparison], side)
    folder = {"structures": "structures", "targets": "dft"}[what]
    return f"results/{folder}/{dataset}/{what}.parquet"


# descriptors -----------------------------------------------------------------------------


def of_kind(kind):
    """Regular expression of the descriptors of one kind; one that never matches if none."""
    return one_of(CONFIG.descriptors_of_kind(kind))


def descriptor_spec(wildcards):
    """Settings of a descriptor."""
    return spec(f"descriptors.{wildcards.descriptor}")


def spots_spec(wildcards):
    """What decides which spots are kept; how they become voxels concerns training alone."""
    return CONFIG.descriptors[wildcards.descriptor].spots_spec().model_dump(mode="json")


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


def report_datasets():
    """Data sets of the report's studies and of the comparisons; all of them without a study."""
    studied = [CONFIG.studies[study].dataset for study in CONFIG.report]
    compared = [
        name for c in CONFIG.comparisons.values() for name in (c.reference, c.dataset)
    ]
    return list(dict.fromkeys([*studied, *compared] if studied else CONFIG.datasets))


def report_layout():
    """Where the report finds what it shows, by study, comparison and data set."""
    return {
        "studies": {
            study: {
                "figures": {f: f"results/figures/{study}/{f}.svg" for f in FIGURES},
                "captions": captions(FIGURES),
                "scores": f"results/scores/{study}/scores.csv",
                "claims": f"results/scores/{study}/claims.csv",
            }
            for study in CONFIG.report
        },
        "comparisons": {
            name: {
                "figures": {"comparison": f"results/comparisons/{name}.svg"},
                "captions": captions(["comparison"]),
            }
            for name in CONFIG.comparisons
        },
        "datasets": {
            dataset: {
                "figures": {
                    "funnel": f"results/structures/{dataset}/funnel.svg",
                    "known": f"results/dft/{dataset}/known.svg",
                },
                "captions": captions(["funnel", "known"]),
                "funnel": f"results/structures/{dataset}/funnel.csv",
                "records": f"results/dft/{dataset}/records.parquet",
                "cost": shard_files(
                    "results/dft/{dataset}/{shard}.cost.parquet", dataset
                ),
            }
            for dataset in report_datasets()
        },
    }


def captions(figures):
    """Caption templates of figures."""
    return {figure: shipped(f"workflow/report/{figure}.rst") for figure in figures}


def report_inputs():
    """Every file that the layout of the report names."""

    def files(node):
        if isinstance(node, str):
            return [node]
        return [
            f
            for n in (node.values() if isinstance(node, dict) else node)
            for f in files(n)
        ]

    return files(report_layout())
