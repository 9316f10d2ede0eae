"""Molecules from SMILES: a list in the config or a .smi file, embedded in space by RDKit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from rhoflow.errors import ConfigError
from rhoflow.spec import Spec
from rhoflow.structures.candidates import ONE_ENTRY
from rhoflow.structures.folder import fingerprint_of, problem_of_file, user_path
from rhoflow.structures.molecule_candidates import (
    MoleculeCandidate,
    attempt_molecule,
    once_each_molecule,
    require_rdkit,
)
from rhoflow.structures.molecule_embed import embedded
from rhoflow.structures.reading import ID_LENGTH, one_line

_KIND = "smiles"
_MAX_FILE_MB = 50.0


class SmilesSource(Spec):
    """A list of SMILES, given positions by RDKit (ETKDGv3, then MMFF94)."""

    kind: Literal["smiles"] = Field(
        default="smiles", description="molecules from SMILES, embedded in space by RDKit"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    smiles: tuple[str, ...] = Field(default=(), description="the SMILES themselves")
    path: str | None = Field(
        default=None,
        description="in their place: a file with a SMILES in each line and, after a blank, its "
        "name; lines that start with # are left out",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="seed of the embedding")

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if bool(self.smiles) == (self.path is not None):
            raise ValueError("give either smiles or path, not both and not neither")
        return self


def smiles_steps() -> dict[str, str]:
    """The source's own rows of the funnel, with what passes each."""
    return {ONE_ENTRY: "the first entry of every name"}


def smiles_fingerprint(spec: SmilesSource) -> str:
    """SHA-256 of the file's name, size and time; empty without a file.

    Raises:
        ConfigError: there is no such file.
    """
    if spec.path is None:
        return ""
    path = _file(spec.path)
    return fingerprint_of([path], path.parent)


def read_smiles(spec: SmilesSource) -> Iterator[MoleculeCandidate]:
    """Yield the molecules in their order; ``source_id`` is the name, or the SMILES without one.

    Raises:
        ConfigError: there is no such file, or it is unreadable.
        EngineError: RDKit is not installed.
    """
    require_rdkit(_KIND)
    lines = list(spec.smiles) if spec.path is None else _lines(_file(spec.path))
    return once_each_molecule(_candidates(lines, spec.seed))


def _file(name: str) -> Path:
    path = user_path(name, _KIND)
    if not path.is_file():
        raise ConfigError(f"{_KIND}: '{path}' is not a file; set the source's path to your list")
    return path


def _lines(path: Path) -> list[str]:
    problem = problem_of_file(path, _MAX_FILE_MB)
    if problem:
        raise ConfigError(f"{_KIND}: '{path}': {problem}")
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _candidates(lines: list[str], seed: int) -> Iterator[MoleculeCandidate]:
    for line in lines:
        smiles, *name = line.split(maxsplit=1)
        source_id = one_line(name[0] if name else smiles, ID_LENGTH)
        yield attempt_molecule(source_id, embedded, source_id, smiles, seed)
