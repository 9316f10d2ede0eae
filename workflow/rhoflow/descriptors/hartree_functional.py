"""How far the Hartree energy follows from |s(g)|, without learning anything.

E_H = 2π k_e V Σ_{g≠0} |s(g)|²/g² needs the amplitudes alone, of all g. Two things part a voxel
descriptor from it: the spots end at g_cut, and those that share a voxel are told apart no more.
Both losses are measured here, in eV per atom, by evaluating the sum on the spots within a radius,
and on voxels with 1/|g|² taken at their centres.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from rhoflow.density.spectrum import COULOMB_EV_ANGSTROM, RIM, Spectrum
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet, SpotsSpec, spots
from rhoflow.errors import DataError
from rhoflow.spec import Spec

logger = logging.getLogger(__name__)

FACTOR = 2 * np.pi * COULOMB_EV_ANGSTROM
SMALLEST_RADIUS = 2.0
RADII = 57
_BATCH = 32


class HartreeFunctionalSpec(Spec):
    """On which voxels, and in how many poses, the Hartree energy is evaluated."""

    algorithm: Literal[1] = Field(
        default=1, description="version of the numbers that this step gives"
    )
    voxels: R3DVSSpec = Field(
        default_factory=lambda: R3DVSSpec(),
        description="resolution and length of the voxels; every deposit and value is evaluated",
    )
    poses: int = Field(
        default=8, ge=1, le=1000, description="random rotations of each crystal, beside its own"
    )
    seed: int = Field(default=0, ge=0, description="seed of the rotations")


@dataclass(frozen=True)
class Reading:
    """A form of the voxels, and how E_H per atom is read from it.

    Attributes:
        name: in tables.
        value: what a spot deposits, as in ``R3DVSSpec``.
        per: volume or atom, as in ``R3DVSSpec``.
        knows_volume: whether the reader is told V/n of each crystal, or only the mean of all.
        origin: whether g = 0, the mean density, is deposited as in the descriptor.
    """

    name: str
    value: Literal["amplitude", "squared"]
    per: Literal["volume", "atom"]
    knows_volume: bool = True
    origin: bool = True


# From the paper's form to the one that loses least. Squares per atom hold V/n already.
READINGS = (
    Reading("amplitude_per_volume", "amplitude", "volume", knows_volume=False),
    Reading("amplitude_per_volume_known", "amplitude", "volume"),
    Reading("squared_per_atom", "squared", "atom"),
    Reading("squared_per_atom_no_origin", "squared", "atom", origin=False),
)
DEPOSITS: tuple[Literal["nearest", "linear"], ...] = ("nearest", "linear")
SPOTS = "spots"
POSES = ("unrotated", "random", "mean_of_random")

SUMMARY_COLUMNS = [
    "reading",
    "deposit",
    "pose",
    "n_oxides",
    "mean_absolute_deviation_ev_per_atom",
    "mean_ratio",
    "mae_as_it_is_ev_per_atom",
    "intercept_ev_per_atom",
    "slope",
    "mae_fitted_ev_per_atom",
    "mae_left_out_ev_per_atom",
    "pose_spread_ev_per_atom",
]


def records_with_spectra(
    targets: pd.DataFrame, spectra: Mapping[str, Spectrum]
) -> dict[str, float]:
    """E_H (eV/atom) of the records that have one and a density, in the order of ``targets``.

    Raises:
        DataError: there is none.
    """
    pairs = zip(targets["material_id"], targets["hartree_energy_ev_per_atom"], strict=True)
    records = {str(n): float(e) for n, e in pairs if n in spectra and np.isfinite(e) and e > 0}
    logger.info("%d of %d materials have a Hartree energy and a density", len(records),
                len(targets))  # fmt: skip
    if not records:
        raise DataError(
            "Hartree functional: no material has a Hartree energy in its record and a density; "
            "see the reasons in the data set's records.parquet"
        )
    return records


def missing_shares(
    records: Mapping[str, float], spectra: Mapping[str, Spectrum], g_cut: float
) -> pd.DataFrame:
    """Which share of the record's E_H lies beyond a radius in reciprocal space.

    Args:
        records: E_H of each material from its full density, eV/atom.
        spectra: densities by material id.
        g_cut: a radius (1/Å) that must be among those evaluated.

    Returns:
        Columns material_id, g_inverse_angstrom and missing_share = 1 - E_H(|g| ≤ g)/E_H (no
        unit), for radii from 2 1/Å to where the shortest spectrum ends, material by material.
    """
    g_end = min(_reach(spectra[name]) for name in records)
    radii = np.linspace(min(SMALLEST_RADIUS, g_end / 2), g_end, RADII)
    if g_cut <= g_end * RIM:
        radii = np.union1d(radii, g_cut)
    tables = []
    for name, record in records.items():
        share = 1 - energy_within(spectra[name], radii) / record
        columns = {"material_id": name, "g_inverse_angstrom": radii, "missing_share": share}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _reach(spectrum: Spectrum) -> float:
    """Radius (1/Å) up to which a spectrum is known; of one without end, its largest |g|."""
    if np.isfinite(spectrum.g_max):
        return spectrum.g_max
    return float(np.linalg.norm(spectrum.g_vectors(), axis=1).max())


def energy_within(spectrum: Spectrum, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) E_H in eV/atom of the coefficients with |g| ≤ each of (m,) radii in 1/Å."""
    g2 = (spectrum.g_vectors() ** 2).sum(axis=1)
    moving = spectrum.hkl.any(axis=1)
    order = np.argsort(g2[moving], kind="stable")
    squared = np.abs(spectrum.coefficients[moving][order].astype(complex)) ** 2
    g2 = g2[moving][order]
    # Factor 2 for the other Friedel half.
    terms = 2 * FACTOR * spectrum.volume / spectrum.n_atoms * squared / g2
    total = np.concatenate([[0.0], np.cumsum(terms)])
    return total[np.searchsorted(g2, (radii * RIM) ** 2, side="right")]


