"""Molecules as crystals: each alone in a periodic box, so that one representation serves both.

Kept are the valence electrons: the density without the cores of free atoms, whose waves go on far
beyond any g_cut. Of 20 molecules of up to five heavy atoms inside 6 1/Å ∫|ρ| dr is 2.2 times the
number of electrons with cores, for the rings about them, and 1.2 times without.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rhoflow import molecule_tables, tables
from rhoflow.crystal import Crystal
from rhoflow.density.atoms import FormFactors, superposed
from rhoflow.density.spectrum import Spectrum
from rhoflow.density.store import DensitySpec, store
from rhoflow.dft.atom_densities import STEP
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
        spectra: valence densities by material id, of the molecules that have orbitals and no
            charge: maps take the number of electrons from free atoms.
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
        EngineError: a free atom is not self-consistent.
    """
    from rhoflow.dft.pyscf_density import core_electrons, spectrum  # imports PySCF

    molecules = molecule_tables.table_to_molecules(table)
    crystals = [box(molecule) for molecule in molecules]
    pairs = {m.material_id: (m, c) for m, c in zip(molecules, crystals, strict=True)}
    strange = sorted(set(orbitals) - set(pairs))
    if strange:
        raise DataError(
            f"orbitals of {', '.join(strange[:5])}: the shard has no such molecules; delete the "
            "file of its orbitals and run snakemake again"
        )
    neutral = [name for name in orbitals if not pairs[name][0].charge]
    cores = _cores([pairs[name][0] for name in neutral], engine, density.g_store)
    spectra, electrons = {}, {}
    for name in neutral:
        molecule, crystal = pairs[name]
        whole = spectrum(molecule, crystal, engine, orbitals[name], density.g_store)
        spectra[name] = without_cores(whole, crystal, cores)
        electrons[name] = float(molecule.n_electrons - core_electrons(molecule.symbols))
    logger.info("%d molecules, %d with orbitals, of these", len(molecules), len(orbitals))
    logger.info("%d have no charge: their densities are kept", len(spectra))
    structures = tables.crystals_to_table(
        crystals,
        spacegroup_numbers=[1] * len(crystals),
        source=table["source"].to_numpy(),
        source_ids=table["source_id"],
    ).assign(formula=table["formula"].to_numpy())
    return Boxed(structures, store(spectra, electrons, density))


def without_cores(spectrum: Spectrum, crystal: Crystal, cores: FormFactors) -> Spectrum:
    """The density that is left when the cores of free atoms are taken off.

    Args:
        spectrum: of all electrons.
        crystal: its atoms.
        cores: of all their elements.
    """
    places = crystal.frac_coords
    taken = superposed(spectrum.lattice, spectrum.hkl, crystal.symbols, places, cores)
    return replace(spectrum, coefficients=(spectrum.coefficients - taken).astype(np.complex64))


def _cores(molecules: Sequence[Molecule], engine: PySCFSpec, g_max: float) -> FormFactors:
    """Cores of the free atoms of all elements of some molecules, up to g_max and a step more."""
    from rhoflow.dft.pyscf_density import form_factors  # imports PySCF

    elements = sorted({symbol for molecule in molecules for symbol in molecule.symbols})
    g = STEP * np.arange(math.ceil(g_max / STEP) + 2, dtype=np.float64)
    factors = form_factors(elements, engine, g)[:, 1]
    return FormFactors(STEP, dict(zip(elements, factors, strict=True)))
