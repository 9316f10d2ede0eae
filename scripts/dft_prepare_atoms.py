"""Rule dft_prepare_atoms: VASP's inputs of the isolated atoms of a data set."""

from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.dft.prepare import prepare_atoms
from rhoflow.dft.vasp import VaspSpec

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = VaspSpec.model_validate(snakemake.params.spec)
structures = io.read_table(snakemake.input.structures, tables.STRUCTURES)
elements = {str(s) for symbols in structures["symbols"] for s in symbols}
prepare_atoms(elements, spec, Path(snakemake.output.inputs))
