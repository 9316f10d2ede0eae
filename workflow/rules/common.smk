"""What the rules share: specs as plain dicts, shards, resources by attempt."""

from rhoflow.arms import BESIDE, TOGETHER
from rhoflow.dft.vasp_atoms import atoms_state
from rhoflow.dft.vasp_potcar import potcar_state
from rhoflow.models.registry import gives
from rhoflow.structures.molecule_sources import molecule_source_fingerprint
from rhoflow.structures.sources import source_fingerprint

PREDICTIONS = "results/predictions/{study}/{arm}/{task}/{redraws}.parquet"
NETWORK = "results/networks/{study}/{arm}/{task}/{redraws}.npz"


def one_of(names):
    """Regular expression of these names; one that never matches if there are none."""
    return "|".join(names) or "(?!)"


wildcard_constraints:
    dataset=one_of(CONFIG.sets),
    study=one_of(CONFIG.studies),
    comparison=one_of(CONFIG.comparisons),
    descriptor=one_of(CONFIG.descriptors),
    arm="[a-z0-9_]+",
    task="[a-z0-9_]+",
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
    return CONFIG.sets[wildcards.dataset]


def study_spec(wildcards):
    """Settings of the study that a job belongs to."""
    return CONFIG.studies[wildcards.study]


def shards(dataset):
    """Names of a data set's shards, from the config alone."""
    return [f"{i:04d}" for i in range(CONFIG.n_shards(dataset))]


def shard_files(pattern, dataset, **wildcards):
    """The files of all shards of a data set."""
    return expand(pattern, dataset=dataset, shard=shards(dataset), **wildcards)


def structures_of(wildcards):
    """The structures table of the data set that a job belongs to."""
    return f"results/structures/{wildcards.dataset}/structures.parquet"


def names_of_study(wildcards):
    """Formulas and sizes of the structures of a study; wells have neither."""
    dataset = study_spec(wildcards).dataset
    if dataset in CONFIG.wells:
        return []
    return f"results/structures/{dataset}/structures.parquet"


# Computed densities in the terms that predicted ones are judged by.
TRUTHS = "results/descriptors/{descriptor}/{dataset}/targets.parquet"


def targets_of_study(wildcards):
    """What the models of a study learn; of maps to densities, what these are judged by."""
    dataset = study_spec(wildcards).dataset
    maps = CONFIG.fields_of(wildcards.study)
    if maps:
        name = arm_of(wildcards.study, maps[0]).descriptor
        return TRUTHS.format(descriptor=name, dataset=dataset)
    stage = "wells" if dataset in CONFIG.wells else "dft"
    return f"results/{stage}/{dataset}/targets.parquet"


# structures ------------------------------------------------------------------------------


def source_state(wildcards):
    """Names, sizes and times of a source's files, so that a changed file is read again.

    A parameter and no input: Snakemake would take braces in a file's name for wildcards, and
    list the files of every data set at each start, wanted or not.
    """
    molecules = wildcards.dataset in CONFIG.molecules
    fingerprint = molecule_source_fingerprint if molecules else source_fingerprint
    try:
        return fingerprint(found(dataset_spec(wildcards).source))
    except ConfigError as error:
        where = f"{CONFIG.section(wildcards.dataset)}.source"
        raise WorkflowError(f"{where}: {error}") from None


# dft -------------------------------------------------------------------------------------

# Finished calculations, named by a digest of structure, settings and engine version: a killed
# run, another sample or other shards find them again.
DFT_DONE = "results/dft/done"

# The structures of a shard as they were computed: at their equilibrium volume, say.
COMPUTED = "results/dft/{dataset}/{shard}.structures.parquet"

# Coefficients of the occupied orbitals of molecules, from which their density follows anywhere.
ORBITALS = "results/dft/{dataset}/{shard}.orbitals.npz"

# Molecules as crystals, each alone in a periodic box.
BOXED = "results/density/{dataset}/{shard}.structures.parquet"


