"""QM9's own file format, and the data set itself, fetched where it is not there yet.

Ramakrishnan et al., Sci. Data 1, 140022 (2014): 133,885 molecules of up to nine C, N, O and F
atoms, B3LYP/6-31G(2df,p). A file is an XYZ file whose second line holds the properties, with
Mulliken charges in a fifth column, then lines of frequencies, SMILES and InChI. Numbers may be
written as ``2.1997*^-6``.
"""

import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ase.units import Bohr, Ha
from pydantic import Field

from rhoflow.errors import DataError
from rhoflow.spec import Spec
from rhoflow.structures.folder import user_path
from rhoflow.structures.molecule_candidates import (
    MoleculeCandidate,
    Reading,
    attempt_molecule,
    build_molecule,
    element_of,
)
from rhoflow.structures.molecule_fetch import fetched
from rhoflow.structures.reading import one_line

CONSISTENT = "consistent geometry"
"""The step at which the molecules fall whose geometry no longer has the bonds they started with."""

# U0 of the free atoms in Hartree, from the data set's atomref.txt.
ATOMS_U0_HARTREE = {
    "H": -0.500273,
    "C": -37.846772,
    "N": -54.583861,
    "O": -75.064579,
    "F": -99.718730,
}
# What follows "gdb" and the number in the second line.
_PROPERTIES = (
    "A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv",
)  # fmt: skip
_ARCHIVE, _LIST = "qm9_molecules", "qm9_uncharacterized"
_MAX_MEMBER_BYTES = 100_000
_MEMBER = re.compile(r"(?:.*/)?(dsgdb9nsd_\d{6})\.xyz\Z")
# Lines before and after the entries in QM9's list of uncharacterized molecules.
_HEADER_LINES, _FOOTER_LINES = 9, 1


class QM9Source(Spec):
    """The QM9 data set, from the folder of what has been fetched or from its publisher."""

    kind: Literal["qm9"] = Field(default="qm9", description="the 133,885 molecules of QM9")
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    folder: str = Field(
        default="downloads",
        description="folder of what has been fetched (86 MB); what is missing there is fetched "
        "from the address in resources/registry.csv, and its checksum is compared",
    )
    drop_uncharacterized: bool = Field(
        default=True,
        description="whether the 3,054 molecules fall whose geometry failed the consistency check "
        "of the data set's authors",
    )
    timeout_s: float = Field(
        default=600.0, gt=0, description="longest time for fetching one file, in s"
    )


def qm9_steps(spec: QM9Source) -> dict[str, str]:
    """The source's own rows of the funnel, with what passes each."""
    if not spec.drop_uncharacterized:
        return {}
    return {CONSISTENT: "relaxed to the bonds that it started with"}


def read_qm9(spec: QM9Source, registry: Path) -> Iterator[MoleculeCandidate]:
    """Yield the molecules of QM9 in the order of their numbers; ``source_id`` is the file's name.

    Args:
        spec: where what is fetched is kept.
        registry: the table of what a user fetches (``resources/registry.csv``).

    Raises:
        ConfigError: the registry lacks an entry.
        DataError: a file cannot be fetched, or is another one than the registry says.
    """
    folder = user_path(spec.folder, "qm9")
    dropped: frozenset[int] = frozenset()
    if spec.drop_uncharacterized:
        listed = fetched(_LIST, registry, folder, timeout_s=spec.timeout_s)
        dropped = uncharacterized(listed.read_text(encoding="utf-8", errors="replace"))
    archive = fetched(_ARCHIVE, registry, folder, timeout_s=spec.timeout_s)
    return read_archive(archive, dropped)


def read_archive(path: Path, dropped: frozenset[int]) -> Iterator[MoleculeCandidate]:
    """The molecules of a tar archive of QM9 files; those whose numbers are dropped fall.

    Nothing is unpacked to the disk, and no name in the archive becomes a path.

    Raises:
        DataError: the archive is damaged.
    """
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = _MEMBER.match(member.name)
                stream = archive.extractfile(member) if name and member.isfile() else None
                if name is None or stream is None:
                    continue
                source_id = name[1]
                if int(source_id[-6:]) in dropped:
                    reason = "its geometry failed the consistency check of QM9's authors"
                    yield MoleculeCandidate(source_id, None, reason, CONSISTENT)
                    continue
                content = stream.read(_MAX_MEMBER_BYTES).decode("utf-8", errors="replace")
                lines = content.splitlines()
                yield attempt_molecule(source_id, qm9_molecule, source_id, lines)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({type(error).__name__}: {one_line(error, 200)}); delete it, "
            "and it is fetched again"
        ) from error


def uncharacterized(text: str) -> frozenset[int]:
    """Numbers of the molecules in QM9's list of those that failed the consistency check.

    Raises:
        DataError: an entry does not begin with a number.
    """
    entries = text.splitlines()[_HEADER_LINES:-_FOOTER_LINES]
    numbers = [entry.split(maxsplit=1)[0] if entry.strip() else "" for entry in entries]
    wrong = [number for number in numbers if not number.isdecimal()]
    if wrong:
        raise DataError(
            f"QM9's list of uncharacterized molecules: '{one_line(wrong[0], 40)}' where the number "
            "of a molecule is expected; it is another file than the one known here"
        )
    return frozenset(map(int, numbers))


def is_qm9(comment: str) -> bool:
    """Whether the second line of an XYZ file is one of QM9's."""
    words = comment.split()
    return len(words) == len(_PROPERTIES) + 2 and words[0] == "gdb" and words[1].isdecimal()


def number(word: str) -> float:
    """A number as QM9 writes it.

    Raises:
        ValueError: it is none.
    """
    try:
        return float(word.replace("*^", "e"))
    except ValueError:
        raise ValueError(f"'{one_line(word, 40)}' is no number") from None


def qm9_molecule(source_id: str, lines: Sequence[str]) -> Reading:
    """The molecule of one QM9 file and its published properties.

    HOMO and LUMO are in eV, the polarizability in Å³; the atomization energy is the sum of the
    atoms' U0 minus that of the molecule, in eV, zero-point energy included.

    Args:
        source_id: its name.
        lines: of the file, from the number of atoms to the InChI.

    Raises:
        ValueError: the lines hold no such molecule.
    """
    n_atoms = int(lines[0])
    if not is_qm9(lines[1]):
        raise ValueError("the second line holds no properties of QM9")
    if len(lines) < n_atoms + 4:
        raise ValueError(f"{len(lines)} lines, expected {n_atoms + 5} for {n_atoms} atoms")
    rows = [line.split() for line in lines[2 : n_atoms + 2]]
    symbols = [element_of(row[0]) for row in rows]
    positions = [[number(word) for word in row[1:4]] for row in rows]
    # The SMILES of the relaxed geometry comes after that of the one it started from.
    smiles = lines[n_atoms + 3].split()
    told = dict(zip(_PROPERTIES, map(number, lines[1].split()[2:]), strict=True))
    known = {
        "homo_ev": told["homo"] * Ha,
        "lumo_ev": told["lumo"] * Ha,
        "polarizability_angstrom3": told["alpha"] * Bohr**3,
    }
    if all(symbol in ATOMS_U0_HARTREE for symbol in symbols):
        atoms = sum(ATOMS_U0_HARTREE[symbol] for symbol in symbols)
        known["atomization_energy_ev"] = (atoms - told["U0"]) * Ha
    molecule = build_molecule(source_id, symbols, positions, smiles=smiles[-1] if smiles else None)
    return molecule, known
