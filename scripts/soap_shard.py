"""Rule soap_shard: structures of one shard to mean alchemical SOAP power spectra."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.descriptors.soap import SOAPSpec, soap_vectors

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = SOAPSpec.model_validate(snakemake.params.spec)
structures = io.read_table(snakemake.input.structures, tables.STRUCTURES)
crystals = tables.table_to_crystals(structures)
vectors = soap_vectors(crystals, spec)
io.write_vectors(
    snakemake.output.vectors, vectors.ids, list(vectors.values), spec=snakemake.params.spec
)
