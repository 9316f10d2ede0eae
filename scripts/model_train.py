"""Rule model_train: one arm's learning curve for its targets over a range of redraws."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.checkpoints import CheckpointStore
from rhoflow.descriptors.base import paired
from rhoflow.evaluation.protocol import LearningCurveSpec, learning_curve, parse_range
from rhoflow.models.base import Start
from rhoflow.models.registry import ArmTraining, fit_arm

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params, wildcards = snakemake.params.spec, snakemake.wildcards
arm = ArmTraining.model_validate(params["arm"])
targets = io.read_table(snakemake.input.targets, tables.TARGET_TABLE)
inputs = io.read_descriptors(snakemake.input.descriptors)
if arm.first:
    inputs = paired(io.read_descriptors(snakemake.input.first), inputs)
store = CheckpointStore(snakemake.params.checkpoints)
predictions = learning_curve(
    lambda x, y, seeds: fit_arm(arm, x, y, Start(seeds, store)),
    inputs,
    targets.set_index("material_id")[params["targets"]],
    io.read_table(snakemake.input.splits, tables.SPLITS),
    LearningCurveSpec.model_validate(params["protocol"]),
    redraws=parse_range(wildcards.redraws),
)
predictions = predictions.assign(study=wildcards.study, arm=wildcards.arm)
io.write_table(snakemake.output.predictions, predictions, tables.PREDICTIONS, spec=params)
store.clear()
