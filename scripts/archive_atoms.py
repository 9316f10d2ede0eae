"""Rule archive_atoms: energies of isolated atoms, as a part of an archive."""

from typing import TYPE_CHECKING

from rhoflow import io, tables

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
atoms = io.read_table(snakemake.input.atoms, tables.ATOMS)
io.write_table(snakemake.output.atoms, atoms, tables.ATOMS, spec=snakemake.params.spec)
