"""Rule r3dvs_shard: densities of one shard to reciprocal spots."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.descriptors.r3dvs import SpotsSpec, spots

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = SpotsSpec.model_validate(snakemake.params.spec)
densities = io.read_spectra(snakemake.input.density)
io.write_spots(snakemake.output.spots, spots(densities, spec), spec=snakemake.params.spec)
