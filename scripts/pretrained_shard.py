"""Rule pretrained_shard: molecules of one shard to what a kept network's last layer reads."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.models.registry import PairSpec, restore

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = snakemake.params.spec
network = restore(PairSpec.model_validate(spec["pair"]), io.read_arrays(snakemake.input.network)[0])
molecules = io.read_descriptors([snakemake.input.molecules])
features = network.features(molecules)
io.write_vectors(snakemake.output.vectors, molecules.ids, list(features), spec=spec)
