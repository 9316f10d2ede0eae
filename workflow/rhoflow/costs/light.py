"""Requests of the rules that compute little: memory and run time by the size of their inputs."""

import math
from dataclasses import dataclass

from rhoflow.costs.resources import JOB_START_S, Resources, request


@dataclass(frozen=True)
class Light:
    """What a rule takes besides its inputs, and with each MB (2²⁰ bytes) of them on disk.

    Attributes:
        base_mb: memory without inputs, MB.
        per_mb: memory of a MB of inputs, MB.
        s_per_mb: seconds of a MB of inputs.
    """

    base_mb: float
    per_mb: float
    s_per_mb: float


# Peak memory and processor time in Snakemake's benchmarks on 28 and 1,000 structures of at most 10
# atoms (84 and 1,000 of rules that see all). The thousand were twelve copies of the shipped 84,
# whose tables compress better than others: the growth of records and predictions is taken a
# structure or a row, with the size that these have when no two are equal. Of rules marked * one
# size was measured, or none: their growth is that of the rule named beside them.
RULES = {
    "archive_atom_densities": Light(135, 12, 0.1),  # * archive_shard
    "archive_atoms": Light(135, 12, 0.1),  # * archive_shard
    "archive_shard": Light(135, 12, 0.1),  # * density_shard
    "atom_densities": Light(275, 40, 5.0),  # * structures_select; GPAW's sets: 0.04 s an element
    "boxed_shard": Light(290, 60, 150.0),  # 0.8 s and 11 KB a molecule inside 9 1/Å
    "classify_collect": Light(140, 50, 1.0),  # * scores_collect
    "composition_shard": Light(160, 300, 5.0),
    "coulomb_shard": Light(275, 210, 45.0),
    "crystal_graph_shard": Light(160, 300, 5.0),  # * composition_shard
    "density_image_shard": Light(140, 20, 0.1),  # * r3dvs_shard
    "density_shard": Light(140, 12, 0.1),  # full spectra: 0.8 MB a MB
    "dft_collect": Light(180, 15, 1.0),
    "dft_prepare": Light(275, 210, 45.0),  # * coulomb_shard: pymatgen, structure by structure
    "dft_prepare_atoms": Light(275, 210, 45.0),  # * dft_prepare
    "densities_predict": Light(600, 40, 20.0),  # * pretrained_shard; 10 ms a crystal of 20 KB
    "density_files": Light(160, 12, 1.0),  # * density_shard
    "density_truths": Light(140, 12, 1.0),  # * density_shard
    "fields_shard": Light(160, 20, 1.0),  # * r3dvs_shard
    "figure_added_tasks": Light(225, 40, 3.0),  # * figure_parity
    "figure_architecture": Light(385, 5, 0.1),
    "figure_classification": Light(250, 40, 3.0),  # * figure_parity
    "figure_comparison": Light(225, 40, 3.0),  # * figure_known, figure_parity
    "figure_concept": Light(475, 5, 0.1),
    "figure_density_map": Light(600, 20, 5.0),  # * figure_concept, and PySCF
    "figure_extrapolation": Light(225, 40, 3.0),  # * figure_parity
    "figure_funnel": Light(175, 5, 0.1),
    "figure_hartree": Light(400, 21, 1.1),
    "figure_known": Light(210, 5, 0.2),
    "figure_learning_curves": Light(210, 40, 3.0),
    "figure_parity": Light(225, 40, 3.0),
    "figure_scan": Light(225, 40, 3.0),  # * figure_parity
    "figure_score_table": Light(225, 40, 3.0),  # * figure_parity
    "figure_isosurface": Light(250, 40, 3.0),  # * figure_parity
    "figure_scf_starts": Light(225, 5, 0.2),  # * figure_known
    "figure_slices": Light(250, 40, 3.0),  # * figure_parity
    "figure_task_similarity": Light(225, 5, 0.2),  # * figure_known
    "figure_unseen": Light(225, 40, 3.0),  # * figure_parity
    "figure_wells": Light(210, 4, 12.0),  # ten redraws of five sizes, refitted
    "geometry_shard": Light(160, 300, 5.0),  # * composition_shard
    "molecular_shard": Light(275, 210, 100.0),  # * coulomb_shard; SOAP: 5 ms a molecule of 0.5 KB
    "molecules_collect": Light(180, 60, 5.0),  # * dft_collect
    "molecules_select": Light(350, 60, 20.0),  # * structures_select
    "pretrained_shard": Light(600, 300, 600.0),  # * figure_concept; a network reads 0.1 MB a minute
    "r3dvs_power_shard": Light(120, 15, 0.4),
    "r3dvs_shard": Light(140, 20, 0.1),
    "report_make": Light(185, 15, 0.5),  # * figures are copied into it
    "scores_collect": Light(175, 50, 1.0),  # 0.5 KB a prediction, 10 to 14 bytes on disk
    "soap_shard": Light(350, 4500, 37.0),  # a vector of 14,560 numbers for each 70 bytes of cell
    "splits_make": Light(160, 200, 5.0),
    "structures_select": Light(250, 40, 20.0),
    "table_networks": Light(600, 5, 10.0),  # * pretrained_shard
    "table_oxides": Light(190, 10, 25.0),  # 27 KB and 0.05 to 0.1 s a structure of 4 KB
    "wells_solve": Light(140, 12, 0.2),  # MB that it makes
}
# Of a rule that is not listed: as much as any.
GREEDIEST = Light(
    max(rule.base_mb for rule in RULES.values()),
    max(rule.per_mb for rule in RULES.values()),
    max(rule.s_per_mb for rule in RULES.values()),
)

# Asked for over measured: cells of up to 50 atoms hold more than those of 10 in the same file size,
# and nodes share their memory bandwidth.
RESERVE = 2.0


def light_resources(rule: str, input_mb: float, attempt: int = 1) -> Resources:
    """Run time and memory of a job of a rule that computes little.

    Args:
        rule: its name.
        input_mb: size of its input files on disk, MB; not a number counts as none.
        attempt: 1, 2, …
    """
    takes = RULES.get(rule, GREEDIEST)
    size = input_mb if math.isfinite(input_mb) and input_mb > 0 else 0.0
    memory_mb = RESERVE * (takes.base_mb + takes.per_mb * size)
    return request(JOB_START_S + RESERVE * takes.s_per_mb * size, memory_mb, attempt=attempt)
