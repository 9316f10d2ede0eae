"""From DFT records to targets: the six of Kajita et al., Sci. Rep. 7, 16991 (2017), and more."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
from ase.data import atomic_masses, atomic_numbers
from scipy.constants import atomic_mass

from rhoflow.errors import DataError
from rhoflow.tables import DFT_RECORDS, STATUS_OK, TARGET_TABLE


def targets(
    records: pd.DataFrame, atoms: pd.DataFrame, compositions: Mapping[str, Mapping[str, int]]
) -> pd.DataFrame:
    """The targets of every record.

    The Fermi energy of an insulator is its valence-band maximum. Energies are on the engine's
    own scale; the zero of eigenvalues is described beside the engines (ENERGIES.md).

    Args:
        records: ``tables.DFT_RECORDS``.
        atoms: ``tables.ATOMS`` of the same engine and settings.
        compositions: for each material id the number of atoms of each element in the cell.

    Returns:
        ``tables.TARGET_TABLE`` in the order of ``records``; null where the calculation is not
        ok, and the cohesive energy also where an atom's energy is missing.
    """
    ok = (records["status"] == STATUS_OK).to_numpy()
    n = records["n_atoms"].to_numpy(dtype=np.float64)
    value = {
        name: np.where(ok, records[name].to_numpy(dtype=np.float64), np.nan)
        for name in DFT_RECORDS.names
        if pa.types.is_floating(DFT_RECORDS.field(name).type)
    }
    ids = list(records["material_id"])
    isolated = isolated_energies(ids, atoms, compositions)
    vbm, fermi = value["valence_band_maximum_ev"], value["fermi_level_ev"]
    values = {
        "material_id": records["material_id"].to_numpy(),
        "hartree_energy_ev_per_atom": value["hartree_energy_ev"] / n,
        "delta_xc_energy_ev_per_atom": (
            (value["xc_energy_ev"] - value["xc_potential_energy_ev"]) / n
        ),
        "ion_energy_ev_per_atom": value["ion_energy_ev"] / n,
        "one_electron_energy_ev_per_atom": value["one_electron_energy_ev"] / n,
        "cohesive_energy_ev_per_atom": (isolated - value["total_energy_ev"]) / n,
        "band_gap_ev": value["band_gap_ev"],
        "total_energy_ev_per_atom": value["total_energy_ev"] / n,
        "volume_angstrom3_per_atom": value["volume_angstrom3"] / n,
        "mass_density_g_per_cm3": _masses(ids, compositions) / value["volume_angstrom3"],
        "bulk_modulus_gpa": value["bulk_modulus_gpa"],
        "fermi_energy_ev": np.where(np.isnan(vbm), fermi, vbm),
        "valence_band_width_ev": value["valence_band_width_ev"],
    }
    return pd.DataFrame(values, columns=TARGET_TABLE.names)


def _masses(ids: list[str], compositions: Mapping[str, Mapping[str, int]]) -> np.ndarray:
    """(n,) mass of each cell in g times 1e24, so that g/cm³ = mass / Å³."""
    unit = atomic_mass * 1e27
    return np.array(
        [
            sum(m * atomic_masses[atomic_numbers[e]] for e, m in compositions[i].items()) * unit
            for i in ids
        ],
        dtype=np.float64,
    )


def isolated_energies(
    ids: list[str], atoms: pd.DataFrame, compositions: Mapping[str, Mapping[str, int]]
) -> np.ndarray:
    """(n,) eV: energy of the atoms of each cell apart from each other, NaN where one is unknown."""
    missing = [i for i in ids if i not in compositions]
    if missing:
        raise DataError(f"targets: no composition for {missing[:5]} ({len(missing)} in all)")
    known = atoms[atoms["status"] == STATUS_OK]
    energy = dict(zip(known["element"], known["energy_ev"], strict=True))
    return np.array(
        [sum(m * energy.get(e, np.nan) for e, m in compositions[i].items()) for i in ids],
        dtype=np.float64,
    )


def check_ok_fraction(records: pd.DataFrame, min_ok_fraction: float, dataset: str) -> None:
    """Stop if too few structures succeeded.

    Raises:
        DataError: fewer than ``min_ok_fraction`` have status ``ok``; lists the reasons.
    """
    if records.empty:
        raise DataError(f"dataset {dataset}: no structure was calculated; check its selection")
    bad = records[records["status"] != STATUS_OK]
    n_ok = len(records) - len(bad)
    if n_ok >= min_ok_fraction * len(records):
        return
    told = zip(bad["reason"], bad["status"], strict=True)
    reasons = Counter(reason if isinstance(reason, str) else status for reason, status in told)
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(10))
    raise DataError(
        f"dataset {dataset}: {n_ok} of {len(records)} structures succeeded, expected at "
        f"least {min_ok_fraction:.0%} (min_ok_fraction). Reasons: {listed}. Correct the settings "
        "or the selection, lower min_ok_fraction, or try the lost ones again: snakemake --forcerun "
        "dft_run (what succeeded is kept)"
    )
