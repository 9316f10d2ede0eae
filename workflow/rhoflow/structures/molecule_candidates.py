"""A candidate molecule: what every source of molecules hands to the selection."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray

from rhoflow.errors import EngineError
from rhoflow.molecule import Molecule
from rhoflow.structures.candidates import ONE_ENTRY
from rhoflow.structures.reading import PARSE_ERRORS, one_line, unreadable

MAX_ATOMS = 10_000
# Farther from the origin than any molecule reaches; a distance beyond it loses its digits.
MAX_POSITION_ANGSTROM = 1e4
_SYMBOLS = frozenset(chemical_symbols[1:])
_LABEL = re.compile(r"([A-Za-z]{1,2})\d*\Z")


@dataclass(frozen=True)
class MoleculeCandidate:
    """A molecule that may enter a dataset, or the reason why it may not.

    Attributes:
        source_id: name within its source (a path, an id, a SMILES), unique there.
        molecule: as its source gives it; None if it is unreadable or falls at a filter of the
            source.
        reason: one line saying why ``molecule`` is None; empty otherwise.
        step: row of the funnel at which it falls, one of those that the source declares; empty
            for a molecule that cannot be read, or that stays.
        known: properties that the source tells, by the names of ``tables.KNOWN_PROPERTIES``.
    """

    source_id: str
    molecule: Molecule | None
    reason: str = ""
    step: str = ""
    known: Mapping[str, float] = field(default_factory=dict)


Reading = tuple[Molecule, Mapping[str, float]]


def attempt_molecule(
    source_id: str, read: Callable[..., Reading], *content: object
) -> MoleculeCandidate:
    """Read quietly; turn a failure into a reason.

    Args:
        source_id: the candidate's.
        read: gives the molecule and what is known of it.
        content: its arguments.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            molecule, known = read(*content)
    except PARSE_ERRORS as error:
        return MoleculeCandidate(source_id, None, unreadable(source_id, error).reason)
    return MoleculeCandidate(source_id, molecule, known=known)


def build_molecule(
    source_id: str,
    symbols: Sequence[str],
    positions: ArrayLike,
    *,
    charge: int = 0,
    smiles: str | None = None,
) -> Molecule:
    """A molecule from plain numbers.

    Args:
        source_id: its name in the source.
        symbols: (n_atoms,) element symbols.
        positions: (n_atoms, 3) Å.
        charge: in units of the elementary charge.
        smiles: its bonds, where known.

    Raises:
        ValueError: no atoms or too many, shapes that do not fit, numbers that are not finite.
    """
    places: NDArray[np.float64] = np.asarray(positions, dtype=np.float64)
    if not symbols:
        raise ValueError("no atoms")
    if len(symbols) > MAX_ATOMS:
        raise ValueError(f"{len(symbols)} atoms, more than {MAX_ATOMS}")
    if places.shape != (len(symbols), 3):
        raise ValueError(
            f"{len(symbols)} atoms but positions of shape {places.shape}; expected "
            f"({len(symbols)}, 3)"
        )
    if not np.isfinite(places).all():
        raise ValueError("positions are not finite numbers")
    farthest = float(np.abs(places).max())
    if farthest > MAX_POSITION_ANGSTROM:
        raise ValueError(
            f"an atom at {farthest:.3g} Å from the origin, more than {MAX_POSITION_ANGSTROM:g} Å"
        )
    return Molecule(source_id, tuple(symbols), places, charge, smiles)


def element_of(text: str) -> str:
    """The element that a word of a file names: ``C``, ``6``, ``C12``, ``cl``.

    Raises:
        ValueError: it names none.
    """
    if text in _SYMBOLS:
        return text
    if text.isdecimal() and 0 < int(text) < len(chemical_symbols):
        return chemical_symbols[int(text)]
    label = _LABEL.match(text)
    if label is None or label[1].capitalize() not in atomic_numbers:
        raise ValueError(f"unknown element {one_line(text, 40)}")
    return label[1].capitalize()


def once_each_molecule(candidates: Iterable[MoleculeCandidate]) -> Iterator[MoleculeCandidate]:
    """Let the first candidate of every id pass; later ones lose their molecule."""
    taken: set[str] = set()
    for candidate in candidates:
        if candidate.source_id not in taken:
            taken.add(candidate.source_id)
            yield candidate
        else:
            reason = f"{candidate.source_id} has come before; the first entry counts"
            yield MoleculeCandidate(candidate.source_id, None, reason, step=ONE_ENTRY)


def require_rdkit(kind: str) -> None:
    """Stop where RDKit, which a source needs, is not installed.

    Raises:
        EngineError: it is not; the message names the source.
    """
    try:
        import rdkit  # noqa: F401  only whether it is there
    except ImportError as error:
        raise EngineError(
            f"the source '{kind}' needs the package rdkit, which is not installed here ({error}): "
            "install envs/molecules.yaml (pip install rdkit)"
        ) from None
