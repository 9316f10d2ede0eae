"""Rule density_files: predicted densities as CHGCAR and cube files."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.density.export import fine_shape, to_chgcar, to_cube
from rhoflow.figures.shown import read_shown

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

# Å between points, about what other programs write.
SPACING = 0.15

io.start_log(snakemake.log[0])
files = snakemake.input
pairs = read_shown(files, snakemake.params.show)
folder = Path(snakemake.output.files)
for pair in pairs:
    for name, make in (("CHGCAR", to_chgcar), ("cube", to_cube)):
        made = make(pair.crystal, pair.predicted, fine_shape(pair.crystal.lattice, SPACING))
        logging.getLogger(__name__).info(
            "%s: %d of its points are negative", pair.material_id, made.n_negative
        )
        io.write_text(folder / f"{pair.material_id}.{name}", made.text)
