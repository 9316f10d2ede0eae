"""A candidate: what every source hands to the selection."""

from dataclasses import dataclass

from pymatgen.core import Structure


@dataclass(frozen=True)
class Candidate:
    """A structure that may enter a dataset, or the reason why it could not be read.

    Attributes:
        source_id: name within its source (a path, a database id), unique there.
        structure: the crystal as its source gives it, in any cell; None if unreadable.
        reason: one line saying why ``structure`` is None; empty otherwise.
        spacegroup: number of the space group, if the source warrants that ``structure`` is a
            primitive cell with exactly symmetric positions; None if that is to be found out.
    """

    source_id: str
    structure: Structure | None
    reason: str = ""
    spacegroup: int | None = None
