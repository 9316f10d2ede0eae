"""From DFT records to the six targets of Kajita et al., Sci. Rep. 7, 16991 (2017)."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from rhoflow.errors import DataError
from rhoflow.tables import STATUS_OK, TARGET_TABLE


def targets(
    records: pd.DataFrame, atoms: pd.DataFrame, compositions: Mapping[str, Mapping[str, int]]
) -> pd.DataFrame:
    """The targets of every record, per atom (the gap as it stands).

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
    energy = {
        name: np.where(ok, records[name].to_numpy(dtype=np.float64), np.nan)
        for name in records.columns
        if name.endswith("_ev")
    }
    isolated = _isolated_energies(list(records["material_id"]), atoms, compositions)
    values = {
        "material_id": records["material_id"].to_numpy(),
        "hartree_energy_ev_per_atom": energy["hartree_energy_ev"] / n,
        "delta_xc_energy_ev_per_atom": (
            (energy["xc_energy_ev"] - energy["xc_potential_energy_ev"]) / n
        ),
        "ion_energy_ev_per_atom": energy["ion_energy_ev"] / n,
        "one_electron_energy_ev_per_atom": energy["one_electron_energy_ev"] / n,
        "cohesive_energy_ev_per_atom": (isolated - energy["total_energy_ev"]) / n,
        "band_gap_ev": energy["band_gap_ev"],
    }
    return pd.DataFrame(values, columns=TARGET_TABLE.names)


def _isolated_energies(
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
