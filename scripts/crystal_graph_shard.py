"""Rule crystal_graph_shard: structures of one shard to atoms and their neighbours."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.descriptors.graph import CrystalGraphSpec, crystal_graphs

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = CrystalGraphSpec.model_validate(snakemake.params.spec)
structures = io.read_table(snakemake.input.structures, tables.STRUCTURES)
graphs = crystal_graphs(tables.table_to_crystals(structures), spec)
io.write_graphs(snakemake.output.graphs, graphs, spec=snakemake.params.spec)
