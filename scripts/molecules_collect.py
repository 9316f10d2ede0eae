"""Rule molecules_collect: records of all shards of molecules to the targets that models learn."""

from collections import Counter
from typing import TYPE_CHECKING

from rhoflow import io, molecule_tables, tables
from rhoflow.dft.molecules import molecule_targets
from rhoflow.dft.targets import check_ok_fraction

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = snakemake.params.spec
structures = io.read_table(snakemake.input.structures, tables.MOLECULES)
records = io.read_tables(snakemake.input.records, tables.MOLECULE_RECORDS)
atoms = io.read_table(snakemake.input.atoms, tables.ATOMS)
check_ok_fraction(records, spec["min_ok_fraction"], snakemake.wildcards.dataset)
compositions = {
    molecule.material_id: Counter(molecule.symbols)
    for molecule in molecule_tables.table_to_molecules(structures)
}
table = molecule_targets(records, atoms, compositions)
io.write_table(snakemake.output.records, records, tables.MOLECULE_RECORDS, spec=spec)
io.write_table(snakemake.output.targets, table, tables.TARGET_TABLE, spec=spec)
