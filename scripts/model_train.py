"""Rule model_train: one arm's learning curve for one target over a range of redraws."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.evaluation.protocol import learning_curve, parse_range
from rhoflow.models.registry import ArmTraining, fit

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = ArmTraining.model_validate(snakemake.params.spec)
wildcards = snakemake.wildcards
targets = io.read_table(snakemake.input.targets, tables.TARGET_TABLE)
predictions = learning_curve(
    lambda inputs, y, seed: fit(spec.model, spec.descriptor, inputs, y, seed=seed),
    io.read_descriptors(snakemake.input.descriptors),
    targets.set_index("material_id")[wildcards.target],
    io.read_table(snakemake.input.splits, tables.SPLITS),
    spec.protocol,
    redraws=parse_range(wildcards.redraws),
    n_seeds=spec.n_seeds,
)
keys = {"study": wildcards.study, "arm": wildcards.arm, "target": wildcards.target}
io.write_table(
    snakemake.output.predictions,
    predictions.assign(**keys),
    tables.PREDICTIONS,
    spec=snakemake.params.spec,
)
