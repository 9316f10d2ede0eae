"""Rule archive_atom_densities: densities of free atoms, as a part of an archive."""

from typing import TYPE_CHECKING

from rhoflow import io, tables

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
atoms = io.read_table(snakemake.input.atoms, tables.ATOM_DENSITIES)
io.write_table(snakemake.output.atoms, atoms, tables.ATOM_DENSITIES, spec=snakemake.params.spec)
