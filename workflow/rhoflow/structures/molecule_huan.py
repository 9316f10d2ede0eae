"""The polymer data set of Huan et al., Sci. Data 3, 160012 (2016), from files of the user's.

1,073 CIF files of periodic polymers and related crystals (Dryad, doi 10.5061/dryad.5ht3n, CC0),
each with a block of properties. Public accounts of that block differ: ``Atomization energy
(eV/atom): -6.46371E+00`` is one, ``Atomization_energy_(eV/atom) -5.47556E+00`` another, as comments
or as tags; any of these is read. No SHA-256 is published, so nothing is fetched.

A molecule here is what one cell holds, made whole along its bonds: as in Tsubaki and Mizoguchi, J.
Chem. Theory Comput. 17, 7814 (2021), a polymer stands for itself by its repeat unit, whose bonds to
the next unit are cut.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray
from pydantic import Field
from pymatgen.core import Structure

from rhoflow.molecule import Molecule
from rhoflow.spec import Spec
from rhoflow.structures.cif import CifBlock, split_blocks, structure_of
from rhoflow.structures.folder import files_in, fingerprint_of, names_in, problem_of_file, user_path
from rhoflow.structures.molecule_candidates import (
    MoleculeCandidate,
    Reading,
    attempt_molecule,
    build_molecule,
)
from rhoflow.structures.reading import check

_KIND = "huan_polymers"
_MAX_FILE_MB = 5.0
# Two atoms are bonded up to this multiple of the sum of their covalent radii.
_BOND = 1.25
_ATOMIZATION = re.compile(
    r"^[#\s_]*atomization[ _]energy[ _]*\(eV/atom\)\s*:?\s*([+-]?\d+\.?\d*(?:E[+-]?\d+)?)\s*$",
    flags=re.IGNORECASE | re.MULTILINE,
)


class HuanSource(Spec):
    """The 1,073 polymers and related crystals of Huan et al. (2016), as cells made whole."""

    kind: Literal["huan_polymers"] = Field(
        default="huan_polymers", description="the polymer data set of Huan et al. (2016)"
    )
    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    path: str = Field(
        description="folder with the unpacked *.cif files of doi 10.5061/dryad.5ht3n, which are to "
        "be fetched by hand"
    )


def huan_fingerprint(spec: HuanSource) -> str:
    """SHA-256 of the names, sizes and times of the files that ``read_huan`` reads.

    Raises:
        ConfigError: as ``read_huan``.
    """
    return fingerprint_of(_files(spec), user_path(spec.path, _KIND))


def read_huan(spec: HuanSource) -> Iterator[MoleculeCandidate]:
    """Yield the cells of the data set in the order of the files; ``source_id`` is the file's name.

    The atomization energy is known: minus that of the file, times the number of atoms.

    Raises:
        ConfigError: the folder is missing or holds no CIF file.
    """
    paths = _files(spec)
    return _candidates(paths, names_in(paths, user_path(spec.path, _KIND)))


def _files(spec: HuanSource) -> list[Path]:
    return files_in(
        spec.path,
        lambda path: path.suffix.lower() == ".cif",
        kind=_KIND,
        expected="the *.cif files of doi 10.5061/dryad.5ht3n",
    )


def _candidates(paths: Sequence[Path], names: Sequence[str]) -> Iterator[MoleculeCandidate]:
    for path, name in zip(paths, names, strict=True):
        source_id = name.rpartition(".")[0]
        problem = problem_of_file(path, _MAX_FILE_MB)
        if problem:
            yield MoleculeCandidate(source_id, None, problem)
        else:
            yield attempt_molecule(source_id, _molecule_of_file, source_id, path)


def _molecule_of_file(source_id: str, path: Path) -> Reading:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    blocks = split_blocks(text)
    if len(blocks) != 1:
        raise ValueError(f"{len(blocks)} data blocks with atoms, expected 1")
    structure = structure_of(CifBlock(blocks[0]))
    check(structure)
    if not structure.is_ordered:
        raise ValueError("partial occupancy")
    return whole_cell(source_id, structure), _known(text, len(structure))


def _known(text: str, n_atoms: int) -> Mapping[str, float]:
    stated = _ATOMIZATION.search(text)
    return {} if stated is None else {"atomization_energy_ev": -float(stated[1]) * n_atoms}


def whole_cell(source_id: str, structure: Structure) -> Molecule:
    """The atoms of a cell as a molecule: pieces that a cell's faces cut are put together."""
    numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
    positions = structure.cart_coords + _shifts(structure, numbers) @ structure.lattice.matrix
    return build_molecule(source_id, [site.specie.symbol for site in structure], positions)


def _shifts(structure: Structure, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_atoms, 3) cells by which each atom moves so as to lie beside those it is bonded to."""
    radii = covalent_radii[numbers]
    longest = 2 * _BOND * float(radii.max())
    first, second, images, distances = structure.get_neighbor_list(longest)
    bonded = distances <= _BOND * (radii[first] + radii[second])
    bonds: dict[int, list[tuple[int, NDArray[np.float64]]]] = {i: [] for i in range(len(numbers))}
    for i, j, image in zip(first[bonded], second[bonded], images[bonded], strict=True):
        bonds[int(i)].append((int(j), image))
    shifts = np.full((len(numbers), 3), np.nan)
    for start in range(len(numbers)):
        if not np.isnan(shifts[start, 0]):
            continue
        shifts[start] = 0
        reached = deque([start])
        while reached:
            atom = reached.popleft()
            for other, image in bonds[atom]:
                if np.isnan(shifts[other, 0]):
                    shifts[other] = shifts[atom] + image
                    reached.append(other)
    return shifts
