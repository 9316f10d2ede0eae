"""Rule classify_train: one arm's classification test over a range of repeats."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.jobs.launch import start
from rhoflow.jobs.training import TrainingJob

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
start(TrainingJob.of("classify_train", snakemake))
