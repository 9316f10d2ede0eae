"""A predicted density beside the run that it replaces, and what a training step is made of.

On one thread in the same run. The networks have the sizes of the default config and first weights:
what they predict does not change how long they take. ``extra_info`` holds seconds and ratios.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.data import chemical_symbols
from tests.benchmarks.peers import compare, seconds

from rhoflow.crystal import Crystal
from rhoflow.density.atoms import FormFactors
from rhoflow.density.spectrum import Spectrum, half_sphere, to_grid
from rhoflow.descriptors.fields import FieldSet, FieldsSpec, fields
from rhoflow.dft import gpaw
from rhoflow.models.base import Start
from rhoflow.models.field3d.fit import FittedOperator, fit
from rhoflow.models.field3d.spec import DensityOperatorSpec
from rhoflow.training.devices import make_deterministic
from rhoflow.training.losses import sum_of_absolute_sums
from rhoflow.training.spec import OptimiserSpec

SPEC = FieldsSpec()
ONCE = OptimiserSpec(epochs=1, batch_size=4, learning_rate=0.01)
OPERATORS = {
    "spectral": DensityOperatorSpec(optimiser=ONCE),
    "convolution": DensityOperatorSpec(operator="convolution", layers=4, optimiser=ONCE),
}
EDGE = 48
PEROVSKITE = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    make_deterministic()


def perovskite(a: float, metal: str = "Sr") -> Crystal:
    return Crystal(f"{metal}TiO3-{a:.3f}", a * np.eye(3), (metal, "Ti", "O", "O", "O"), PEROVSKITE)


def free_atoms() -> FormFactors:
    """Gaussians: as fast to superpose as any other atoms."""
    g = 0.05 * np.arange(241)
    return FormFactors(0.05, {e: 8 * np.exp(-(g**2) / 8) for e in chemical_symbols[1:90]})


def field_set(crystals: list[Crystal]) -> FieldSet:
    """Crystals with some density."""
    rng = np.random.default_rng(0)
    spectra = {}
    for crystal in crystals:
        hkl = half_sphere(crystal.lattice, SPEC.g_cut)
        values = 0.01 * rng.normal(size=len(hkl)) + 0.3 * ~hkl.any(axis=1)
        spectra[crystal.material_id] = Spectrum(
            crystal.lattice, 5, hkl, values.astype(np.complex64), SPEC.g_cut
        )
    return fields(spectra, {c.material_id: c for c in crystals}, free_atoms(), SPEC)


def operator(kind: str) -> FittedOperator:
    inputs = field_set([perovskite(3.9 + 0.01 * i) for i in range(4)])
    return fit(OPERATORS[kind], SPEC, inputs, np.zeros((4, 0)), Start())


@pytest.mark.parametrize("kind", list(OPERATORS))
def test_a_density_on_48_cubed_points_against_gpaw(benchmark, tmp_path: Path, kind: str) -> None:
    """From the structure to the density on a grid; GPAW one run at the settings of the archive."""
    crystal, trained = perovskite(3.94), operator(kind)

    def predict() -> np.ndarray:
        (density,) = trained.densities(field_set([crystal]))[0]
        return to_grid(density, (EDGE, EDGE, EDGE))

    settings = gpaw.SPEC(energy_tolerance_ev=5e-4, density_tolerance=1e-4)
    result = []
    run_s = seconds(lambda: result.append(gpaw.calculate(crystal, settings, tmp_path / "log")), 1)
    assert result[0].record["status"] == "ok"
    benchmark(predict)
    compare(benchmark, "GPAW", run_s, of="median")


@pytest.mark.parametrize("kind", list(OPERATORS))
def test_the_network_is_most_of_a_training_step(benchmark, kind: str) -> None:
    """A step with its batch made, beside the network alone on a batch that is there."""
    crystals = [perovskite(3.8 + 0.02 * i) for i in range(4)]
    trained = operator(kind)
    made = trained.batcher(field_set(crystals))
    cells = torch.arange(4)
    model = trained.model
    assert model is not None

    def step(inputs, answer) -> None:
        model.zero_grad(set_to_none=True)
        sum_of_absolute_sums(model(inputs), answer).backward()

    ready = (made.fields(cells), made.answer(cells))
    alone = seconds(lambda: step(*ready), 20)
    benchmark(lambda: step(made.fields(cells), made.answer(cells)))
    compare(benchmark, "network alone", alone)