def voxel_energies(
    records: Mapping[str, float], spectra: Mapping[str, Spectrum], spec: HartreeFunctionalSpec
) -> pd.DataFrame:
    """E_H read from the spots within g_cut, and from their voxels in several poses.

    The weight of a voxel is 1/|g|² at its centre. g = 0 must not count, but it lies on a corner
    of an even grid: voxels that it reaches (one with nearest deposit, the eight around it with
    linear) get no weight, and what other spots leave there is lost too. The last reading takes
    g = 0 away before the deposit, and every voxel counts but one centred on g = 0.

    Args:
        records: E_H of each material, eV/atom.
        spectra: densities by material id.
        spec: voxels and poses.

    Returns:
        Columns reading (a name of ``READINGS``, or ``spots`` for the sum without voxels), deposit
        (empty for spots), pose (0: unrotated), material_id, record and from_descriptor (eV/atom).

    Raises:
        DataError: a spectrum ends before g_cut.
    """
    chosen = {name: spectra[name] for name in records}
    data = spots(chosen, SpotsSpec(resolution_angstrom=spec.voxels.resolution_angstrom))
    record = np.array(list(records.values()))
    cut = np.array([spec.voxels.g_cut])
    exact = np.concatenate([energy_within(s, cut) for s in chosen.values()])
    tables = [_table(SPOTS, "", 0, data, record, exact)]
    for reading in READINGS:
        for deposit in DEPOSITS:
            form = _form(spec.voxels, reading, deposit)
            for pose, energies in enumerate(_readings_of_poses(data, form, reading, spec)):
                tables.append(_table(reading.name, deposit, pose, data, record, energies))
    return pd.concat(tables, ignore_index=True)


def _table(
    reading: str, deposit: str, pose: int, data: SpotSet,
    record: NDArray[np.float64], energies: NDArray[np.float64],
) -> pd.DataFrame:  # fmt: skip
    columns: dict[str, Any] = {"reading": reading, "deposit": deposit, "pose": pose}
    return pd.DataFrame(
        {**columns, "material_id": list(data.ids), "record": record, "from_descriptor": energies}
    )


def _form(voxels: R3DVSSpec, reading: Reading, deposit: Literal["nearest", "linear"]) -> R3DVSSpec:
    return R3DVSSpec(
        resolution_angstrom=voxels.resolution_angstrom,
        length_angstrom=voxels.length_angstrom,
        deposit=deposit,
        value=reading.value,
        per=reading.per,
    )


def _readings_of_poses(
    data: SpotSet, form: R3DVSSpec, reading: Reading, spec: HartreeFunctionalSpec
) -> list[NDArray[np.float64]]:
    """(n,) eV/atom of every pose: the unrotated one, then random ones, the same for each form."""
    import torch

    from rhoflow.descriptors.voxels import SpotBatcher, random_rotations

    if not reading.origin:
        at_zero = ~data.g.any(axis=1)
        data = replace(data, amplitude=np.where(at_zero, np.float32(0), data.amplitude))
    batcher = SpotBatcher(data, form, torch.device("cpu"))
    weight = torch.from_numpy(_weights(form, origin=reading.origin)).reshape(-1)
    volume = data.volume_per_atom if reading.knows_volume else data.volume_per_atom.mean()
    factor = FACTOR * (1.0 if form.per == "atom" else volume)
    generator = torch.Generator().manual_seed(spec.seed)
    poses = [torch.eye(3).repeat(len(data), 1, 1)]
    poses += [random_rotations(len(data), generator) for _ in range(spec.poses)]
    found = []
    for rotations in poses:
        sums = []
        for part in torch.arange(len(data)).split(_BATCH):
            voxels = batcher.voxels(part, rotations[part]).double().reshape(len(part), -1)
            sums.append((voxels**2 if form.value == "amplitude" else voxels) @ weight)
        found.append(factor * torch.cat(sums).numpy())
    return found


