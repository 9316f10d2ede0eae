"""Tables that flow between stages: column names with units, Arrow schemas, conversions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from rhoflow.crystal import Crystal

STRUCTURES = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("formula", pa.string()),
        pa.field("n_atoms", pa.int32()),
        pa.field("lattice_angstrom", pa.list_(pa.float64())),
        pa.field("symbols", pa.list_(pa.string())),
        pa.field("frac_coords", pa.list_(pa.float64())),
        pa.field("spacegroup_number", pa.int32()),
        pa.field("source", pa.string()),
        pa.field("source_id", pa.string()),
    ]
)

FUNNEL = pa.schema(
    [
        pa.field("step", pa.string(), nullable=False),
        pa.field("dropped", pa.int32()),
        pa.field("remaining", pa.int32()),
        pa.field("detail", pa.string()),
    ]
)

REJECTED = pa.schema(
    [
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("step", pa.string()),
        pa.field("reason", pa.string()),
    ]
)

DFT_RECORDS = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("engine", pa.string()),
        pa.field("engine_version", pa.string()),
        pa.field("n_atoms", pa.int32()),
        pa.field("n_valence_electrons", pa.float64()),
        pa.field("total_energy_ev", pa.float64()),
        pa.field("one_electron_energy_ev", pa.float64()),
        pa.field("hartree_energy_ev", pa.float64()),
        pa.field("xc_energy_ev", pa.float64()),
        pa.field("xc_potential_energy_ev", pa.float64()),
        pa.field("ion_energy_ev", pa.float64()),
        pa.field("band_gap_ev", pa.float64()),
        pa.field("valence_band_maximum_ev", pa.float64()),
        pa.field("fermi_level_ev", pa.float64()),
        pa.field("scf_iterations", pa.int32()),
        pa.field("n_kpoints", pa.int32()),
    ]
)

DFT_COST = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("cpu_time_s", pa.float64()),
        pa.field("peak_memory_mb", pa.float64()),
    ]
)

ATOMS = pa.schema(
    [
        pa.field("element", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("method", pa.string()),
        pa.field("energy_ev", pa.float64()),
    ]
)

STATUS_OK = "ok"
STATUS_NOT_CONVERGED = "not_converged"
STATUS_FAILED = "failed"


@dataclass(frozen=True)
class Target:
    """A property that models learn: its column, its label and unit in figures."""

    column: str
    label: str
    unit: str
    symbol: str


TARGETS: dict[str, Target] = {
    t.column: t
    for t in (
        Target("hartree_energy_ev_per_atom", "Hartree energy", "eV/atom", r"$E_\mathrm{H}$"),
        Target(
            "delta_xc_energy_ev_per_atom",
            "exchange-correlation term",
            "eV/atom",
            r"$\Delta E_\mathrm{xc}$",
        ),
        Target("ion_energy_ev_per_atom", "ion electrostatic energy", "eV/atom", r"$E_\mathrm{I}$"),
        Target(
            "one_electron_energy_ev_per_atom",
            "sum of one-electron energies",
            "eV/atom",
            r"$\sum_i \varepsilon_i$",
        ),
        Target("cohesive_energy_ev_per_atom", "cohesive energy", "eV/atom", r"$E_\mathrm{coh}$"),
        Target("band_gap_ev", "band gap", "eV", r"$E_\mathrm{gap}$"),
    )
}

TARGET_TABLE = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        *(pa.field(column, pa.float64()) for column in TARGETS),
    ]
)

SPLITS = pa.schema(
    [
        pa.field("redraw", pa.int32(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("order", pa.int32(), nullable=False),
        pa.field("material_id", pa.string(), nullable=False),
    ]
)

PREDICTIONS = pa.schema(
    [
        pa.field("study", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("train_size", pa.int32(), nullable=False),
        pa.field("redraw", pa.int32(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("y_true", pa.float64()),
        pa.field("y_pred", pa.float64()),
    ]
)

SCORES = pa.schema(
    [
        pa.field("study", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("train_size", pa.int32(), nullable=False),
        pa.field("mae_mean", pa.float64()),
        pa.field("mae_std", pa.float64()),
        pa.field("r2", pa.float64()),
        pa.field("n_redraws", pa.int32()),
        pa.field("n_test", pa.int32()),
    ]
)

CLAIMS = pa.schema(
    [
        pa.field(name, pa.string())
        for name in ("study", "claim", "paper", "target", "verdict", "measured", "scale", "why")
    ]
)


def empty(schema: pa.Schema) -> pd.DataFrame:
    """A table with the schema's columns and no rows."""
    return schema.empty_table().to_pandas()


def crystals_to_table(
    crystals: Sequence[Crystal],
    *,
    spacegroup_numbers: Iterable[int],
    source: str,
    source_ids: Iterable[str],
) -> pd.DataFrame:
    """Rows of ``STRUCTURES``, one a crystal, in the given order."""
    return pd.DataFrame(
        {
            "material_id": [c.material_id for c in crystals],
            "formula": [str(c.to_ase().symbols.formula.reduce()[0]) for c in crystals],
            "n_atoms": [c.n_atoms for c in crystals],
            "lattice_angstrom": [np.ravel(c.lattice) for c in crystals],
            "symbols": [list(c.symbols) for c in crystals],
            "frac_coords": [np.ravel(c.frac_coords) for c in crystals],
            "spacegroup_number": list(spacegroup_numbers),
            "source": source,
            "source_id": list(source_ids),
        },
        columns=STRUCTURES.names,
    )


def table_to_crystals(table: pd.DataFrame) -> list[Crystal]:
    """The crystals of a ``STRUCTURES`` table, in its order."""
    return [
        Crystal(
            material_id=str(row["material_id"]),
            lattice=np.asarray(row["lattice_angstrom"], dtype=float).reshape(3, 3),
            symbols=tuple(str(s) for s in row["symbols"]),
            frac_coords=np.asarray(row["frac_coords"], dtype=float).reshape(-1, 3),
        )
        for row in table.to_dict("records")
    ]


def shard_crystals(table: pd.DataFrame, shard: str, shard_size: int) -> list[Crystal]:
    """The crystals of one shard: ``shard_size`` consecutive rows of a ``STRUCTURES`` table."""
    first = int(shard) * shard_size
    return table_to_crystals(table.iloc[first : first + shard_size])
