"""Energies of isolated atoms, on the scale of GPAW's total energies.

GPAW gives total energies relative to spin-paired, spherical, all-electron atoms. The true atom
lies lower: by its spin polarisation and by the shape of its open shell.
"""

from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.units import Ha
from gpaw.atom.aeatom import AllElectronAtom
from gpaw.new.ase_interface import GPAW

from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.gpaw_scf import convergence, shared_parameters


def boxed_atom(element: str, spec: GPAWSpec, log_path: Path) -> float:
    """Energy in eV of the atom with Hund's moment in a box, at the cutoff of the crystals.

    The edges differ by 0.1 Å: in a cube the open shell would be filled with fractions, or its
    shape decided by rounding. An error of the reference shifts every crystal, so it is converged
    ten times as tightly.
    """
    box = [spec.box_angstrom + 0.1 * i for i in range(3)]
    atom = Atoms(element, scaled_positions=[[0.5, 0.5, 0.5]], cell=box, pbc=True)
    atom.calc = GPAW(
        **shared_parameters(spec),
        convergence=convergence(spec, 0.1),
        hund=True,
        txt=str(log_path),
    )
    return float(atom.get_potential_energy())


def spin_correction(element: str, spec: GPAWSpec, log_path: Path) -> float:
    """Spin-polarised minus spin-paired energy in eV of the spherical all-electron atom."""
    with log_path.open("w", encoding="utf-8") as log:
        paired, polarised = (
            _spherical_atom(element, spec.functional, spinpol, log) for spinpol in (False, True)
        )
    return (polarised - paired) * Ha


def _spherical_atom(element: str, functional: str, spinpol: bool, log: TextIO) -> float:
    """Total energy in Hartree, occupations by Hund's first rule within each shell."""
    atom = AllElectronAtom(element, xc=functional, spinpol=spinpol, log=log)
    atom.run()
    return float(np.array([atom.ekin, atom.eH, atom.eZ, atom.exc], dtype=np.float64).sum())
