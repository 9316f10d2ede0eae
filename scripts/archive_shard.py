"""Rule archive_shard: what was computed of one shard, as a part of an archive."""

from typing import TYPE_CHECKING

from rhoflow import io, tables

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = snakemake.params.spec
table = tables.archive_table(
    io.read_table(snakemake.input.structures, tables.STRUCTURES),
    io.read_table(snakemake.input.records, tables.DFT_RECORDS),
    io.read_table(snakemake.input.cost, tables.DFT_COST),
)
for field in ("density", "potential"):
    spectra = io.read_spectra(snakemake.input[field], field=field)
    io.write_spectra(snakemake.output[field], spectra, field=field, spec=spec)
io.write_table(snakemake.output.table, table, tables.ARCHIVE, spec=spec)
