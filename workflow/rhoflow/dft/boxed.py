"""Molecules as crystals: each alone in a periodic box, so that one representation serves both."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow import molecule_tables, tables
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.density.store import DensitySpec, store
from rhoflow.dft.pyscf import PySCFSpec
from rhoflow.errors import DataError
from rhoflow.molecule import Molecule

logger = logging.getLogger(__name__)

# From the outermost nuclei to the faces. Of 12 molecules of five heavy atoms (B3LYP) 0.001 to 0.003
# electrons lie outside, at most 9e-5 of all, and the density at the faces is at most 0.003 e/Å³.
MARGIN_ANGSTROM = 2.0
# Edges come in these steps, so that molecules share grids.
STEP_ANGSTROM = 0.5


@dataclass(frozen=True, eq=False)
class Boxed:
    """Molecules in boxes.

    Attributes:
        structures: ``tables.STRUCTURES``, the boxes in the order of the molecules; formulas count
            all atoms.
        spectra: densities by material id, of the molecules that have orbitals and no charge:
            maps take the number of electrons from free atoms.
    """

    structures: pd.DataFrame
    spectra: dict[str, Spectrum]


def box(molecule: Molecule, margin: float = MARGIN_ANGSTROM) -> Crystal:
    """A molecule in the middle of a rectangular box along its principal axes, longest first.

    The molecule keeps its orientation: the box is turned. A flat molecule lies in the plane (001).

    Args:
        molecule: any.
        margin: from the outermost nuclei to the faces at least, Å.
    """
    centred = molecule.positions - molecule.positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=True)[2]  # rows, the largest spread first
    axes[2] *= np.sign(np.linalg.det(axes))
    along = centred @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    # A hair is taken off, so that rounding does not choose between two boxes.
    steps = np.ceil((high - low + 2 * margin) / STEP_ANGSTROM - 1e-6)
    edges = STEP_ANGSTROM * steps
    frac_coords = (along - (low + high) / 2) / edges + 0.5
    lattice = edges[:, None] * axes
    return Crystal(molecule.material_id, lattice, molecule.symbols, frac_coords)


def boxed(
    table: pd.DataFrame,
    orbitals: Mapping[str, NDArray[np.floating]],
    engine: PySCFSpec,
    density: DensitySpec,
) -> Boxed:
    """Boxes of molecules, and the densities of the neutral ones whose orbitals are known.

    Args:
        table: rows of ``tables.MOLECULES``, as they were computed.
        orbitals: by material id, (n_ao, n_occ) coefficients.
        engine: the settings that they were computed with.
        density: what is kept.

    Raises:
        DataError: orbitals of another molecule, basis or number of electrons.
    """
    from rhoflow.dft.pyscf_density import spectrum  # imports PySCF

    molecules = molecule_tables.table_to_molecules(table)
    crystals = [box(molecule) for molecule in molecules]
    pairs = {m.material_id: (m, c) for m, c in zip(molecules, crystals, strict=True)}
    strange = sorted(set(orbitals) - set(pairs))
    if strange:
        raise DataError(
            f"orbitals of {', '.join(strange[:5])}: the shard has no such molecules; delete the "
            "file of its orbitals and run snakemake again"
        )
    spectra = {
        name: spectrum(*pairs[name], engine, occupied, density.g_store)
        for name, occupied in orbitals.items()
        if not pairs[name][0].charge
    }
    electrons = {name: float(pairs[name][0].n_electrons) for name in spectra}
    logger.info("%d molecules, %d with orbitals, of these", len(molecules), len(orbitals))
    logger.info("%d have no charge: their densities are kept", len(spectra))
    structures = tables.crystals_to_table(
        crystals,
        spacegroup_numbers=[1] * len(crystals),
        source=table["source"].to_numpy(),
        source_ids=table["source_id"],
    ).assign(formula=table["formula"].to_numpy())
    return Boxed(structures, store(spectra, electrons, density))
