"""A candidate: what every source hands to the selection."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pymatgen.core import Structure

ONE_ENTRY = "one entry of each id"
"""The step at which a database entry falls whose id has come before."""


@dataclass(frozen=True)
class Candidate:
    """A structure that may enter a dataset, or the reason why it may not.

    Attributes:
        source_id: name within its source (a path, a database id), unique there.
        structure: the crystal as its source gives it, in any cell; None if it is unreadable or
            falls at a filter of the source.
        reason: one line saying why ``structure`` is None; empty otherwise.
        spacegroup: number of the space group, if the source warrants that ``structure`` is a
            primitive cell with exactly symmetric positions; None if that is to be found out.
        step: row of the funnel at which it falls, one of those that the source declares; empty
            for a structure that cannot be read, or that stays.
        origin: file or folder that it came from, for engines that take finished calculations;
            empty where that means nothing.
    """

    source_id: str
    structure: Structure | None
    reason: str = ""
    spacegroup: int | None = None
    step: str = ""
    origin: str = ""


def once_each(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Let the first candidate of every id pass; later ones lose their structure.

    A source whose ids are somebody else's calls this: what a database or a table repeats cannot be
    told apart afterwards.
    """
    taken: set[str] = set()
    for candidate in candidates:
        if candidate.source_id not in taken:
            taken.add(candidate.source_id)
            yield candidate
        else:
            reason = f"{candidate.source_id} has come before; the first entry counts"
            yield Candidate(candidate.source_id, None, reason, step=ONE_ENTRY)
