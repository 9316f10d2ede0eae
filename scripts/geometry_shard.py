"""Rule geometry_shard: molecules of one shard to their elements and positions."""

from typing import TYPE_CHECKING

from rhoflow import io, molecule_tables, tables
from rhoflow.descriptors.geometry import molecule_set

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
structures = io.read_table(snakemake.input.structures, tables.MOLECULES)
rows = tables.shard_rows(structures, snakemake.wildcards.shard, snakemake.params.shard_size)
molecules = molecule_set(molecule_tables.table_to_molecules(rows))
io.write_geometry(snakemake.output.geometry, molecules, spec=snakemake.params.spec)
