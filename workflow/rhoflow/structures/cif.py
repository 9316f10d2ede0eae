"""CIF: data blocks, their tags, and the structure that a block describes.

The tags are read here because they lie beside the structure (temperature, R value, dates); the
structure itself is pymatgen's to read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pymatgen.core import Structure

from rhoflow.structures.reading import check_cell, one_line

if TYPE_CHECKING:
    from pymatgen.io.cif import CifParser

# A value that says nothing: unknown, or not applicable.
_NOTHING = ("?", ".", "")
# Bounds the search for a closing quote; longer texts stand between semicolons.
_QUOTED = 400
_TOKEN = re.compile(
    rf"""(?P<text>^;[\s\S]*?^;)            # text over several lines, between semicolons
    | (?P<comment>\#[^\n]*)
    | '(?P<single>[^\n]{{0,{_QUOTED}}}?)'(?=\s|\Z)
    | "(?P<double>[^\n]{{0,{_QUOTED}}}?)"(?=\s|\Z)
    | (?P<plain>\S+)""",
    flags=re.MULTILINE | re.VERBOSE,
)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(?:\(\d*\))?\Z")
_KEYWORD = re.compile(r"data_|loop_\Z", flags=re.IGNORECASE)
_OVERFULL = re.compile(r"Occupancy ([\d.]+) exceeded tolerance")


class CifBlock:
    """A data block.

    Attributes:
        text: the whole block.
        name: what follows ``data_``.
        tags: tag in lower case -> its values, several where a loop lists them.
    """

    def __init__(self, text: str) -> None:
        words = [(word, quoted) for _, word, quoted in _words(text)]
        self.text = text
        self.name = words[0][0][5:]
        self.tags: Mapping[str, Sequence[str]] = _tags(words[1:])

    def stated(self, *tags: str) -> list[str]:
        """Values of the first of several tags (lower case) that says anything at all."""
        for tag in tags:
            values = [v for v in self.tags.get(tag, ()) if v.strip() not in _NOTHING]
            if values:
                return values
        return []

    def number(self, *tags: str) -> float | None:
        """The first number that one of several tags states, without its uncertainty."""
        for tag in tags:
            for value in self.stated(tag):
                number = number_of(value)
                if number is not None:
                    return number
        return None


def number_of(value: str) -> float | None:
    """A CIF number without the uncertainty in parentheses; None if it is none."""
    match = _NUMBER.match(value.strip())
    return float(match[1]) if match else None


def split_blocks(text: str) -> list[str]:
    """The text of every data block that lists atoms, in order.

    Journals put text and bibliography into blocks of their own, without atoms.
    """
    starts = [
        start for start, word, quoted in _words(text) if not quoted and word[:5].lower() == "data_"
    ]
    parts = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    return [part for part in parts if "_atom_site_" in part.lower()]


def blocks_of_file(path: Path, source_id: str) -> list[tuple[str, str]]:
    """An id and the text of every data block with atoms that a CIF file holds.

    The id is ``source_id``, followed by ``#number-name`` where there are several blocks.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it holds no atoms.
    """
    texts = split_blocks(path.read_text(encoding="utf-8-sig", errors="replace"))
    if not texts:
        raise ValueError("CIF without atom sites in any data block")
    if len(texts) == 1:
        return [(source_id, texts[0])]
    names = [one_line(text.split(maxsplit=1)[0][len("data_") :], 60) for text in texts]
    return [
        (f"{source_id}#{number}-{name or number}", text)
        for number, (name, text) in enumerate(zip(names, texts, strict=True), start=1)
    ]


def _words(text: str) -> Iterator[tuple[int, str, bool]]:
    """Position, word, and whether it was quoted (and so is no keyword)."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "comment" or kind is None:
            continue
        word = match[kind]
        yield match.start(), word[1:-1].strip() if kind == "text" else word, kind != "plain"


def _tags(words: Sequence[tuple[str, bool]]) -> dict[str, list[str]]:
    """Values dealt out to their tags: a loop's in turn to all of its header, others to one."""
    found: dict[str, list[str]] = {}
    columns: list[str] = []
    in_loop, dealt = False, 0
    for word, quoted in words:
        keyword = "" if quoted else word.lower()
        if keyword == "loop_":
            columns, in_loop, dealt = [], True, 0
        elif keyword.startswith("_"):
            if dealt or not in_loop:
                columns, in_loop = [], False
            columns.append(keyword)
            dealt = 0
        elif columns:
            found.setdefault(columns[dealt % len(columns)], []).append(word)
            dealt += 1
    return found


def structure_of(block: CifBlock) -> Structure:
    """The structure of a data block, in the cell that it states.

    Raises:
        ValueError, KeyError and others of ``reading.PARSE_ERRORS``: it states none, or atoms lack
            coordinates, or atom sites and formula contradict each other.
    """
    _check_cell(block)
    from pymatgen.io.cif import CifParser  # not with the config: it imports much

    parser = CifParser.from_str(_plain_keywords(block.text), check_cif=False)
    try:
        structure = parser.parse_structures(primitive=False, on_error="raise")[0]
    except ValueError as error:
        text = re.sub(r"^No structure parsed for section \d+ in CIF\.\s*", "", str(error))
        if overfull := _OVERFULL.search(text):
            text = f"atoms in one place: the occupancies of a site add up to {overfull[1]}"
        raise ValueError(text) from error
    if any("Defaulting to P1" in text for text in parser.warnings):
        raise ValueError("CIF names neither symmetry operations nor a space group")
    if "implicit_hydrogens" in structure.site_properties:
        raise ValueError("hydrogen atoms without coordinates")
    if structure.is_ordered:
        _check_composition(parser, structure)
    return structure


def _plain_keywords(text: str) -> str:
    """Keywords as pymatgen knows them: in lower case, and none within a text.

    Titles may hold ``data_``, which pymatgen would take for the start of another block.
    """

    def plain(match: re.Match[str]) -> str:
        if match["text"]:
            return re.sub("data_", "data-", match[0], flags=re.IGNORECASE)
        keyword = _KEYWORD.match(match["plain"] or "")
        return keyword[0].lower() + match[0][keyword.end() :] if keyword else match[0]

    return _TOKEN.sub(plain, text)


def _check_cell(block: CifBlock) -> None:
    """Refuse edges and angles that pymatgen would take for those of another cell."""
    edges = [block.number(f"_cell_length_{name}") for name in "abc"]
    angles = [block.number(f"_cell_angle_{name}") for name in ("alpha", "beta", "gamma")]
    check_cell(
        [1.0 if edge is None else edge for edge in edges],
        [90.0 if angle is None else angle for angle in angles],
    )


def _check_composition(parser: "CifParser", structure: Structure) -> None:
    """Refuse a structure that lacks atoms of the file's own formula (hydrogens, usually)."""
    problem = parser.check(structure) or ""
    if problem.startswith("Missing elements"):
        elements = problem.removeprefix("Missing elements ").split(" from ")[0]
        raise ValueError(f"formula and atom sites of the CIF disagree about {elements}")
    if problem.startswith("Incorrect stoichiometry"):
        raise ValueError(
            f"atom sites give {structure.composition.reduced_formula}, which is not the "
            "formula that the CIF states"
        )
