"""Tables that flow between stages: column names with units, Arrow schemas, conversions."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.properties import TARGETS
from rhoflow.wells import KCAL_PER_MOL_PER_HARTREE, WellSet

# What structures and molecules have in common.
NAMES = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("formula", pa.string()),
        pa.field("n_atoms", pa.int32()),
        pa.field("symbols", pa.list_(pa.string())),
    ]
)

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
        pa.field("origin", pa.string()),
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

# What the records of crystals and of molecules have in common.
OUTCOMES = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("engine", pa.string()),
        pa.field("engine_version", pa.string()),
        pa.field("n_atoms", pa.int32()),
    ]
)

DFT_RECORDS = pa.schema(
    [
        *OUTCOMES,
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
        pa.field("volume_angstrom3", pa.float64()),
        pa.field("magnetic_moment_bohr", pa.float64()),
        pa.field("valence_band_width_ev", pa.float64()),
        pa.field("bulk_modulus_gpa", pa.float64()),
        pa.field("bulk_modulus_derivative", pa.float64()),
        pa.field("eos_rms_ev", pa.float64()),
        pa.field("eos_volumes_angstrom3", pa.list_(pa.float64())),
        pa.field("eos_energies_ev", pa.list_(pa.float64())),
        pa.field("kpoint_mesh", pa.list_(pa.int32())),
        pa.field("kpoint_weights", pa.list_(pa.float64())),
        pa.field("eigenvalues_ev", pa.list_(pa.float32())),
        pa.field("occupations", pa.list_(pa.float32())),
        pa.field("forces_ev_per_angstrom", pa.list_(pa.float64())),
    ]
)

# Properties that a source of molecules may know, under the names that records give them.
KNOWN_PROPERTIES = (
    "total_energy_ev",
    "atomization_energy_ev",
    "homo_ev",
    "lumo_ev",
    "homo_lumo_gap_ev",
    "polarizability_angstrom3",
)

MOLECULES = pa.schema(
    [
        *NAMES,
        pa.field("positions_angstrom", pa.list_(pa.float64())),
        pa.field("charge", pa.int32()),
        pa.field("smiles", pa.string()),
        pa.field("source", pa.string()),
        pa.field("source_id", pa.string()),
        *(pa.field(f"known_{name}", pa.float64()) for name in KNOWN_PROPERTIES),
    ]
)

MOLECULE_RECORDS = pa.schema(
    [
        *OUTCOMES,
        pa.field("n_electrons", pa.int32()),
        pa.field("total_energy_ev", pa.float64()),
        pa.field("atomization_energy_ev", pa.float64()),
        pa.field("homo_ev", pa.float64()),
        pa.field("lumo_ev", pa.float64()),
        pa.field("homo_lumo_gap_ev", pa.float64()),
        pa.field("polarizability_angstrom3", pa.float64()),
        pa.field("scf_iterations", pa.int32()),
    ]
)

DFT_COST = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("cpu_time_s", pa.float64()),
        pa.field("wall_time_s", pa.float64()),
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

# Spherical densities of free atoms: Fourier transforms (electrons) at 0, step, 2 step, … 1/Å.
ATOM_DENSITIES = pa.schema(
    [
        pa.field("element", pa.string(), nullable=False),
        *(pa.field(n, pa.float64()) for n in ("n_valence_electrons", "step_per_angstrom")),
        pa.field("form_factor", pa.list_(pa.float64())),
    ]
)

# Densities that a map predicts for structures that it was not trained on.
PREDICTED_DENSITIES = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("flag", pa.string()),
        pa.field("density_error_percent", pa.float64()),
        pa.field("electrons_per_atom", pa.float64()),
        pa.field("hartree_energy_ev_per_atom", pa.float64()),
        pa.field("negative_percent", pa.float64()),
    ]
)

# Self-consistent runs from given densities.
START_RUNS = pa.schema(
    [
        *(pa.field(n, pa.string(), nullable=False) for n in ("material_id", "start", "status")),
        pa.field("reason", pa.string()),
        pa.field("iterations", pa.int32()),
        *(pa.field(n, pa.float64()) for n in ("total_energy_ev", "seconds")),
    ]
)

# What an archive holds. A shard that lacks a column was written before there was such a column:
# only those of ARCHIVE_NEEDS must be there.
ARCHIVE_ATOMS = "atoms.parquet"
ARCHIVE_ATOM_DENSITIES = "atom_densities.parquet"
ARCHIVE_NEEDS = ("material_id", "status", "lattice_angstrom", "symbols", "frac_coords")
ARCHIVE = pa.schema(
    [*STRUCTURES, *[f for f in DFT_RECORDS if f.name not in ("material_id", "n_atoms")]]
    + [f for f in DFT_COST if f.name != "material_id"]
)

STATUS_OK = "ok"
STATUS_NOT_CONVERGED = "not_converged"
STATUS_FAILED = "failed"


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
        pa.field("part", pa.string(), nullable=False),
        pa.field("redraw", pa.int32(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("y_true", pa.float64()),
        pa.field("y_pred", pa.float64()),
        pa.field("pose_std", pa.float64()),
    ]
)

CLASSIFICATIONS = pa.schema(
    [
        pa.field("study", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("replicas", pa.int32(), nullable=False),
        pa.field("repeat", pa.int32(), nullable=False),
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("predicted_id", pa.string(), nullable=False),
        pa.field("probability", pa.float64()),
    ]
)

ACCURACIES = pa.schema(
    [
        pa.field("study", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("replicas", pa.int32(), nullable=False),
        pa.field("repeat", pa.int32(), nullable=False),
        pa.field("accuracy", pa.float64()),
    ]
)

SCORES = pa.schema(
    [
        pa.field("study", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("train_size", pa.int32(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
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
    source: str | NDArray[np.object_],
    source_ids: Iterable[str],
    origins: Iterable[str | None] | None = None,
) -> pd.DataFrame:
    """Rows of ``STRUCTURES``, one a crystal, in the given order.

    ``origins`` are those of the crystals where none are given.
    """
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
            "origin": [c.origin for c in crystals] if origins is None else list(origins),
        },
        columns=STRUCTURES.names,
    )


def with_crystals(table: pd.DataFrame, crystals: Sequence[Crystal]) -> pd.DataFrame:
    """Rows of ``STRUCTURES`` with other cells: one crystal a row, names and sources kept."""
    return crystals_to_table(
        crystals,
        spacegroup_numbers=table["spacegroup_number"],
        source=table["source"].to_numpy(),
        source_ids=table["source_id"],
        origins=table["origin"],
    )


def table_to_crystals(table: pd.DataFrame) -> list[Crystal]:
    """The crystals of a ``STRUCTURES`` table, in its order."""
    return [
        Crystal(
            material_id=str(row["material_id"]),
            lattice=np.asarray(row["lattice_angstrom"], dtype=float).reshape(3, 3),
            symbols=tuple(str(s) for s in row["symbols"]),
            frac_coords=np.asarray(row["frac_coords"], dtype=float).reshape(-1, 3),
            origin=row["origin"] if isinstance(row["origin"], str) else None,
        )
        for row in table.to_dict("records")
    ]


def wells_to_targets(solved: WellSet) -> pd.DataFrame:
    """Rows of ``TARGET_TABLE``: the energy of each solved potential."""
    values = {
        "material_id": list(solved.ids),
        "energy_kcal_per_mol": KCAL_PER_MOL_PER_HARTREE * solved.energies,
    }
    return pd.DataFrame(values, columns=TARGET_TABLE.names)


def archive_table(
    structures: pd.DataFrame, records: pd.DataFrame, cost: pd.DataFrame
) -> pd.DataFrame:
    """Rows of ``ARCHIVE`` from the three tables of one shard, without paths of this machine."""
    kept = records.drop(columns="n_atoms")
    structures = structures.assign(origin=None)
    joined = structures.merge(kept, on="material_id", validate="1:1")
    return joined.merge(cost, on="material_id", validate="1:1")[ARCHIVE.names]


def shard_rows(table: pd.DataFrame, shard: str, shard_size: int) -> pd.DataFrame:
    """One shard of a table: ``shard_size`` consecutive rows, fewer or none at its end."""
    first = int(shard) * shard_size
    return table.iloc[first : first + shard_size]
