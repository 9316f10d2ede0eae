"""Rule molecules_select: candidates of a source of molecules to the sample that is computed."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from rhoflow import io, tables
from rhoflow.structures.molecule_select import MoleculeSelectionSpec, select_molecules
from rhoflow.structures.molecule_sources import (
    MoleculeSourceSpec,
    molecule_source_steps,
    read_molecules,
)

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params, inputs = snakemake.params.spec, snakemake.input
source = TypeAdapter(MoleculeSourceSpec).validate_python(params["source"])
spec = MoleculeSelectionSpec.model_validate(params["selection"])
candidates = read_molecules(source, registry=Path(inputs.registry), polymers=Path(inputs.polymers))
steps = molecule_source_steps(source)
result = select_molecules(candidates, spec, source=source.kind, source_steps=steps)
io.write_table(snakemake.output.rejected, result.rejected, tables.REJECTED)
io.write_table(snakemake.output.funnel, result.funnel, tables.FUNNEL)
io.write_table(snakemake.output.structures, result.structures, tables.MOLECULES, spec=params)
