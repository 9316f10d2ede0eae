"""Rule coulomb_shard: structures of one shard to Ewald Coulomb matrix eigenvalues."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.descriptors.coulomb import CoulombSpec, ewald_eigenvalues

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = CoulombSpec.model_validate(snakemake.params.spec)
structures = io.read_table(snakemake.input.structures, tables.STRUCTURES)
crystals = tables.table_to_crystals(structures)
io.write_vectors(
    snakemake.output.vectors,
    [crystal.material_id for crystal in crystals],
    ewald_eigenvalues(crystals, spec),
    spec=snakemake.params.spec,
)
