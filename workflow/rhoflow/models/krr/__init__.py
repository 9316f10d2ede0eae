"""Kernel ridge regression on vector descriptors (scikit-learn), targets standardised."""
