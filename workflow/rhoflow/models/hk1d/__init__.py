"""Hohenberg-Kohn maps in one dimension: potential to density to energy, by kernel ridge.

After Brockherde et al., Nat. Commun. 8, 872 (2017). A kernel model maps potentials to densities in
a basis (``basis``, ``fit``), another one densities to energies (``functional``); ``orbital_free``
is the peer, which has to find the density by descent on the learned energy (Snyder et al., Phys.
Rev. Lett. 108, 253002, 2012). Both read ``rhoflow.wells.WellSet`` and learn energies in kcal/mol.
"""
