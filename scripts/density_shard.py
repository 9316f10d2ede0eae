"""Rule density_shard: full spectra of one shard to the stored ones."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.density.store import DensitySpec, keep, store

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = DensitySpec.model_validate(snakemake.params.spec)
records = io.read_table(snakemake.input.records, tables.DFT_RECORDS)
electrons = dict(zip(records["material_id"], records["n_valence_electrons"], strict=True))
densities = store(io.read_spectra(snakemake.input.densities), electrons, spec)
potentials = keep(io.read_spectra(snakemake.input.potentials, field="potential"), spec)
made_with = snakemake.params.spec
io.write_spectra(snakemake.output.potential, potentials, field="potential", spec=made_with)
io.write_spectra(snakemake.output.density, densities, spec=snakemake.params.spec)
