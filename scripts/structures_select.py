"""Rule structures_select: candidates of a source to the sample that is computed."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from rhoflow import io, tables
from rhoflow.structures.select import SelectionSpec, select
from rhoflow.structures.sources import SourceSpec, read_candidates, source_steps

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params = snakemake.params.spec
source = TypeAdapter(SourceSpec).validate_python(params["source"])
spec = SelectionSpec.model_validate(params["selection"])
candidates = read_candidates(source, prototypes_table=Path(snakemake.input.prototypes))
result = select(candidates, spec, source=source.kind, source_steps=source_steps(source))
io.write_table(snakemake.output.rejected, result.rejected, tables.REJECTED)
io.write_table(snakemake.output.funnel, result.funnel, tables.FUNNEL)
io.write_table(snakemake.output.structures, result.structures, tables.STRUCTURES, spec=params)
