"""Electron densities: the spectrum as their one representation, and what follows from it."""
