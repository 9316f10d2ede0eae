"""Tables of molecules: from objects to rows and back."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from rhoflow import tables
from rhoflow.molecule import Molecule


def molecules_to_table(
    molecules: Sequence[Molecule],
    *,
    source: str,
    source_ids: Iterable[str],
    known: Sequence[Mapping[str, float]],
) -> pd.DataFrame:
    """Rows of ``tables.MOLECULES``, one a molecule, in the given order.

    Args:
        molecules: any.
        source: kind of their source.
        source_ids: their names there.
        known: of each, those of ``tables.KNOWN_PROPERTIES`` that the source tells.
    """
    columns = {
        "material_id": [m.material_id for m in molecules],
        "formula": [m.formula for m in molecules],
        "n_atoms": [m.n_atoms for m in molecules],
        "symbols": [list(m.symbols) for m in molecules],
        "positions_angstrom": [np.ravel(m.positions) for m in molecules],
        "charge": [m.charge for m in molecules],
        "smiles": [m.smiles for m in molecules],
        "source": source,
        "source_id": list(source_ids),
        **{f"known_{n}": [k.get(n, np.nan) for k in known] for n in tables.KNOWN_PROPERTIES},
    }
    return pd.DataFrame(columns, columns=tables.MOLECULES.names)


def table_to_molecules(table: pd.DataFrame) -> list[Molecule]:
    """The molecules of a ``tables.MOLECULES`` table, in its order."""
    return [
        Molecule(
            material_id=str(row["material_id"]),
            symbols=tuple(str(s) for s in row["symbols"]),
            positions=np.asarray(row["positions_angstrom"], dtype=float).reshape(-1, 3),
            charge=int(row["charge"]),
            smiles=row["smiles"] if isinstance(row["smiles"], str) else None,
        )
        for row in table.to_dict("records")
    ]


def known_properties(table: pd.DataFrame) -> list[dict[str, float]]:
    """Of each molecule of a ``tables.MOLECULES`` table, the properties that its source told."""
    columns = {
        name: table[f"known_{name}"].to_numpy(dtype=float) for name in tables.KNOWN_PROPERTIES
    }
    return [
        {name: float(values[i]) for name, values in columns.items() if not np.isnan(values[i])}
        for i in range(len(table))
    ]
