"""Rule molecular_shard: molecules of one shard to vectors of one kind."""

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from rhoflow import io, molecule_tables, tables
from rhoflow.descriptors.molecular import MolecularSpec, molecular_vectors

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = TypeAdapter(MolecularSpec).validate_python(snakemake.params.spec)
structures = io.read_table(snakemake.input.structures, tables.MOLECULES)
rows = tables.shard_rows(structures, snakemake.wildcards.shard, snakemake.params.shard_size)
vectors = molecular_vectors(molecule_tables.table_to_molecules(rows), spec)
io.write_vectors(
    snakemake.output.vectors, vectors.ids, list(vectors.values), spec=snakemake.params.spec
)
