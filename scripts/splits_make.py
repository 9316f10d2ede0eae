"""Rule splits_make: test and training structures of every redraw of a study."""

from typing import TYPE_CHECKING

from rhoflow import io, tables
from rhoflow.crystal import elements_of
from rhoflow.evaluation.protocol import LearningCurveSpec
from rhoflow.evaluation.splits import draw

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake

    snakemake: Snakemake

io.start_log(snakemake.log[0])
params = snakemake.params.spec
spec = LearningCurveSpec.model_validate(params["protocol"])
targets = io.read_targets(snakemake.input.targets)
usable = targets.dropna(subset=list(params["targets"]))["material_id"]
names = snakemake.input.structures
structures = io.read_table(names, tables.NAMES) if names else tables.empty(tables.NAMES)
formulas, sizes = (
    dict(zip(structures["material_id"], structures[column], strict=True))
    for column in ("formula", "n_atoms")
)
splits = draw(
    list(usable),
    spec,
    study=snakemake.wildcards.study,
    groups=formulas if spec.keep_together == "formula" else None,
    sizes=sizes,
    elements={name: elements_of(formula) for name, formula in formulas.items()},
)
io.write_table(snakemake.output.splits, splits, tables.SPLITS, spec=params)
