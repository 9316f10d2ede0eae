"""Properties that models learn: names, units and symbols."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A property that models learn: its column, its label and unit in figures.

    An extensive one grows with the size of a molecule.
    """

    column: str
    label: str
    unit: str
    symbol: str
    extensive: bool = False


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
        Target("total_energy_ev_per_atom", "total energy", "eV/atom", r"$E_\mathrm{tot}$"),
        Target("volume_angstrom3_per_atom", "volume", "Å³/atom", r"$V$"),
        Target("mass_density_g_per_cm3", "mass density", "g/cm³", r"$\rho_m$"),
        Target("bulk_modulus_gpa", "bulk modulus", "GPa", r"$B$"),
        Target("fermi_energy_ev", "Fermi energy", "eV", r"$E_\mathrm{F}$"),
        Target("valence_band_width_ev", "valence band width", "eV", r"$W_\mathrm{v}$"),
        Target(
            "atomization_energy_ev",
            "atomization energy",
            "eV",
            r"$E_\mathrm{at}$",
            extensive=True,
        ),
        Target("homo_ev", "HOMO energy", "eV", r"$\varepsilon_\mathrm{HOMO}$"),
        Target("lumo_ev", "LUMO energy", "eV", r"$\varepsilon_\mathrm{LUMO}$"),
        Target("homo_lumo_gap_ev", "HOMO-LUMO gap", "eV", r"$\Delta\varepsilon$"),
        Target("polarizability_angstrom3", "polarizability", "Å³", r"$\alpha$", extensive=True),
        Target("density_error_percent", "error of the density", "%", "NMAE"),
        Target("electrons_per_atom", "electrons", "1/atom", "$N$"),
        Target("energy_kcal_per_mol", "energy", "kcal/mol", r"$E$"),
    )
}
