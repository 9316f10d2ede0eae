"""Rule densities_predict: a kept map's densities of the structures that it was not trained on."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.jobs.densities import predict
from rhoflow.models.registry import PairSpec, restore

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec, files = snakemake.params.spec, snakemake.input
operator = restore(PairSpec.model_validate(spec["pair"]), io.read_arrays(files.network)[0])
splits = io.read_table(files.splits, tables.SPLITS)
found, table = predict(operator, io.read_fields(files.fields), splits)
io.write_spectra(snakemake.output.densities, found, spec=spec)
io.write_table(snakemake.output.table, table, tables.PREDICTED_DENSITIES, spec=spec)
