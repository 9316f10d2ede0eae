"""Rule boxed_shard: molecules of one shard in periodic boxes, and spectra of their densities."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.density.store import DensitySpec
from rhoflow.dft import pyscf
from rhoflow.dft.boxed import boxed
from rhoflow.dft.orbitals import read_orbitals

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = snakemake.params.spec
structures = io.read_table(snakemake.input.structures, tables.MOLECULES)
rows = tables.shard_rows(structures, snakemake.wildcards.shard, snakemake.params.shard_size)
made = boxed(
    rows,
    read_orbitals([snakemake.input.orbitals]),
    pyscf.SPEC.model_validate(spec["engine"]),
    DensitySpec.model_validate(spec["density"]),
)
io.write_table(snakemake.output.structures, made.structures, tables.STRUCTURES, spec=spec)
io.write_spectra(snakemake.output.density, made.spectra, spec=spec)
