"""The sources of structures, told apart by ``kind``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rhoflow.structures.candidates import Candidate
from rhoflow.structures.files import FilesSource, read_files
from rhoflow.structures.prototypes import PrototypesSource, read_prototypes

SourceSpec = Annotated[FilesSource | PrototypesSource, Field(discriminator="kind")]


def read_candidates(
    spec: FilesSource | PrototypesSource, *, prototypes_table: Path
) -> Iterator[Candidate]:
    """Yield the candidates of a source, lazily and in a fixed order.

    Args:
        spec: which source, with its settings.
        prototypes_table: the YAML table that the prototypes source reads.

    Raises:
        ConfigError: the source is empty or the spec names something that does not exist.
        DataError: the prototypes table is unreadable.
    """
    match spec:
        case FilesSource():
            return read_files(spec)
        case PrototypesSource():
            return read_prototypes(spec, prototypes_table)
