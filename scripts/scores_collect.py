"""Rule scores_collect: predictions of a study to scores and judged claims."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.evaluation.claims import ClaimSpec, judge
from rhoflow.evaluation.metrics import scores

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
claims = [ClaimSpec.model_validate(c) for c in snakemake.params.spec["claims"]]
# Arms differ in their specs, so the specs of the files differ too.
predictions = io.read_tables(snakemake.input.predictions, tables.PREDICTIONS, same_spec=False)
verdicts = judge(
    claims,
    predictions,
    study=snakemake.wildcards.study,
    labels=snakemake.params.spec["labels"],
)
io.write_table(snakemake.output.predictions, predictions, tables.PREDICTIONS)
io.write_table(snakemake.output.claims, verdicts, tables.CLAIMS)
io.write_table(snakemake.output.scores, scores(predictions), tables.SCORES)