def cells_of(dataset):
    """The structures of a data set in the cells of their densities."""
    return BOXED if dataset in CONFIG.molecules else COMPUTED


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
    molecules = dataset in CONFIG.molecules
    fields = ORBITALS if molecules else "results/density/{dataset}/{shard}.npz"
    return [
        f"results/dft/{dataset}/targets.parquet",
        f"results/structures/{dataset}/funnel.svg",
        *shard_files(fields, dataset),
    ]


def input_folders(dataset):
    """Folders with the inputs of a data set that VASP computes."""
    pattern = "results/dft/{dataset}/inputs/{shard}"
    return [*shard_files(pattern, dataset), f"results/dft/{dataset}/inputs/atoms"]


def archive_outputs(dataset):
    """The files of a data set's archive."""
    pattern = "results/archives/{dataset}/{shard}.parquet"
    free_atoms = f"results/archives/{dataset}/atom_densities.parquet"
    return [
        f"results/archives/{dataset}/atoms.parquet",
        *([free_atoms] if dataset in computed_with("gpaw") else []),
        *shard_files(pattern, dataset),
    ]


def compared(wildcards, side, what):
    """The structures or targets of one side of a comparison."""
    dataset = getattr(CONFIG.comparisons[wildcards.comparison], side)
    folder = {"structures": "structures", "targets": "dft"}[what]
    return f"results/{folder}/{dataset}/{what}.parquet"


# descriptors -----------------------------------------------------------------------------


def of_kind(*kinds):
    """Regular expression of the descriptors of some kinds; one that never matches if none."""
    return one_of([n for kind in kinds for n in CONFIG.descriptors_of_kind(kind)])


def descriptor_spec(wildcards):
    """Settings of a descriptor."""
    return spec(f"descriptors.{wildcards.descriptor}")


def spots_spec(wildcards):
    """What decides which spots are kept; how they become voxels concerns training alone."""
    return CONFIG.descriptors[wildcards.descriptor].spots_spec().model_dump(mode="json")


def channel_files(wildcards):
    """What the fields of spots or images besides the density are made of."""
    channels = CONFIG.descriptors[wildcards.descriptor].channels
    files = {
        "potential": "results/density/{dataset}/{shard}.potential.npz",
        "nuclei": COMPUTED,
    }
    return {name: files[name] for name in channels if name in files}


# Descriptors of wells by kind: what solving them leaves.
SOLVED = {
    "wells": "results/wells/{dataset}/systems.npz",
    "wells_potential": "results/wells/{dataset}/potentials.parquet",
}


# models ----------------------------------------------------------------------------------


# States of running trainings, named by a digest of all that decides them: a killed job goes on.
CHECKPOINTS = "results/training"


def stored_as(name):
    """The descriptor whose files another one reads: voxels of equal spots share them."""
    settings = CONFIG.descriptors[name]
    if settings.kind != "r3dvs":
        return name
    spots = settings.spots_spec()
    return next(
        n
        for n in CONFIG.descriptors_of_kind("r3dvs")
        if CONFIG.descriptors[n].spots_spec() == spots
    )


def descriptor_files(study, arm):
    """The shards of the descriptor that an arm reads; wells have none."""
    name = stored_as(study.arms[arm].descriptor)
    if study.dataset in CONFIG.wells:
        kind = CONFIG.descriptors[name].kind
        return [SOLVED[kind].format(dataset=study.dataset)]
    ending = "parquet" if gives(CONFIG.descriptors[name]) == "vectors" else "npz"
    pattern = f"results/descriptors/{name}/{{dataset}}/{{shard}}.{ending}"
    return shard_files(pattern, study.dataset)


def training_inputs(wildcards):
    """Descriptors that a training reads; an arm that learns a residual reads two."""
    study = study_spec(wildcards)
    arm = study.arms[wildcards.arm]
    first = (
        {"first": descriptor_files(study, arm.residual_of)} if arm.residual_of else {}
    )
    return {**first, "descriptors": descriptor_files(study, wildcards.arm)}


