"""Rule fields_shard: densities, structures and potentials of one shard to fields side by side."""

from typing import TYPE_CHECKING

import numpy as np

from rhoflow import io, tables
from rhoflow.density.atoms import FormFactors
from rhoflow.descriptors.fields import FieldsSpec, fields

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec, files = FieldsSpec.model_validate(snakemake.params.spec), snakemake.input
crystals = tables.table_to_crystals(io.read_table(files.structures, tables.STRUCTURES))
factors = local = None
if spec.free_atoms:
    known = io.read_table(files.atoms, tables.ATOM_DENSITIES)
    values = {row.element: np.asarray(row.form_factor) for row in known.itertuples()}
    factors = FormFactors(float(known["step_per_angstrom"].iloc[0]), values)
if "local" in spec.potentials:
    local = io.read_spectra(files.potential, field="potential")
found = fields(
    io.read_spectra(files.density),
    {crystal.material_id: crystal for crystal in crystals},
    factors,
    spec,
    local=local,
)
io.write_fields(snakemake.output.fields, found, spec=snakemake.params.spec)
