"""Descriptors: each module holds one spec and one compute function."""
