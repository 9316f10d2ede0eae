"""Hohenberg-Kohn maps in three dimensions: networks from potentials to densities.

A network reads fields on the periodic grid of a cell (a potential, and free atoms put side by
side) and answers with what the density differs from those atoms; the integral of the difference is
0, so every prediction holds the right number of electrons.

Two operators. The convolution reads neighbouring points of the grid, so it sees the shape of the
cell and the distance of the points. The spectral operator multiplies Fourier coefficients with
functions of |g| alone (after the Fourier neural operator of Li et al., ICLR 2021, whose weights
belong to indices instead) and mixes fields point by point: it knows neither cell nor axes, so a
turned crystal has a turned density, and a supercell the density of its primitive cell.
"""
