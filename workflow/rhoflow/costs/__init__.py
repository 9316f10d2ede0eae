"""What a step costs: expected time and memory from its content, and tables of what was measured.

Every constant says which measurement it comes from. Machine: two cores of an AMD EPYC (family 25,
model 17, virtual), Python 3.11, one thread a process, November 2026, shared with other work: its
processor seconds are above those of an idle machine (``dft.IDLE``).
"""
