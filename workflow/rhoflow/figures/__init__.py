"""Figures: a table or density in, a matplotlib Figure out; one module a paper."""
