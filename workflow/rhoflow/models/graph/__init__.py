"""Graph networks on crystals, the peer of networks that read densities.

Layers are PyTorch Geometric's: ``CGConv`` of Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018),
and ``GraphConv`` as Benitez et al., arXiv 2511.15222 (2025), use it. Where both normalise over a
batch, atoms are normalised one by one here: an answer does not depend on what else is in a batch.
"""
