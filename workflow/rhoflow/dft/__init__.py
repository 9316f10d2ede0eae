"""Density-functional theory: engines, the processes that run them, and the targets.

``base`` is what an engine offers, ``gpaw`` is one; ``shard`` and ``atoms`` run an engine over
structures and elements, each in a process of its own (``jobs``, ``worker``); ``targets`` turns
their records into the properties that models learn. ``ENERGIES.md`` defines every energy term.
"""
