"""Rule classify_collect: answers of a classification to accuracies and judged claims."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.evaluation.claims import AccuracyClaimSpec, judge_accuracy
from rhoflow.evaluation.classification import accuracies

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params = snakemake.params.spec
answers = io.read_tables(snakemake.input.predictions, tables.CLASSIFICATIONS, same_spec=False)
measured = accuracies(answers)
verdicts = judge_accuracy(
    [AccuracyClaimSpec.model_validate(c) for c in params["claims"]],
    measured,
    study=snakemake.wildcards.study,
    n_classes=params["classes"],
)
io.write_table(snakemake.output.scores, measured, tables.ACCURACIES)
io.write_table(snakemake.output.claims, verdicts, tables.CLAIMS)
