"""Runs an engine over the molecules of one shard, and turns its records into targets."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow import molecule_tables, tables
from rhoflow.dft.base import EngineSpec, load_molecule_engine, molecule_to_json
from rhoflow.dft.jobs import Job, digest, run_jobs
from rhoflow.dft.shard import to_table
from rhoflow.dft.targets import isolated_energies
from rhoflow.errors import DataError

OCCUPIED = "occupied"


@dataclass(frozen=True, eq=False)
class MoleculeShard:
    """What became of the molecules of a shard, in their order.

    Attributes:
        records: ``tables.MOLECULE_RECORDS``.
        cost: ``tables.DFT_COST``, as it was when the molecule was computed.
        orbitals: (n_ao, n_occ) coefficients of the occupied orbitals by material id, of those
            whose engine gives them.
    """

    records: pd.DataFrame
    cost: pd.DataFrame
    orbitals: dict[str, NDArray[np.float32]]


def run_molecules(
    table: pd.DataFrame,
    spec: EngineSpec,
    *,
    done_folder: Path,
    workers: int = 1,
    time_limit_s: float | None = None,
    log: logging.Logger | None = None,
) -> MoleculeShard:
    """Calculate every molecule in processes apart from this one.

    Args:
        table: rows of ``tables.MOLECULES``.
        spec: engine and settings.
        done_folder: finished molecules; what is found there is not computed again.
        workers: processes at once.
        time_limit_s: wall time after which a molecule is given up.
        log: gets a line a molecule.

    Raises:
        ConfigError: the engine computes no molecules.
        DataError: a material id occurs twice.
        EngineError: the engine is not installed.
    """
    ids = [str(i) for i in table["material_id"]]
    if len(set(ids)) != len(ids):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise DataError(f"DFT shard: material ids occur twice: {twice}; make them unique")
    jobs = molecule_jobs(table, spec)
    outcomes = run_jobs(
        jobs, done_folder=done_folder, workers=workers, time_limit_s=time_limit_s, log=log
    )
    done = [outcomes[job.digest] for job in jobs]
    # What a record holds even if its process died.
    common = [
        {
            "material_id": name,
            "engine": job.task["engine"],
            "engine_version": load_molecule_engine(job.task["engine"]).version(),
            "n_atoms": job.size,
        }
        for name, job in zip(ids, jobs, strict=True)
    ]
    records = [{**o.record, **c} for c, o in zip(common, done, strict=True)]
    costs = [{**o.cost, "material_id": i} for o, i in zip(done, ids, strict=True)]
    return MoleculeShard(
        to_table(records, tables.MOLECULE_RECORDS),
        to_table(costs, tables.DFT_COST),
        {i: o.arrays[OCCUPIED] for i, o in zip(ids, done, strict=True) if OCCUPIED in o.arrays},
    )


def molecule_jobs(table: pd.DataFrame, spec: EngineSpec) -> list[Job]:
    """One job a molecule of a ``tables.MOLECULES`` table.

    Its digest holds what the engine says makes it the same one, the settings that decide the
    numbers, and the engine's version.
    """
    settings = spec.crystal_settings()
    kind = str(settings["kind"])
    engine = load_molecule_engine(kind)
    made_with = {"spec": settings, "engine_version": engine.version()}
    molecules = molecule_tables.table_to_molecules(table)
    return [
        Job(
            digest=digest({**engine.molecule_identity(molecule, spec, known), **made_with}),
            label=molecule.material_id,
            task={
                "engine": kind,
                "spec": spec.model_dump(mode="json"),
                "molecule": molecule_to_json(molecule),
                "known": known,
            },
            size=molecule.n_atoms,
            in_process=engine.IN_PROCESS,
            several=engine.SEVERAL_A_PROCESS,
        )
        for molecule, known in zip(molecules, molecule_tables.known_properties(table), strict=True)
    ]


def molecule_targets(
    records: pd.DataFrame, atoms: pd.DataFrame, compositions: Mapping[str, Mapping[str, int]]
) -> pd.DataFrame:
    """The targets of every record.

    The atomization energy is the record's own where it has one, otherwise the energy of the
    isolated atoms minus that of the molecule: positive if bound, without zero-point energy. The
    gap, too, is the record's own where it has one.

    Args:
        records: ``tables.MOLECULE_RECORDS``.
        atoms: ``tables.ATOMS`` of the same engine and settings.
        compositions: for each material id the number of atoms of each element.

    Returns:
        ``tables.TARGET_TABLE`` in the order of ``records``; null where the calculation is not ok,
        and the atomization energy also where an atom's energy is missing.
    """
    ok = (records["status"] == tables.STATUS_OK).to_numpy()
    value = {
        name: np.where(ok, records[name].to_numpy(dtype=np.float64), np.nan)
        for name in tables.KNOWN_PROPERTIES
    }
    isolated = isolated_energies(list(records["material_id"]), atoms, compositions)
    own, gap = value["atomization_energy_ev"], value["homo_lumo_gap_ev"]
    values = {
        "material_id": records["material_id"].to_numpy(),
        "atomization_energy_ev": np.where(np.isnan(own), isolated - value["total_energy_ev"], own),
        "homo_ev": value["homo_ev"],
        "lumo_ev": value["lumo_ev"],
        "homo_lumo_gap_ev": np.where(np.isnan(gap), value["lumo_ev"] - value["homo_ev"], gap),
        "polarizability_angstrom3": value["polarizability_angstrom3"],
    }
    return pd.DataFrame(values, columns=tables.TARGET_TABLE.names)
