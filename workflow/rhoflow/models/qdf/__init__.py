"""Quantum deep field: orbitals, an energy functional and a Hohenberg-Kohn map, all learned.

After Tsubaki and Mizoguchi, Phys. Rev. Lett. 125, 206401 (2020), NeurIPS 2020 (arXiv 2011.07929)
and J. Chem. Theory Comput. 17, 7814 (2021), with the sizes and the order of steps of their public
code. A molecule is a field of points around its atoms; atomic orbitals, known by name alone, are
combined to molecular ones (``orbitals``); one dense network turns these, point by point, into
properties, another one the density into the external potential (``model``). ``gcn`` is the graph
convolution that remains when the points are the nuclei.
"""
