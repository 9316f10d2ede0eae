"""Rule r3dvs_shard: densities of one shard, and what else the channels need, to spots."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.descriptors.r3dvs import SpotsSpec, spots

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = SpotsSpec.model_validate(snakemake.params.spec)
files = snakemake.input
potentials, crystals = None, []
if "potential" in spec.channels:
    potentials = io.read_spectra(files.potential, field="potential")
if "nuclei" in spec.channels:
    crystals = tables.table_to_crystals(io.read_table(files.nuclei, tables.STRUCTURES))
found = spots(io.read_spectra(files.density), spec, potentials=potentials, crystals=crystals)
io.write_spots(snakemake.output.spots, found, spec=snakemake.params.spec)
