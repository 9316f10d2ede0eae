"""A self-consistent run of GPAW that begins from a given density.

A valence density alone does not fix the state of a PAW calculation: the same charge may sit in
the pseudo density or, through the atoms' density matrices, in the compensation charges. So the run
begins from GPAW's own superposition of atoms, whose pseudo density takes up the difference to the
given one; waves are found in the potential of that, improved once, and give density matrices; and
the pseudo density takes up again what then differs from the given density. Measured on MgO, CaO,
ZnO and SrTiO3: without this step, with atomic density matrices, no iteration is saved; density
matrices of ions, fitted to the given density, save none beyond it.
"""

import time
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from ase.units import Bohr
from gpaw import __version__ as gpaw_version
from gpaw.densities import Densities
from gpaw.new.calculation import DFT
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.match import require_density_of
from rhoflow.density.spectrum import Spectrum, from_grid, resolved_radius, to_grid, truncate
from rhoflow.dft.gpaw import GPAWSpec
from rhoflow.dft.gpaw_scf import GRID_REFINEMENT, kpoint_mesh, prepare
from rhoflow.errors import DataError, EngineError

# By how much of its electrons a start may be off: its mean is then set to the right one.
_ELECTRONS_OFF = 0.01


def iterations(
    crystal: Crystal, spec: GPAWSpec, start: Spectrum | None, log: TextIO
) -> dict[str, Any]:
    """Run one crystal to self-consistency from a density.

    Args:
        crystal: any cell, at the volume that counts: an equation of state is not made.
        spec: the settings.
        start: valence density of the crystal, e/Å³, of any g_max; None: GPAW's own start.
        log: GPAW's own text goes there.

    Returns:
        ``iterations`` (of the eigensolver, that on the given density among them),
        ``total_energy_ev`` and ``seconds`` of processor time.

    Raises:
        DataError: the start is not finite, or of another cell or number of electrons.
        EngineError: this version of GPAW has another interface.
        Exception: whatever GPAW raises.
    """
    if start is not None:
        require_density_of(crystal, start)
    began = time.process_time()
    atoms, calculator = prepare(crystal, spec, kpoint_mesh(crystal, spec), log)
    assembly = _assemble(atoms, calculator)
    held = _begin(assembly, crystal, start)
    run = assembly.calculation(atoms)
    return {
        "iterations": held + int(run.scf_loop.niter),
        "total_energy_ev": float(run.calculate_energy()),
        "seconds": time.process_time() - began,
    }


@dataclass(eq=False)
class _Assembly:
    """The parts of a calculation before its first iteration, in GPAW's own types."""

    builder: Any
    basis: Any
    loop: Any
    potentials: Any
    density: Any
    parameters: Any
    log: Any
    potential: Any = None
    energies: Any = None
    waves: Any = None

    def renew_potential(self) -> None:
        """The potential of the density as it is now."""
        self.potential, self.energies, _ = self.potentials.calculate_without_orbitals(
            self.density, kpt_band_comm=self.builder.communicators["D"]
        )

    def find_waves(self) -> None:
        """Waves in that potential from atomic orbitals, as GPAW begins."""
        self.waves = self.builder.create_ibz_wave_functions(self.basis, self.potential)
        self.occupy()

    def improve_waves(self) -> None:
        """One iteration of the eigensolver."""
        self.loop.eigensolver.iterate(
            self.waves,
            self.density,
            self.potential,
            self.loop.hamiltonian,
            self.potentials,
            self.energies,
        )
        self.occupy()

    def occupy(self) -> None:
        """Occupations of the waves."""
        electrons = self.density.nvalence - self.density.charge + self.potentials.charge
        self.waves.calculate_occs(self.loop.occ_calc, electrons)

    def valence_density(self) -> NDArray[np.float64]:
        """(n1, n2, n3) e/Å³, with compensation charges, on a finer grid."""
        densities = Densities(
            self.density.nt_sR,
            self.density.D_asii,
            self.potentials.relpos_ac,
            self.builder.setups,
        ).pseudo_densities(grid_refinement=GRID_REFINEMENT, add_compensation_charges=True)
        return densities.data[: self.density.ndensities].sum(axis=0)

    def calculation(self, atoms: Any) -> DFT:
        """Everything together, run to self-consistency."""
        return DFT.from_components(
            atoms,
            self.waves,
            self.density,
            self.potential,
            self.builder.setups,
            self.loop,
            self.potentials,
            self.log,
            self.parameters,
            self.energies,
        )


def _assemble(atoms: Any, calculator: Any) -> _Assembly:
    """What ``Parameters.create_dft_calculation_components`` does up to the density."""
    try:
        parameters, log = calculator.params, calculator.log
        builder = parameters.dft_component_builder(atoms, log=log, comm=log.comm)
        basis = builder.create_basis_set()
        loop = builder.create_scf_loop()
        potentials = builder.create_potential_calculator()
        density = builder.density_from_superposition(basis)
        density.normalize(potentials.charge)
    except (AttributeError, TypeError) as error:
        raise EngineError(
            f"GPAW {gpaw_version}: a run cannot be assembled ({type(error).__name__}: {error}); "
            "rhoflow knows the interface of GPAW 26.7: install the pinned version"
        ) from error
    return _Assembly(builder, basis, loop, potentials, density, parameters, log)


def _begin(assembly: _Assembly, crystal: Crystal, start: Spectrum | None) -> int:
    """Density, potential and waves to begin with; the number of iterations that it took."""
    if start is not None:
        _require_electrons(assembly, crystal, start)
        _take(assembly, crystal, start)
    assembly.renew_potential()
    assembly.find_waves()
    if start is None:
        return 0
    assembly.improve_waves()
    assembly.density.update(assembly.waves)
    _take(assembly, crystal, start)
    assembly.renew_potential()
    return 1


def _require_electrons(assembly: _Assembly, crystal: Crystal, start: Spectrum) -> None:
    expected = float(sum(setup.Nv for setup in assembly.builder.setups))
    if abs(start.n_electrons - expected) > _ELECTRONS_OFF * expected:
        raise DataError(
            f"{crystal.material_id}: the density to begin from holds {start.n_electrons:.3f} "
            f"electrons, the PAW sets {expected:g}; was it made with other sets?"
        )


def _take(assembly: _Assembly, crystal: Crystal, start: Spectrum) -> None:
    """Add to the pseudo density what its sum with the compensation charges lacks.

    Inside the sphere of g that both ``start`` and the grid know; the mean stays.
    """
    pseudo = assembly.density
    n1, n2, n3 = (int(n) for n in pseudo.nt_sR.desc.size_c)
    shape = (n1, n2, n3)
    radius = min(start.g_max, resolved_radius(shape, crystal.lattice))
    now = from_grid(assembly.valence_density(), crystal.lattice, crystal.n_atoms, radius)
    missing = to_grid(truncate(start, radius), shape) - to_grid(now, shape)
    missing -= missing.mean()
    pseudo.nt_sR.data[: pseudo.ndensities] += missing * Bohr**3 / pseudo.ndensities
