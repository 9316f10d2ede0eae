"""Rule density_image_shard: densities of one shard, and potentials, to the spectra of images."""

from typing import TYPE_CHECKING

from rhoflow import io
from rhoflow.descriptors.image import ImageSpec, images

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
spec = ImageSpec.model_validate(snakemake.params.spec)
files = snakemake.input
potentials = None
if "potential" in spec.channels:
    potentials = io.read_spectra(files.potential, field="potential")
found = images(io.read_spectra(files.density), spec, potentials=potentials)
io.write_images(snakemake.output.images, found, spec=snakemake.params.spec)
