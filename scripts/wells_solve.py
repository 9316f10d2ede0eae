"""Rule wells_solve: random potentials of one dimension to their densities and energies."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.wells import WellsSpec, solve

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec, output = snakemake.params.spec, snakemake.output
solved = solve(WellsSpec.model_validate(spec))
targets = tables.wells_to_targets(solved)
io.write_wells(output.systems, solved, spec=spec)
io.write_vectors(output.potentials, solved.ids, list(solved.potentials), spec=spec)
io.write_table(output.targets, targets, tables.TARGET_TABLE, spec=spec)
