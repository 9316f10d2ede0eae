"""Computed oxides against what is known of them, and stored energies against their densities.

The known values are a table that ships (``KNOWN``): lattice constants of experiment, from which
the volume follows here, bulk moduli of experiment, and band gaps of PBE from the literature.
"""

import logging
from collections.abc import Hashable, Mapping
from math import gcd
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from ase import Atoms
from ase.formula import Formula
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from rhoflow.density.spectrum import Spectrum, hartree_energy
from rhoflow.errors import DataError

logger = logging.getLogger(__name__)

KNOWN = pa.schema(
    [
        pa.field("formula", pa.string(), nullable=False),
        pa.field("spacegroup_number", pa.int32(), nullable=False),
        pa.field("structure", pa.string()),
        pa.field("cation", pa.string()),
        pa.field("coordination", pa.int32()),
        pa.field("formula_units", pa.int32()),
        *(pa.field(f"{axis}_angstrom", pa.float64()) for axis in "abc"),
        *(pa.field(f"{angle}_deg", pa.float64()) for angle in ("alpha", "beta", "gamma")),
        pa.field("bulk_modulus_gpa", pa.float64()),
        pa.field("band_gap_pbe_ev", pa.float64()),
        pa.field("cell_source", pa.string()),
        pa.field("bulk_modulus_source", pa.string()),
        pa.field("band_gap_source", pa.string()),
    ]
)

# Target column: the known value beside it, and its unit.
QUANTITIES = {
    "volume_angstrom3_per_atom": ("volume_angstrom3_per_atom", "Å³/atom"),
    "band_gap_ev": ("band_gap_pbe_ev", "eV"),
    "bulk_modulus_gpa": ("bulk_modulus_gpa", "GPa"),
}

COLUMNS = [
    "material_id",
    "formula",
    "structure",
    "quantity",
    "computed",
    "known",
    "deviation",
    "relative_deviation",
    "unit",
]

# Space groups that are mirror images: left and right quartz are one oxide. The lower number stands
# for both.
_MIRRORED = {78: 76, 95: 91, 96: 92, 145: 144, 153: 151, 154: 152, 170: 169, 172: 171, 179: 178,
             181: 180, 213: 212}  # fmt: skip

# Oxygen up to this many times the shortest distance belongs to the first shell; no farther than
# this many Å.
_SHELL, _REACH_ANGSTROM = 1.25, 4.0


def compare_with_known(
    structures: pd.DataFrame, targets: pd.DataFrame, known: pd.DataFrame
) -> pd.DataFrame:
    """Every computed value that the table of known oxides has a value for.

    Oxides are matched by reduced composition and space group, mirror images alike; where the
    table gives the coordination number of a cation, each such atom must have it too, since
    different structures share a space group (delafossite and α-NaFeO₂).

    Args:
        structures: ``tables.STRUCTURES``, the cells as computed.
        targets: ``tables.TARGET_TABLE``; null where a calculation failed.
        known: ``KNOWN``.

    Returns:
        ``COLUMNS``, one row a material and quantity, in the order of ``known``: computed and
        known value, deviation = computed - known, all in ``unit``, and deviation / known (no
        unit, NaN where the known value is zero).

    Raises:
        DataError: a row of ``known`` is no oxide or has no cell.
    """
    by_oxide: dict[Hashable, list[dict[str, Any]]] = {}
    for row in structures.to_dict("records"):
        key = _key(pd.Series(row["symbols"]).value_counts().to_dict(), row["spacegroup_number"])
        by_oxide.setdefault(key, []).append({str(k): v for k, v in row.items()})
    values = targets.set_index("material_id")
    rows = []
    for entry in with_volumes(known).to_dict("records"):
        found = by_oxide.get(_key(_composition(entry["formula"]), entry["spacegroup_number"]), [])
        for structure in found:
            if structure["material_id"] in values.index and _same_shell(structure, entry):
                rows += _rows(structure, values.loc[structure["material_id"]], entry)
    logger.info("%d values of %d known oxides compared", len(rows), len(known))
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    structure: Mapping[str, Any], computed: "pd.Series[Any]", entry: Mapping[Hashable, Any]
) -> list[dict[str, Any]]:
    """Rows of one material, for each quantity that both sides have."""
    rows = []
    for quantity, (column, unit) in QUANTITIES.items():
        value, right = float(computed[quantity]), float(entry[column])
        if not np.isfinite([value, right]).all():
            continue
        rows.append(
            {
                "material_id": structure["material_id"],
                "formula": entry["formula"],
                "structure": entry["structure"],
                "quantity": quantity,
                "computed": value,
                "known": right,
                "deviation": value - right,
                "relative_deviation": (value - right) / right if right else np.nan,
                "unit": unit,
            }
        )
    return rows