def studies_of_arms(chosen):
    """Regular expression of the studies, looking ahead to arms that a rule is for.

    Study and arm follow each other in the paths of trainings, and what an arm is depends on its
    study: `chosen` is asked about both.
    """
    pairs = [
        f"{study}/{arm}/"
        for study, settings in CONFIG.studies.items()
        for arm in settings.arms
        if chosen(study, arm)
    ]
    return f"(?={one_of(pairs)})[a-z0-9_]+"


def kept_network(study, arm):
    """The file of the network that an arm keeps: that of its first redraw."""
    first = CONFIG.studies[study].protocol.jobs()[0]
    return NETWORK.format(study=study, arm=arm, task=TOGETHER, redraws=first)


def arm_of(study, arm):
    """Settings of an arm."""
    return CONFIG.studies[study].arms[arm]


def pretrained_by(wildcards):
    """Study and arm whose network a pretrained descriptor uses."""
    settings = CONFIG.descriptors[wildcards.descriptor]
    return settings.study, settings.arm


def pretrained_reads(wildcards):
    """What that network reads of one shard of another data set."""
    name = arm_of(*pretrained_by(wildcards)).descriptor
    ending = "parquet" if gives(CONFIG.descriptors[name]) == "vectors" else "npz"
    return f"results/descriptors/{name}/{wildcards.dataset}/{wildcards.shard}.{ending}"


def pretrained_descriptors(study):
    """The pretrained descriptors that a study compares, by arm."""
    chosen = {
        name: CONFIG.descriptors[arm.descriptor]
        for name, arm in CONFIG.studies[study].shown_arms().items()
    }
    return {name: d for name, d in chosen.items() if d.kind == "pretrained"}


def fields_inputs(wildcards):
    """What fields are made of: a potential and free atoms where the descriptor asks for them."""
    settings = CONFIG.descriptors[wildcards.descriptor]
    files = {
        "density": "results/density/{dataset}/{shard}.npz",
        "structures": cells_of(wildcards.dataset),
        "atoms": "results/dft/{dataset}/atom_densities.parquet",
        "potential": "results/density/{dataset}/{shard}.potential.npz",
    }
    absent = [] if settings.free_atoms else ["atoms"]
    absent += [] if "local" in settings.potentials else ["potential"]
    return {
        name: path.format(**wildcards)
        for name, path in files.items()
        if name not in absent
    }


def shown_densities(wildcards):
    """Densities that a kept map of a study predicts, the computed ones and their structures."""
    study = study_spec(wildcards)
    arm = getattr(wildcards, "arm", None) or CONFIG.kept_maps(wildcards.study)[0]
    predicted = f"results/densities/{wildcards.study}/{arm}"
    return {
        "predicted": f"{predicted}.npz",
        "table": f"{predicted}.parquet",
        "fields": descriptor_files(study, arm),
        "structures": shard_files(cells_of(study.dataset), study.dataset),
    }


def starts_spec(wildcards):
    """Engine and number of the runs from predicted densities."""
    starts = study_spec(wildcards).starts
    return {
        "algorithm": 1,
        "engine": spec(f"engines.{starts.engine}"),
        "structures": starts.structures,
    }


def map_arm(wildcards):
    """The arm whose density a study maps: the first quantum deep field that it keeps."""
    return CONFIG.mapped_arms(wildcards.study)[0]


def map_spec(wildcards):
    """Network, engine and molecule of a density map."""
    study = study_spec(wildcards)
    arm = study.arms[map_arm(wildcards)]
    return {
        "algorithm": 1,
        "pair": pair_spec(arm),
        "engine": spec(f"engines.{CONFIG.molecules[study.dataset].engine}"),
        "material": study.show_density_of,
        "label": arm.label or map_arm(wildcards),
    }


def pair_spec(arm):
    """Descriptor and model of an arm."""
    return {
        "descriptor": spec(f"descriptors.{arm.descriptor}"),
        "model": spec(f"models.{arm.model}"),
    }


def wells_figure_spec(wildcards):
    """Protocol of a study, and its arms that predict densities of wells."""
    study = study_spec(wildcards)
    arms = CONFIG.arms_with_densities(wildcards.study)
    return {
        "algorithm": 1,
        "protocol": spec(f"studies.{wildcards.study}.protocol"),
        "pairs": {name: pair_spec(study.arms[name]) for name in arms},
    }


