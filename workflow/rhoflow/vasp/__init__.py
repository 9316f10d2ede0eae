"""VASP's files: what a finished run left behind, read without trust in it.

``folders`` finds runs, ``stream`` opens their files, ``volumetric`` reads CHGCAR and LOCPOT,
``vasprun`` and ``outcar`` the energies, ``run`` puts them together. Both the structure source and
the engines ``outputs`` and ``vasp`` stand on it.
"""
