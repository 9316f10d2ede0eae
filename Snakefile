"""rhoflow: structures, densities, descriptors, models, figures; README.md shows how to run it."""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")

# The package reaches every script and node through the parent's import path.
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from rhoflow.config import load
from rhoflow.errors import ConfigError

# A config file given on the command line replaces the default one instead of joining it.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


try:
    CONFIG = load(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None
# Captions quote the config; they see every default too.
config.update(CONFIG.model_dump(mode="json"))


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/structures.smk"
include: "workflow/rules/dft.smk"
include: "workflow/rules/density.smk"
include: "workflow/rules/molecules.smk"
include: "workflow/rules/wells.smk"
include: "workflow/rules/archive.smk"
include: "workflow/rules/checks.smk"
include: "workflow/rules/descriptors.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/classification.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/r3dvs.smk"
include: "workflow/rules/multitask.smk"
include: "workflow/rules/fields.smk"
include: "workflow/rules/status.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/cluster.smk"


rule all:
    """The report over the studies that the config names under `report`."""
    default_target: True
    input:
        "results/report.html",
