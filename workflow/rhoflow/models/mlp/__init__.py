"""A small dense network on vector descriptors, trained by the same loop as all others."""
