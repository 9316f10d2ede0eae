"""rhoflow: from structures through electron densities to trained models and figures.

The package holds the science. It knows neither Snakemake nor where files lie: paths and
wildcards belong to the rules, and ``rhoflow.io`` alone knows file formats.
"""

__version__ = "0.1.0"
