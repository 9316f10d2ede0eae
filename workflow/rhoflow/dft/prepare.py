"""VASP's inputs for many structures at once, to be run anywhere and read back with ``outputs``."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rhoflow.crystal import Crystal
from rhoflow.dft.vasp import VaspSpec, prepare, prepare_atom
from rhoflow.errors import DataError

logger = logging.getLogger(__name__)

# Names become folders.
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")


def prepare_crystals(crystals: Sequence[Crystal], spec: VaspSpec, folder: Path) -> None:
    """Write INCAR, POSCAR, KPOINTS and POTCAR.spec of every crystal into a folder of its name.

    Raises:
        DataError: a name that cannot be a folder's.
    """
    for crystal in crystals:
        if not _NAME.match(crystal.material_id):
            raise DataError(
                f"material id {crystal.material_id!r} cannot name a folder; expected letters, "
                "digits, dot, underscore and hyphen"
            )
        prepare(crystal, spec, folder / crystal.material_id)
    folder.mkdir(parents=True, exist_ok=True)
    logger.info("inputs of %d crystals in %s", len(crystals), folder)


def prepare_atoms(elements: Iterable[str], spec: VaspSpec, folder: Path) -> None:
    """The same for the isolated atom of every element, the reference of cohesive energies."""
    names = sorted(set(elements))
    for element in names:
        try:
            prepare_atom(element, spec, folder / element)
        except DataError as error:
            logger.warning("no inputs of the %s atom: %s", element, error)
    folder.mkdir(parents=True, exist_ok=True)
    logger.info("inputs of %d isolated atoms in %s", len(names), folder)