def train_spec(wildcards):
    """Arm, targets and protocol of a training."""
    study = study_spec(wildcards)
    arm = study.arms[wildcards.arm]
    first = pair_spec(study.arms[arm.residual_of]) if arm.residual_of else None
    # Only where there are any, so that the other trainings keep the params that they had.
    beside = {"beside": list(arm.beside)} if arm.beside else {}
    return {
        "arm": {
            **pair_spec(arm),
            "first": first,
            "residual_folds": arm.residual_folds,
        },
        "targets": list(CONFIG.tasks(wildcards.study, wildcards.arm)[wildcards.task]),
        **beside,
        "protocol": spec(f"studies.{wildcards.study}.protocol"),
    }


def classify_spec(wildcards):
    """Arm and protocol of a classification test."""
    study = study_spec(wildcards)
    return {
        "arm": pair_spec(study.arms[wildcards.arm]),
        "protocol": spec(f"studies.{wildcards.study}.protocol"),
    }


# scores ----------------------------------------------------------------------------------


def claim_specs(wildcards):
    """Claims of a study, each with the one of target and targets that it gives."""
    return [
        c.model_dump(mode="json", exclude={"target"} if c.targets else {"targets"})
        for c in study_spec(wildcards).claims
    ]


def study_predictions(wildcards):
    """Predictions of all arms, tasks and redraws of a study."""
    study = study_spec(wildcards)
    return [
        PREDICTIONS.format(study=wildcards.study, arm=arm, task=task, redraws=redraws)
        for arm in study.arms
        for task in CONFIG.tasks(wildcards.study, arm)
        for redraws in study.protocol.jobs()
    ]


# figures ---------------------------------------------------------------------------------

STUDY_FIGURE = "results/figures/{study}/{figure}.svg"


# Figures that are pages to be turned and clicked at.
PAGES = ("isosurface",)


def figure_file(study, figure):
    """The file of a figure of a study."""
    path = STUDY_FIGURE.format(study=study, figure=figure)
    return path.replace(".svg", ".html") if figure in PAGES else path


def scores_file(study):
    """The scores of a study."""
    kind = CONFIG.studies[study].protocol.kind
    name = {"learning_curve": "scores", "classification": "accuracies"}[kind]
    return f"results/scores/{study}/{name}.csv"


def study_files(study):
    """What a study makes by itself."""
    return [
        scores_file(study),
        f"results/scores/{study}/claims.csv",
        *(figure_file(study, figure) for figure in CONFIG.studies[study].drawn()),
        *(f"results/densities/{study}/{arm}" for arm in CONFIG.kept_maps(study)),
    ]


def study_outputs(study):
    """What the target of a study's name makes: its files, those that belong to it, a report."""
    files = [f for name in CONFIG.family(study) for f in study_files(name)]
    return [*files, f"results/reports/{study}.html"]


def studies_by(protocol):
    """Regular expression of the studies of one protocol."""
    return one_of([n for n, s in CONFIG.studies.items() if s.protocol.kind == protocol])


def arm_labels(wildcards):
    """How figures call each arm of a study."""
    arms = study_spec(wildcards).shown_arms()
    return {name: arm.label or name for name, arm in arms.items()}


def arm_scans(wildcards):
    """Every value of every setting that a study varies, with the arm that has it."""
    return [
        {"name": name, **scan.model_dump(mode="json")}
        for name, scan in study_spec(wildcards).scan_points()
        if scan.key != BESIDE
    ]


def added_tasks(wildcards):
    """Every target that an arm of a study learns beside its own, with the arm that does."""
    return [
        {"name": name, "arm": scan.arm, "beside": scan.value}
        for name, scan in study_spec(wildcards).scan_points()
        if scan.key == BESIDE
    ]


def target_groups(wildcards):
    """Groups of targets that arms of a study learn together, by the arm's label."""
    return {
        arm.label
        or name: {group: list(targets) for group, targets in arm.groups.items()}
        for name, arm in study_spec(wildcards).shown_arms().items()
        if arm.groups
    }


