"""Expected costs of maps from potentials to densities."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from rhoflow.costs import maps, training
from rhoflow.density.spectrum import half_sphere
from rhoflow.descriptors.fields import FieldsSpec
from rhoflow.evaluation.densities import grid_shape
from rhoflow.models.field3d.inputs import Fields
from rhoflow.models.field3d.model import build
from rhoflow.models.field3d.spec import DensityOperatorSpec

ROOT = Path(__file__).parents[2]
N = 15
FIELDS = FieldsSpec()


def cell(channels: int, functions: int) -> Fields:
    """A cell of N³ points."""
    shape = (N, N, N // 2 + 1)
    return Fields(
        torch.randn(1, channels, N, N, N), torch.rand(1, functions, *shape),
        torch.randn(1, 3, *shape), torch.ones(1),
    )  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"layers": 2}, {"fields": 8, "kernel_size": 5}])
def test_operations_of_a_convolution_are_torchs_own(changes):
    spec = DensityOperatorSpec(operator="convolution", **changes)
    read = maps.channels(spec, FIELDS)
    with FlopCounterMode(display=False) as counter:
        build(spec, read)(cell(read, spec.radial_functions))
    one = maps.flop(spec, FIELDS, 92) / maps.grid_points(FIELDS, 92)
    assert one * N**3 == pytest.approx(counter.get_total_flops(), rel=1e-6)


@pytest.mark.parametrize(
    "changes", [{}, {"fields": 32}, {"layers": 1}, {"gradients": False}, {"atoms": "none"},
                {"operator": "convolution", "layers": 4}]
)  # fmt: skip
def test_numbers_kept_are_about_those_that_autograd_saves(changes):
    spec = DensityOperatorSpec(**changes)
    read = maps.channels(spec, FIELDS)
    network, inputs = build(spec, read), cell(read, spec.radial_functions)
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(inputs)
    counted = maps.numbers_kept(spec, FIELDS, 92) / maps.grid_points(FIELDS, 92)
    assert counted * N**3 == pytest.approx(sum(saved.values()), rel=0.25)


def test_grids_have_about_the_points_that_the_shipped_oxides_need():
    shards = sorted((ROOT / "resources" / "oxides").glob("00*.parquet"))[:10]
    table = pd.concat(pd.read_parquet(path, columns=["lattice_angstrom"]) for path in shards)
    cells = np.stack(table["lattice_angstrom"].to_list()).reshape(-1, 3, 3)
    found = sum(np.prod(grid_shape(half_sphere(cell, FIELDS.g_cut))) for cell in cells)
    expected = sum(maps.grid_points(FIELDS, abs(np.linalg.det(cell))) for cell in cells)
    assert found == pytest.approx(expected, rel=0.15)


def test_trainings_grow_with_what_they_read_and_how():
    def asked(descriptor=None, **model):
        arm = {
            "descriptor": {"kind": "fields", **(descriptor or {})},
            "model": {"kind": "density_operator", **model},
        }
        protocol = {"kind": "learning_curve", "train_sizes": [200]}
        spec = {"arm": arm, "targets": ["density_error_percent"], "protocol": protocol}
        work = training.training_work(spec, "0-0")
        return work, training.training_resources(spec, "0-0", n_structures=680)

    (work, job), (finer, larger) = asked(), asked({"g_cut": 9.0})
    assert finer.flop / work.flop == pytest.approx(1.5**3)
    assert larger.memory_mb > job.memory_mb > 490
    assert work.steps == 30 * 50
    assert work.flop > 2 * asked(gradients=False)[0].flop * 0.6
    atoms, without_network = asked(operator="none", atoms="free")
    assert atoms.flop == 0
    assert without_network.minutes <= job.minutes