def _weights(form: R3DVSSpec, *, origin: bool) -> NDArray[np.float64]:
    """(n, n, n) Å²: 1/|g|² at voxel centres, 0 at g = 0 and (``origin``) where g = 0 deposits."""
    import torch

    from rhoflow.descriptors.voxels import SpotBatcher

    constant = Spectrum(np.eye(3), 1, np.zeros((1, 3), np.int16), np.ones(1, np.complex64))
    batcher = SpotBatcher(spots({"constant": constant}, form), form, torch.device("cpu"))
    reached = batcher.voxels(torch.zeros(1, dtype=torch.long), torch.eye(3)[None])[0, 0].numpy() > 0
    axis = (np.arange(form.n_voxels) + 0.5 - form.n_voxels / 2) * form.pitch
    g2 = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    counts = ~reached if origin else g2 > (1e-3 * form.pitch) ** 2
    return np.divide(1.0, g2, out=np.zeros_like(g2), where=counts)


def summary(energies: pd.DataFrame) -> pd.DataFrame:
    """Errors of every reading against the records, as it is and after the best straight line.

    Args:
        energies: ``voxel_energies``.

    Returns:
        ``SUMMARY_COLUMNS``, a row for each reading, deposit and pose of ``POSES``: mean_ratio is
        the mean of reading/record; the line record = intercept + slope·reading is the least-squares
        one over all materials, and mae_left_out the error of each material against the line
        through the others; pose_spread is the standard deviation over the random poses, averaged
        over materials. For ``random``, every number is the mean over the random poses. NaN where
        a line or a spread needs more materials or poses.
    """
    rows = []
    for (reading, deposit), part in energies.groupby(["reading", "deposit"], sort=False):
        by_pose = part.pivot(index="pose", columns="material_id", values="from_descriptor")
        record = part.drop_duplicates("material_id").set_index("material_id")["record"]
        truth = record[by_pose.columns].to_numpy()
        values = by_pose.to_numpy()  # (poses, materials)
        spread = float(values[1:].std(axis=0, ddof=1).mean()) if len(values) > 2 else np.nan
        kinds: dict[str, Sequence[NDArray[np.float64]]] = {"unrotated": [values[0]]}
        if len(values) > 1:
            kinds |= {"random": list(values[1:]), "mean_of_random": [values[1:].mean(axis=0)]}
        for kind, readings in kinds.items():
            scores = pd.DataFrame([_scores(truth, x) for x in readings]).mean()
            row = {"reading": reading, "deposit": deposit, "pose": kind, **scores.to_dict()}
            row |= {"n_oxides": len(truth)}
            row |= {"pose_spread_ev_per_atom": spread if kind == "random" else np.nan}
            rows.append(row)
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def _scores(truth: NDArray[np.float64], reading: NDArray[np.float64]) -> dict[str, float]:
    intercept, slope, fitted, left_out = _line(truth, reading)
    return {
        "mean_absolute_deviation_ev_per_atom": float(np.abs(truth - truth.mean()).mean()),
        "mean_ratio": float((reading / truth).mean()),
        "mae_as_it_is_ev_per_atom": float(np.abs(reading - truth).mean()),
        "intercept_ev_per_atom": intercept,
        "slope": slope,
        "mae_fitted_ev_per_atom": fitted,
        "mae_left_out_ev_per_atom": left_out,
    }


def _line(
    truth: NDArray[np.float64], reading: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Intercept and slope of the least-squares line, its MAE, and that of those left out."""
    centred = reading - reading.mean()
    spread = float((centred**2).sum())
    leverage = 1 / len(reading) + centred**2 / spread if spread > 0 else np.ones(len(reading))
    if len(reading) < 3 or not (leverage < 1 - 1e-9).all():
        return np.nan, np.nan, np.nan, np.nan
    slope = float((centred * truth).sum() / spread)
    intercept = float(truth.mean() - slope * reading.mean())
    residual = np.abs(truth - intercept - slope * reading)
    # The residual of a point left out of the fit, without fitting anew.
    return intercept, slope, float(residual.mean()), float((residual / (1 - leverage)).mean())