def study_r3dvs(wildcards):
    """The first voxel descriptor of a study, or the paper's."""
    arms = study_spec(wildcards).arms.values()
    names = [
        a.descriptor for a in arms if CONFIG.descriptors[a.descriptor].kind == "r3dvs"
    ]
    return CONFIG.descriptors[names[0]].model_dump(mode="json") if names else {}


def report_studies(wildcards=None):
    """Studies of a report: of one study's target, or of the default run."""
    study = getattr(wildcards, "study", None)
    names = [study] if study else CONFIG.report
    return list(dict.fromkeys(n for name in names for n in CONFIG.family(name)))


def report_comparisons(wildcards=None):
    """Comparisons of a report; that of a study shows none."""
    return {} if getattr(wildcards, "study", None) else CONFIG.comparisons


def report_datasets(wildcards=None):
    """Structures of the report's studies and of the comparisons; all of them without a study."""
    studied = [CONFIG.studies[study].dataset for study in report_studies(wildcards)]
    compared = [
        name
        for c in report_comparisons(wildcards).values()
        for name in (c.reference, c.dataset)
    ]
    if not studied:
        return list(CONFIG.sets)
    return [
        name for name in dict.fromkeys([*studied, *compared]) if name in CONFIG.sets
    ]


def report_layout(wildcards=None):
    """Where the report finds what it shows, by study, comparison and data set."""
    return {
        "studies": {
            study: {
                "figures": {
                    f: figure_file(study, f) for f in CONFIG.studies[study].drawn()
                },
                "captions": captions(CONFIG.studies[study].drawn()),
                "scores": scores_file(study),
                "claims": f"results/scores/{study}/claims.csv",
                "tables": study_tables(study),
            }
            for study in report_studies(wildcards)
        },
        "comparisons": {
            name: {
                "figures": {"comparison": f"results/comparisons/{name}.svg"},
                "captions": captions(["comparison"]),
            }
            for name in report_comparisons(wildcards)
        },
        "datasets": {
            dataset: {
                "figures": dataset_figures(dataset),
                "captions": captions(dataset_figures(dataset)),
                "funnel": f"results/structures/{dataset}/funnel.csv",
                "records": f"results/dft/{dataset}/records.parquet",
                "cost": shard_files(
                    "results/dft/{dataset}/{shard}.cost.parquet", dataset
                ),
            }
            for dataset in report_datasets(wildcards)
        },
    }


def dataset_figures(dataset):
    """The figures of a data set by their names."""
    funnel = {"funnel": f"results/structures/{dataset}/funnel.svg"}
    if dataset in CONFIG.molecules:
        return funnel
    return {**funnel, "known": f"results/dft/{dataset}/known.svg"}


def captions(figures):
    """Caption templates of figures."""
    return {figure: shipped(f"workflow/report/{figure}.rst") for figure in figures}


def study_tables(study):
    """Tables that the report shows of a study, by their titles."""
    drawn, dataset = CONFIG.studies[study].drawn(), CONFIG.studies[study].dataset
    tables = {}
    if "architecture" in drawn:
        tables["Layers of the network"] = f"results/figures/{study}/architecture.csv"
        tables["Structures of the data set"] = f"results/dft/{dataset}/oxides.csv"
    if "hartree" in drawn:
        tables["Hartree energy from voxels"] = f"results/figures/{study}/hartree.csv"
    if "scf_starts" in drawn:
        tables["Runs from predicted densities"] = (
            f"results/figures/{study}/scf_starts.csv"
        )
    if "wells" in drawn:
        tables["Errors due to densities"] = f"results/figures/{study}/wells.csv"
    if pretrained_descriptors(study):
        tables["Networks trained before"] = f"results/figures/{study}/networks.csv"
    return tables


def report_inputs(wildcards=None):
    """Every file that the layout of the report names."""

    def files(node):
        if isinstance(node, str):
            return [node]
        return [
            f
            for n in (node.values() if isinstance(node, dict) else node)
            for f in files(n)
        ]

    return files(report_layout(wildcards))