def with_volumes(known: pd.DataFrame) -> pd.DataFrame:
    """The known oxides with ``volume_angstrom3_per_atom`` (Å³) from their lattice constants.

    Raises:
        DataError: a formula cannot be read, or lattice constants and formula units give no volume.
    """
    n_atoms = [sum(_composition(f).values()) for f in known["formula"]]
    lengths = known[["a_angstrom", "b_angstrom", "c_angstrom"]].to_numpy(dtype=np.float64)
    angles = known[["alpha_deg", "beta_deg", "gamma_deg"]].to_numpy(dtype=np.float64)
    cos = np.cos(np.radians(angles))  # (n, 3)
    gram = 1 - (cos**2).sum(axis=1) + 2 * cos.prod(axis=1)
    atoms = known["formula_units"].to_numpy(dtype=np.float64) * np.array(n_atoms, dtype=np.float64)
    usable = (lengths > 0).all(axis=1) & (gram > 0) & (atoms > 0)
    usable &= ((angles > 0) & (angles < 180)).all(axis=1)
    if not usable.all():
        first = known[~usable].iloc[0]
        raise DataError(
            f"known oxides: {first['formula']} ({first['structure']}) has no volume; expected "
            "positive a, b, c in Å, angles in degrees that make a cell, and formula_units; "
            "correct its row"
        )
    volumes = lengths.prod(axis=1) * np.sqrt(gram) / atoms
    return known.assign(volume_angstrom3_per_atom=volumes)


def _composition(formula: str) -> dict[str, int]:
    try:
        found: dict[str, int] = Formula(formula).count()
    except (ValueError, TypeError) as error:
        raise DataError(
            f"known oxides: formula {formula!r} cannot be read; expected one like MgAl2O4"
        ) from error
    return found


def _key(composition: Mapping[str, int], spacegroup: int) -> Hashable:
    """What names an oxide: its reduced composition and its space group."""
    return reduced(composition), _MIRRORED.get(int(spacegroup), int(spacegroup))


def reduced(composition: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Elements in alphabetical order, with the smallest whole numbers."""
    divisor = gcd(*composition.values())
    return tuple((e, int(n) // divisor) for e, n in sorted(composition.items()))


def _same_shell(structure: Mapping[str, Any], entry: Mapping[Hashable, Any]) -> bool:
    """Whether all atoms of the entry's cation have its coordination number; yes if it has none."""
    if pd.isna(entry["coordination"]):
        return True
    numbers = coordination(structure, str(entry["cation"]))
    return bool(len(numbers)) and bool((numbers == int(entry["coordination"])).all())


def coordination(structure: Mapping[str, Any], cation: str) -> NDArray[np.int64]:
    """(n,) number of oxygen neighbours of each atom of an element.

    Neighbours are those up to 1.25 times the shortest distance, which needs no radii.

    Args:
        structure: a row of ``tables.STRUCTURES``.
        cation: element symbol.
    """
    atoms = Atoms(
        symbols=list(structure["symbols"]),
        scaled_positions=np.reshape(structure["frac_coords"], (-1, 3)),
        cell=np.reshape(structure["lattice_angstrom"], (3, 3)),
        pbc=True,
    )
    first, distance = neighbor_list("id", atoms, {(cation, "O"): _REACH_ANGSTROM})
    numbers = []
    for atom in np.flatnonzero(np.array(atoms.get_chemical_symbols()) == cation):
        shell = distance[first == atom]
        numbers.append(int((shell <= _SHELL * shell.min()).sum()) if len(shell) else 0)
    return np.array(numbers, dtype=np.int64)


def hartree_check(targets: pd.DataFrame, spectra: Mapping[str, Spectrum]) -> pd.DataFrame:
    """The Hartree energy of each stored density against the energy in its record.

    The spectrum ends at g_store, so its energy is the lower one, by what lies beyond.

    Args:
        targets: ``tables.TARGET_TABLE``.
        spectra: densities by material id.

    Returns:
        Columns material_id, n_valence_electrons (of the cell), record and from_spectrum (eV/atom),
        relative_difference = from_spectrum / record - 1 (no unit), for the materials that have
        both, in the order of ``targets``.
    """
    rows = []
    energies = zip(targets["material_id"], targets["hartree_energy_ev_per_atom"], strict=True)
    for name, record in energies:
        if name not in spectra or not np.isfinite(record):
            continue
        spectrum = spectra[name]
        energy = hartree_energy(spectrum) / spectrum.n_atoms
        rows.append((name, spectrum.n_electrons, float(record), energy, energy / record - 1))
    columns = ["n_valence_electrons", "record", "from_spectrum", "relative_difference"]
    return pd.DataFrame(rows, columns=["material_id", *columns])
