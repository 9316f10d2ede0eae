"""The sources of molecules, told apart by ``kind``; a new kind is a line in each function."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rhoflow.structures import (
    molecule_enumerated,
    molecule_huan,
    molecule_oligomers,
    molecule_qm9,
    molecule_smiles,
    molecule_table,
    molecule_xyz,
)
from rhoflow.structures.molecule_candidates import MoleculeCandidate
from rhoflow.structures.molecule_enumerated import EnumeratedSource
from rhoflow.structures.molecule_huan import HuanSource
from rhoflow.structures.molecule_oligomers import OligomersSource
from rhoflow.structures.molecule_qm9 import QM9Source
from rhoflow.structures.molecule_smiles import SmilesSource
from rhoflow.structures.molecule_table import MoleculeTableSource
from rhoflow.structures.molecule_xyz import XYZSource

AnyMoleculeSource = (
    EnumeratedSource
    | HuanSource
    | MoleculeTableSource
    | OligomersSource
    | QM9Source
    | SmilesSource
    | XYZSource
)
MoleculeSourceSpec = Annotated[AnyMoleculeSource, Field(discriminator="kind")]


def read_molecules(
    spec: AnyMoleculeSource, *, registry: Path, polymers: Path
) -> Iterator[MoleculeCandidate]:
    """Yield the candidates of a source, lazily and in a fixed order.

    Args:
        spec: which source, with its settings.
        registry: the table of what a user fetches (``resources/registry.csv``).
        polymers: the table of repeat units (``resources/polymers.csv``).

    Raises:
        ConfigError: the source is empty, or the spec names something that does not exist.
        DataError: a table or archive is unreadable, or cannot be fetched.
        EngineError: a package that the source needs is not installed.
    """
    match spec:
        case EnumeratedSource():
            return molecule_enumerated.read_enumerated(spec)
        case HuanSource():
            return molecule_huan.read_huan(spec)
        case MoleculeTableSource():
            return molecule_table.read_molecule_table(spec)
        case OligomersSource():
            return molecule_oligomers.read_oligomers(spec, polymers)
        case QM9Source():
            return molecule_qm9.read_qm9(spec, registry)
        case SmilesSource():
            return molecule_smiles.read_smiles(spec)
        case XYZSource():
            return molecule_xyz.read_xyz(spec)


def molecule_source_steps(spec: AnyMoleculeSource) -> dict[str, str]:
    """The rows of the funnel that a source's own filters make, in order, with what passes each."""
    match spec:
        case MoleculeTableSource():
            return molecule_table.molecule_table_steps()
        case QM9Source():
            return molecule_qm9.qm9_steps(spec)
        case SmilesSource():
            return molecule_smiles.smiles_steps()
        case _:
            return {}


def molecule_source_fingerprint(spec: AnyMoleculeSource) -> str:
    """Names, sizes and times of the files that a source reads, as one hash.

    Empty for a source that reads none of the user's files; what is fetched has its checksum in
    the registry.

    Raises:
        ConfigError: the file or folder is missing or holds nothing to read.
    """
    match spec:
        case HuanSource():
            return molecule_huan.huan_fingerprint(spec)
        case MoleculeTableSource():
            return molecule_table.molecule_table_fingerprint(spec)
        case SmilesSource():
            return molecule_smiles.smiles_fingerprint(spec)
        case XYZSource():
            return molecule_xyz.xyz_fingerprint(spec)
        case _:
            return ""
