"""INCAR, POSCAR and KPOINTS of a crystal, from a preset that is data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from ase.data import atomic_numbers, ground_state_magnetic_moments
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import reciprocal_lattice
from rhoflow.errors import DataError

if TYPE_CHECKING:
    from rhoflow.dft.vasp import VaspSpec

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class Preset:
    """Settings of VASP that go together.

    Attributes:
        functional: as ``PBE``.
        title: what the title of every POTCAR begins with.
        kpoint_density: k-points per 1/Å.
        incar: tags and values.
        potcar_symbols: POTCAR of an element where not the bare symbol.
    """

    functional: str
    title: str
    kpoint_density: float
    incar: Mapping[str, Any]
    potcar_symbols: Mapping[str, str]


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    return sorted(p.stem.removeprefix("vasp_") for p in PRESETS.glob("vasp_*.yaml"))


@cache
def load_preset(name: str) -> Preset:
    """A preset by its name."""
    return Preset(**yaml.safe_load((PRESETS / f"vasp_{name}.yaml").read_text(encoding="utf-8")))


@dataclass(frozen=True, eq=False)
class Inputs:
    """The text of a run's files, and how its atoms are ordered.

    Attributes:
        files: name to text, without POTCAR.
        order: (n_atoms,) index in the crystal of each atom of POSCAR.
        potcar_symbols: one a group of POSCAR.
    """

    files: dict[str, str]
    order: NDArray[np.int64]
    potcar_symbols: tuple[str, ...]


def crystal_inputs(crystal: Crystal, spec: "VaspSpec") -> Inputs:
    """Inputs of a crystal's self-consistent run."""
    preset = load_preset(spec.preset)
    order = element_order(crystal.symbols)
    symbols = [crystal.symbols[i] for i in order]
    incar: dict[str, Any] = {"SYSTEM": crystal.material_id, **preset.incar, **spec.incar}
    if spec.spin_polarised:
        incar |= {"ISPIN": 2, "MAGMOM": _moments([spec.initial_moments.get(s, 0) for s in symbols])}
    else:
        incar["ISPIN"] = 1
    mesh = kpoint_mesh(crystal.lattice, spec.kpoint_density or preset.kpoint_density)
    return _inputs(crystal, order, incar, mesh, spec)


def atom_inputs(element: str, spec: "VaspSpec") -> Inputs:
    """Inputs of the isolated atom with Hund's moment.

    The edges of its box differ: in a cube the open shell would be filled with fractions.

    Raises:
        DataError: its POTCAR keeps f electrons in the core, so Hund's moment is not the atom's.
    """
    preset = load_preset(spec.preset)
    if potcar_symbol(element, spec).endswith(("_2", "_3")):
        raise DataError(
            f"POTCAR {potcar_symbol(element, spec)} keeps f electrons in the core, so that the "
            f"moment of the {element} atom is not known: give atomic_energies_ev"
        )
    box = np.diag([spec.box_angstrom + 0.1 * i for i in range(3)])
    atom = Crystal(f"{element} atom", box, (element,), np.full((1, 3), 0.5))
    moment = float(ground_state_magnetic_moments[atomic_numbers[element]])
    incar: dict[str, Any] = {"SYSTEM": atom.material_id, **preset.incar, **spec.incar}
    incar |= {"ISPIN": 2, "MAGMOM": _moments([moment]), "ISYM": 0, "ISMEAR": 0, "SIGMA": 0.01}
    incar |= {"LVHAR": False, "NUPDOWN": moment}
    return _inputs(atom, np.zeros(1, dtype=np.int64), incar, (1, 1, 1), spec)


def _inputs(
    crystal: Crystal,
    order: NDArray[np.int64],
    incar: Mapping[str, Any],
    mesh: tuple[int, int, int],
    spec: "VaspSpec",
) -> Inputs:
    groups = [symbol for symbol, _ in groupby(crystal.symbols[i] for i in order)]
    names = tuple(potcar_symbol(symbol, spec) for symbol in groups)
    files = {
        "INCAR": incar_text(incar),
        "POSCAR": poscar_text(crystal, order),
        "KPOINTS": kpoints_text(mesh),
        "POTCAR.spec": "".join(f"{name}\n" for name in names),
    }
    return Inputs(files, order, names)


def potcar_symbol(element: str, spec: "VaspSpec") -> str:
    """Name of an element's POTCAR: the spec's, the preset's, or the bare symbol."""
    preset = load_preset(spec.preset)
    return spec.potcar_symbols.get(element) or preset.potcar_symbols.get(element, element)


def element_order(symbols: Sequence[str]) -> NDArray[np.int64]:
    """(n_atoms,) indices that bring equal elements together, elements as they first occur."""
    first = {symbol: place for place, symbol in reversed(list(enumerate(symbols)))}
    return np.argsort([first[s] for s in symbols], kind="stable")


def kpoint_mesh(lattice: NDArray[np.float64], density: float) -> tuple[int, int, int]:
    """Even Γ-centred mesh with at least ``density`` k-points per 1/Å along each axis."""
    lengths = np.linalg.norm(reciprocal_lattice(lattice), axis=1)  # 1/Å
    n1, n2, n3 = (2 * max(1, int(np.ceil(density * b / 2 - 1e-9))) for b in lengths)
    return n1, n2, n3


def incar_text(tags: Mapping[str, Any]) -> str:
    """An INCAR, one tag a line in alphabetical order."""
    return "".join(f"{tag} = {_value(value)}\n" for tag, value in sorted(tags.items()))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    if isinstance(value, list | tuple):
        return " ".join(_value(v) for v in value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _moments(moments: Sequence[float]) -> str:
    """MAGMOM with repeated values as ``4*0``."""
    runs = [(value, len(list(group))) for value, group in groupby(moments)]
    return " ".join(f"{n}*{v:g}" if n > 1 else f"{v:g}" for v, n in runs)


def poscar_text(crystal: Crystal, order: NDArray[np.int64]) -> str:
    """A POSCAR of VASP 5 with direct coordinates.

    VASP refuses a left-handed cell, so that of the mirror image is written: fractional
    coordinates, energies and Fourier coefficients on hkl stay the same.
    """
    lattice = crystal.lattice if np.linalg.det(crystal.lattice) > 0 else -crystal.lattice
    groups = [(s, len(list(g))) for s, g in groupby(crystal.symbols[i] for i in order)]
    rows = [*_rows(lattice)]
    return "\n".join(
        [
            crystal.material_id,
            "1.0",
            *rows,
            " ".join(symbol for symbol, _ in groups),
            " ".join(str(count) for _, count in groups),
            "Direct",
            *_rows(crystal.frac_coords[order]),
            "",
        ]
    )


def _rows(array: NDArray[np.float64]) -> list[str]:
    return [" ".join(f"{x:20.16f}" for x in row) for row in array]


def kpoints_text(mesh: tuple[int, int, int]) -> str:
    """A KPOINTS file of an automatic mesh that holds Γ."""
    return f"Gamma-centred mesh\n0\nGamma\n{mesh[0]} {mesh[1]} {mesh[2]}\n0 0 0\n"
