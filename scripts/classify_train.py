"""Rule classify_train: one arm's classification test over a range of repeats."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.checkpoints import CheckpointStore
from rhoflow.evaluation.classification import ClassificationSpec, classification
from rhoflow.evaluation.protocol import parse_range
from rhoflow.models.base import Start
from rhoflow.models.registry import PairSpec, classify

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params, wildcards = snakemake.params.spec, snakemake.wildcards
arm = PairSpec.model_validate(params["arm"])
protocol = ClassificationSpec.model_validate(params["protocol"])
store = CheckpointStore(snakemake.params.checkpoints)
predictions, features = classification(
    lambda inputs, replicas, seed, poses: classify(
        arm, protocol, inputs, replicas, Start((seed,), store), poses=poses
    ),
    io.read_descriptors(snakemake.input.descriptors),
    protocol,
    repeats=parse_range(wildcards.redraws),
)
predictions = predictions.assign(study=wildcards.study, arm=wildcards.arm)
out = snakemake.output
io.write_table(out.predictions, predictions, tables.CLASSIFICATIONS, spec=params)
io.write_arrays(out.features, features, {"spec": params})
store.clear()
