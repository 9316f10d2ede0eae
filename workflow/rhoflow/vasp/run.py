"""One finished run: its account from vasprun.xml and OUTCAR, its density from CHGCAR."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.errors import DataError
from rhoflow.vasp.folders import RunFiles, left_out
from rhoflow.vasp.outcar import read_outcar, read_potcar
from rhoflow.vasp.output import Output, expanded, merged
from rhoflow.vasp.vasprun import read_vasprun
from rhoflow.vasp.volumetric import Header, Volumetric, read_header, read_volumetric

# Positions in CHGCAR have six digits; a relaxation's steps differ by more.
SAME_PLACE_ANGSTROM = 2e-3


@dataclass(frozen=True, eq=False)
class Density:
    """A run's valence density on its grid, e/Å³.

    Attributes:
        crystal: the run's own cell.
        total: (n1, n2, n3).
        magnetisation: none, one (collinear) or three (x, y, z) fields of the same shape.
    """

    crystal: Crystal
    total: NDArray[np.float64]
    magnetisation: tuple[NDArray[np.float64], ...]

    @property
    def n_electrons(self) -> float:
        """Electrons in the cell."""
        return float(self.total.mean() * self.crystal.volume)

    @property
    def moment(self) -> float | None:
        """Magnetic moment of the cell, μB: signed if collinear, else its length."""
        parts = [float(m.mean() * self.crystal.volume) for m in self.magnetisation]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else float(np.linalg.norm(parts))

    def spins(self) -> NDArray[np.float64]:
        """(1 or 2, n1, n2, n3): the total, or spin up and down.

        In a non-collinear run up and down are along the local magnetisation, counted positive
        where it points along the run's main axis of magnetisation.
        """
        if not self.magnetisation:
            return self.total[None]
        if len(self.magnetisation) == 1:
            m = self.magnetisation[0]
        else:
            m = _along_main_axis(self.magnetisation)
        return np.stack([self.total + m, self.total - m]) / 2


def _along_main_axis(parts: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
    tensor = np.array([[np.vdot(a, b) for b in parts] for a in parts])
    axis = np.linalg.eigh(tensor)[1][:, -1]
    sign = np.where(sum(a * m for a, m in zip(axis, parts, strict=True)) < 0, -1.0, 1.0)
    return sign * np.sqrt(sum(m * m for m in parts))


def read_account(files: RunFiles) -> Output | None:
    """What vasprun.xml and OUTCAR say together; None where there is neither.

    vasprun.xml is more precise and comes first; OUTCAR knows for sure whether the density
    converged, and stands alone where vasprun.xml is damaged.

    Raises:
        DataError: neither is readable, or the run did not come to its end.
    """
    if files.problem:
        raise DataError(files.problem)
    problems: list[str] = []
    xml = _attempt(_whole_vasprun, files.vasprun, problems)
    text = _attempt(_whole_outcar, files.outcar, problems)
    if xml is None and text is None:
        if problems:
            raise DataError("; ".join(problems))
        return None
    if xml is None or text is None:
        return xml or text
    both = merged(xml, text)
    if text.electronic_converged is not None:
        both = replace(both, electronic_converged=text.electronic_converged)
    if both.relaxes and text.relaxes:
        both = replace(both, ionic_converged=text.ionic_converged)
    return both


def _whole_vasprun(path: Path) -> Output:
    output, broken = read_vasprun(path)
    if broken:
        raise DataError(broken)
    return output


def _whole_outcar(path: Path) -> Output:
    output = read_outcar(path)
    if output.version is None and output.n_electrons is None:
        raise DataError(f"{path.name} is no OUTCAR of VASP")
    if not output.finished:
        raise DataError(f"{path.name} ends before its timing: the run was killed or is going on")
    return output


def _attempt(
    read: Callable[[Path], Output], path: Path | None, problems: list[str]
) -> Output | None:
    if path is None:
        return None
    try:
        return read(path)
    except DataError as error:
        problems.append(str(error))
        return None


def symbols_beside(files: RunFiles) -> tuple[str, ...] | None:
    """Elements for a CHGCAR of VASP 4: from vasprun.xml, OUTCAR, CONTCAR, POSCAR or POTCAR."""
    readers: list[tuple[Path | None, Callable[[Path], tuple[str, ...] | None]]] = [
        (files.vasprun, lambda path: read_vasprun(path)[0].symbols),
        (files.outcar, lambda path: read_outcar(path).symbols),
        (files.contcar, lambda path: read_header(path).symbols),
        (files.poscar, lambda path: read_header(path).symbols),
    ]
    for path, read in readers:
        symbols = None
        if path is not None:
            try:
                symbols = read(path)
            except DataError:  # the next file may do
                continue
        if symbols:
            return symbols
    return None


def crystal_of(files: RunFiles) -> Crystal:
    """The run's structure: of its CHGCAR, else of vasprun.xml, OUTCAR, CONTCAR or POSCAR.

    Raises:
        DataError: no file tells it.
    """
    path = files.chgcar
    if path is not None and path.stat().st_size:
        return _with_symbols(read_header(path), files, path.name)
    problems: list[str] = []
    account = None
    try:
        account = read_account(files)
    except DataError as error:
        problems.append(str(error))
    found = account and _crystal_of_account(account, files.name)
    for other in (files.contcar, files.poscar):
        if found is None and other is not None:
            try:
                found = _with_symbols(read_header(other), files, other.name)
            except DataError as error:
                problems.append(str(error))
    if found is None:
        raise DataError("; ".join(problems) or "no file tells the run's structure")
    return found


def _crystal_of_account(account: Output, name: str) -> Crystal | None:
    symbols, lattice, coords = account.symbols, account.lattice, account.frac_coords
    if not symbols or lattice is None or coords is None or len(coords) != len(symbols):
        return None
    return Crystal(name, lattice, symbols, coords)


def _with_symbols(header: Header, files: RunFiles, name: str) -> Crystal:
    if header.symbols is None:
        beside = symbols_beside(files)
        if beside is None and files.potcar is not None:
            beside = expanded(read_potcar(files.potcar).symbols, header.counts)
        return header.crystal(name, beside)
    return header.crystal(name)


def read_density(files: RunFiles) -> Density:
    """The density of a run's CHGCAR.

    Raises:
        DataError: there is none, or it is damaged.
    """
    if files.chgcar is None:
        others = left_out(files, "chgcar")
        raise DataError(
            f"no CHGCAR: {others[0]} is left out, as the names of the folder's other files end "
            "differently; rename it CHGCAR if it belongs to them"
            if others
            else "no CHGCAR: VASP writes it with LCHARG = .TRUE."
        )
    field = read_volumetric(files.chgcar)
    crystal = _with_symbols(field.header, files, files.chgcar.name)
    for block in field.blocks:
        block /= crystal.volume
    return Density(crystal, field.blocks[0], field.blocks[1:])


def read_potential(path: Path) -> tuple[Header, NDArray[np.float64]]:
    """Structure and spin-averaged local potential (eV, for an electron) of a LOCPOT.

    Two blocks are spin up and down; of four the first is their mean.

    Raises:
        DataError: it is damaged.
    """
    field: Volumetric = read_volumetric(path)
    first = field.blocks[0]
    if len(field.blocks) == 2:
        first += field.blocks[1]
        first /= 2
    return field.header, first


def displacement(
    lattice: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> float:
    """Largest distance (Å) of two sets of positions (n_atoms, 3), periodic images aside."""
    apart = first - second
    apart = (apart - np.round(apart)) @ lattice
    return float(np.linalg.norm(apart, axis=1).max())
