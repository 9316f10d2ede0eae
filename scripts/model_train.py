"""Rule model_train: one arm's learning curve for its targets over a range of redraws."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.jobs.launch import start
from rhoflow.jobs.training import TrainingJob

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
start(TrainingJob.of("model_train", snakemake))
