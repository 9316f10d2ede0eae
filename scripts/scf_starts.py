"""Rule scf_starts: self-consistent runs from given densities, beside the engine's own start."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.dft import gpaw
from rhoflow.dft.starts import compare_starts
from rhoflow.figures.shown import read_crystals, read_true

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec, files = snakemake.params.spec, snakemake.input
crystals, predicted = read_crystals(files.structures), io.read_spectra(files.predicted)
tested = sorted((crystals[n] for n in predicted), key=lambda c: (c.volume, c.material_id))
runs = compare_starts(
    tested[: spec["structures"]],
    gpaw.SPEC.model_validate(spec["engine"]),
    {"predicted": predicted, "converged": read_true(files.fields)},
    done_folder=Path(snakemake.params.done),
    workers=snakemake.threads,
    log=logging.getLogger(__name__),
)
io.write_table(snakemake.output.runs, runs, tables.START_RUNS, spec=spec)
