"""Rule dft_collect: records of all shards to the targets that models learn."""

from collections import Counter
from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.dft.targets import check_ok_fraction, targets

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
structures = io.read_tables(snakemake.input.structures, tables.STRUCTURES)
records = io.read_tables(snakemake.input.records, tables.DFT_RECORDS)
atoms = io.read_table(snakemake.input.atoms, tables.ATOMS)
check_ok_fraction(records, snakemake.params.spec["min_ok_fraction"], snakemake.wildcards.dataset)
crystals = tables.table_to_crystals(structures)
compositions = {crystal.material_id: Counter(crystal.symbols) for crystal in crystals}
table = targets(records, atoms, compositions)
io.write_table(snakemake.output.records, records, tables.DFT_RECORDS, spec=snakemake.params.spec)
io.write_table(snakemake.output.targets, table, tables.TARGET_TABLE, spec=snakemake.params.spec)
