"""Rule table_networks: kept networks to a table of their sizes."""

from typing import TYPE_CHECKING

import pandas as pd

from rhoflow import io
from rhoflow.models.registry import PairSpec, kept_size

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
pairs = {arm: PairSpec.model_validate(pair) for arm, pair in snakemake.params.spec["pairs"].items()}
rows = [
    {
        "network": snakemake.params.labels[arm],
        "reads": pair.descriptor.kind,
        "learns_by": pair.model.kind,
        **kept_size(pair, io.read_arrays(path)[0]),
    }
    for (arm, pair), path in zip(pairs.items(), snakemake.input.networks, strict=True)
]
table = pd.DataFrame(rows).astype({"input_length": "Int64"})
io.write_table(snakemake.output.table, table, spec=snakemake.params.spec)
