"""Rule atom_densities: densities of free atoms, in the definition of the engine's."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.dft.atom_densities import atom_densities
from rhoflow.dft.base import load_engine

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0], show="rhoflow.dft")
made_with = snakemake.params.spec["engine"]
spec = load_engine(made_with["kind"]).SPEC.model_validate(made_with)
structures = io.read_table(snakemake.input.structures, tables.NAMES)
elements = sorted({str(s) for symbols in structures["symbols"] for s in symbols})
atoms = atom_densities(elements, spec)
io.write_table(snakemake.output.atoms, atoms, tables.ATOM_DENSITIES, spec=snakemake.params.spec)
