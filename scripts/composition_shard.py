"""Rule composition_shard: structures of one shard to element fractions and volume per atom."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.descriptors.composition import CompositionSpec, composition_vectors

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = CompositionSpec.model_validate(snakemake.params.spec)
structures = io.read_table(snakemake.input.structures, tables.STRUCTURES)
crystals = tables.table_to_crystals(structures)
vectors = composition_vectors(crystals, spec)
io.write_vectors(
    snakemake.output.vectors, vectors.ids, list(vectors.values), spec=snakemake.params.spec
)
