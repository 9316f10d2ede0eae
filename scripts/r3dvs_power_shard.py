"""Rule r3dvs_power_shard: densities of one shard to rotation-invariant power spectra."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec, power_vectors

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = R3DVSPowerSpec.model_validate(snakemake.params.spec)
vectors = power_vectors(io.read_spectra(snakemake.input.density), spec)
io.write_vectors(
    snakemake.output.vectors, vectors.ids, list(vectors.values), spec=snakemake.params.spec
)
