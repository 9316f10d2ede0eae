"""Rule density_truths: what the computed densities are, in the terms predictions are judged by."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.evaluation.densities import truths

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
fields = io.read_fields(snakemake.input.fields)
spectra = {name: fields.spectrum(i) for i, name in enumerate(fields.ids)}
table = truths(spectra).reindex(columns=tables.TARGET_TABLE.names)
io.write_table(snakemake.output.targets, table, tables.TARGET_TABLE)
