"""The sources of structures, told apart by ``kind``; a new kind is a line in each function."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rhoflow.structures import (
    archive,
    files,
    icsd,
    materials_project,
    optimade,
    outputs,
    prototypes,
    table,
)
from rhoflow.structures.archive import ArchiveSource
from rhoflow.structures.candidates import Candidate
from rhoflow.structures.files import FilesSource
from rhoflow.structures.icsd import ICSDSource
from rhoflow.structures.materials_project import MaterialsProjectSource
from rhoflow.structures.optimade import OptimadeSource
from rhoflow.structures.outputs import OutputsSource
from rhoflow.structures.prototypes import PrototypesSource
from rhoflow.structures.table import TableSource

AnySource = (
    ArchiveSource
    | FilesSource
    | ICSDSource
    | MaterialsProjectSource
    | OptimadeSource
    | OutputsSource
    | PrototypesSource
    | TableSource
)
SourceSpec = Annotated[AnySource, Field(discriminator="kind")]


def read_candidates(spec: AnySource, *, prototypes_table: Path) -> Iterator[Candidate]:
    """Yield the candidates of a source, lazily and in a fixed order.

    Args:
        spec: which source, with its settings.
        prototypes_table: the YAML table that the prototypes source reads.

    Raises:
        ConfigError: the source is empty, or the spec names something that does not exist.
        DataError: a table or a database's answer is unreadable.
        EngineError: a package that the source needs is not installed.
    """
    match spec:
        case ArchiveSource():
            return archive.read_archive(spec)
        case FilesSource():
            return files.read_files(spec)
        case ICSDSource():
            return icsd.read_icsd(spec)
        case MaterialsProjectSource():
            return materials_project.read_materials_project(spec)
        case OptimadeSource():
            return optimade.read_optimade(spec)
        case OutputsSource():
            return outputs.read_outputs(spec)
        case PrototypesSource():
            return prototypes.read_prototypes(spec, prototypes_table)
        case TableSource():
            return table.read_table(spec)


def source_steps(spec: AnySource) -> dict[str, str]:
    """The rows of the funnel that a source's own filters make, in order, with what passes each."""
    match spec:
        case ArchiveSource():
            return archive.archive_steps()
        case ICSDSource():
            return icsd.icsd_steps(spec)
        case MaterialsProjectSource():
            return materials_project.materials_project_steps()
        case OptimadeSource():
            return optimade.optimade_steps()
        case TableSource():
            return table.table_steps()
        case _:
            return {}


def source_fingerprint(spec: AnySource) -> str:
    """Names, sizes and times of the files that a source reads, as one hash.

    Empty for a source that reads none of the user's files. A database is asked again only when the
    source's settings change.

    Raises:
        ConfigError: the file or folder is missing or holds nothing to read.
    """
    match spec:
        case ArchiveSource():
            return archive.archive_fingerprint(spec)
        case FilesSource():
            return files.fingerprint(spec)
        case ICSDSource():
            return icsd.icsd_fingerprint(spec)
        case OutputsSource():
            return outputs.fingerprint(spec)
        case TableSource():
            return table.table_fingerprint(spec)
        case _:
            return ""
