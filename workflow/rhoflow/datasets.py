"""Sets of structures: where they come from, which are taken, and what computes them."""

from collections.abc import Iterable

from pydantic import Field

from rhoflow.arms import Name
from rhoflow.dft.base import MOLECULE_ENGINES
from rhoflow.dft.registry import EngineSpec
from rhoflow.spec import Spec
from rhoflow.structures.molecule_select import MoleculeSelectionSpec
from rhoflow.structures.molecule_sources import MoleculeSourceSpec
from rhoflow.structures.select import SelectionSpec
from rhoflow.structures.sources import SourceSpec


class DatasetSpec(Spec):
    """A set of crystals and how they are computed."""

    source: SourceSpec = Field(description="Where structures come from.")
    selection: SelectionSpec = Field(description="Filters and random sample.")
    engine: Name = Field(description="Name of an entry under `engines`.")
    shard_size: int = Field(
        default=24,
        ge=1,
        le=1000,
        description="Structures that one job works through; 20 to 30 on a cluster.",
    )


class MoleculesSpec(Spec):
    """A set of molecules and how they are computed."""

    source: MoleculeSourceSpec = Field(description="Where molecules come from.")
    selection: MoleculeSelectionSpec = Field(description="Filters and random sample.")
    engine: Name = Field(description="Name of an entry under `engines`, one for molecules.")
    shard_size: int = Field(
        default=200,
        ge=1,
        le=100_000,
        description="Molecules that one job works through; 100 to 500 where they are computed.",
    )


AnySet = DatasetSpec | MoleculesSpec


def engine_problems(section: str, name: str, data: AnySet, engine: EngineSpec) -> Iterable[str]:
    """An engine that is not for these structures, or takes finished calculations of others."""
    here = f"{section}.{name}"
    if (section == "molecules") != (engine.kind in MOLECULE_ENGINES):
        what = "molecules" if engine.kind in MOLECULE_ENGINES else "crystals"
        yield f"{here}.engine: '{data.engine}' ({engine.kind}) computes {what} alone"
        return
    if engine.kind not in ("archive", "outputs"):
        return
    source = data.source
    if source.kind != engine.kind:
        yield (
            f"{here}: engine '{data.engine}' ({engine.kind}) takes finished calculations, so the "
            f"source must be of kind {engine.kind}; it is of kind {source.kind}"
        )
    elif source.kind == "archive" and engine.kind == "archive" and source.path != engine.path:
        yield (
            f"{here}: the source reads the archive '{source.path}', but engine "
            f"'{data.engine}' takes from '{engine.path}'; give both the same path"
        )
