"""Maps from potentials to densities: what symmetry and a known density ask of them."""

import numpy as np
import pytest

from rhoflow.crystal import Crystal
from rhoflow.density.atoms import FormFactors, superposed
from rhoflow.density.spectrum import COULOMB_EV_ANGSTROM, Spectrum, evaluate, half_sphere, to_grid
from rhoflow.descriptors.fields import FieldsSpec, fields
from rhoflow.evaluation.densities import density_error_percent, grid_shape, observables
from rhoflow.models.base import Start
from rhoflow.models.field3d.atoms import AtomCorrections
from rhoflow.models.field3d.fit import fit
from rhoflow.models.field3d.spec import DensityOperatorSpec
from rhoflow.training.spec import OptimiserSpec

G_CUT = 5.0
SPEC = FieldsSpec(g_cut=G_CUT)
NAMES = ("density_error_percent", "electrons_per_atom", "hartree_energy_ev_per_atom")
QUICK = OptimiserSpec(epochs=2, batch_size=4, learning_rate=0.01)


def gaussian_atoms(**widths: float) -> FormFactors:
    """Atoms whose densities are Gaussians of these widths (Å)."""
    electrons = {"Mg": 2.0, "O": 6.0, "Ca": 2.0, "Ba": 10.0}
    g = 0.02 * np.arange(400)
    return FormFactors(
        0.02, {e: electrons[e] * np.exp(-(g**2) * w**2 / 2) for e, w in widths.items()}
    )


def rock_salt(metal: str, a: float, *, name: str = "") -> Crystal:
    lattice = a / 2 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    return Crystal(name or f"{metal}O-{a}", lattice, (metal, "O"), np.array([[0.0] * 3, [0.5] * 3]))


def spectrum_of(crystal: Crystal, factors: FormFactors) -> Spectrum:
    hkl = half_sphere(crystal.lattice, G_CUT)
    s = superposed(crystal.lattice, hkl, crystal.symbols, crystal.frac_coords, factors)
    return Spectrum(crystal.lattice, crystal.n_atoms, hkl, s.astype(np.complex64), G_CUT)


FREE = gaussian_atoms(Mg=0.5, Ca=0.6, O=0.45, Ba=0.7)
BOUND = gaussian_atoms(Mg=0.4, Ca=0.5, O=0.5, Ba=0.6)


def training_set(spec: FieldsSpec = SPEC, factors: FormFactors = BOUND):
    crystals = {
        c.material_id: c
        for metal, first in (("Mg", 4.1), ("Ca", 4.7))
        for c in (rock_salt(metal, first + 0.1 * i) for i in range(3))
    }
    spectra = {name: spectrum_of(c, factors) for name, c in crystals.items()}
    return fields(spectra, crystals, FREE, spec)


def trained(**settings):
    spec = DensityOperatorSpec(fields=4, layers=2, optimiser=QUICK, **settings)
    inputs = training_set()
    return fit(spec, SPEC, inputs, np.zeros((len(inputs), 3)), Start((3,), targets=NAMES))


def one(crystal: Crystal, factors: FormFactors = BOUND):
    name = crystal.material_id
    return fields({name: spectrum_of(crystal, factors)}, {name: crystal}, FREE, SPEC)


def test_superposed_gaussians_are_the_gaussians_at_points():
    crystal = rock_salt("Mg", 6.0)
    wide = gaussian_atoms(Mg=0.8, O=0.9)
    points = np.array([[0.0, 0.0, 0.0], [0.7, 0.2, 0.1], [1.5, 1.5, 1.5]])
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    expected = np.zeros(len(points))
    for atom, electrons, width in zip(crystal.frac_coords, (2, 6), (0.8, 0.9), strict=True):
        centres = (atom + images) @ crystal.lattice
        d2 = ((points[:, None] - centres) ** 2).sum(-1)
        height = electrons / (2 * np.pi * width**2) ** 1.5
        expected += height * np.exp(-d2 / (2 * width**2)).sum(1)
    hkl = half_sphere(crystal.lattice, 8.0 * 0.99)
    s = superposed(crystal.lattice, hkl, crystal.symbols, crystal.frac_coords, wide)
    found = evaluate(Spectrum(crystal.lattice, 2, hkl, s.astype(np.complex64)), points)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_the_density_follows_from_the_potential_of_its_ions_by_poisson():
    """-∇²v/4πe² of the ions is their charge: minus the electrons that would neutralise them."""
    spec = FieldsSpec(g_cut=G_CUT, potentials=("ions",), width_angstrom=0.45)
    crystal = rock_salt("Mg", 4.2)
    found = fields({"x": spectrum_of(crystal, FREE)}, {"x": crystal}, FREE, spec)
    g2 = (found.spectrum(0).g_vectors() ** 2).sum(axis=1)
    ions = superposed(
        crystal.lattice, found.hkl, crystal.symbols, crystal.frac_coords,
        gaussian_atoms(Mg=0.45, O=0.45),
    )  # fmt: skip
    charge = -found.potentials[0] * g2 / (4 * np.pi * COULOMB_EV_ANGSTROM)
    moving = g2 > 0
    assert charge[moving] == pytest.approx(ions[moving], abs=1e-6)


def test_fitted_atoms_find_the_atoms_that_the_density_is_made_of():
    inputs = training_set()
    atoms = AtomCorrections.fitted(inputs, G_CUT, 16)
    left = np.abs(inputs.density - inputs.atoms - atoms.added(inputs)).max()
    assert left < 0.02 * np.abs(inputs.density - inputs.atoms).max()
    new = one(rock_salt("Mg", 4.25))
    operator = fit(
        DensityOperatorSpec(operator="none", radial_functions=16), SPEC, inputs,
        np.zeros((len(inputs), 3)), Start(targets=NAMES),
    )  # fmt: skip
    error, electrons, _ = operator.predict(new)[0, 0]
    assert error < 0.2
    assert electrons == pytest.approx(4.0, abs=1e-5)


@pytest.mark.parametrize("operator", ["spectral", "convolution"])
@pytest.mark.parametrize("atoms", ["none", "free", "fitted"])
def test_every_prediction_holds_the_electrons(operator, atoms):
    crystal = rock_salt("Ca", 4.85)
    predicted = trained(operator=operator, atoms=atoms).densities(one(crystal))[0][0]
    assert predicted.n_electrons == pytest.approx(8.0, abs=1e-4)


def test_a_network_errs_less_than_what_it_starts_from():
    inputs = training_set()
    settings = OptimiserSpec(epochs=80, batch_size=4, learning_rate=0.01)
    network = DensityOperatorSpec(fields=4, layers=1, atoms="free", optimiser=settings)
    none = DensityOperatorSpec(operator="none", atoms="free")
    new, y = one(rock_salt("Mg", 4.25)), np.zeros((len(inputs), 3))
    errors = [
        fit(spec, SPEC, inputs, y, Start(targets=NAMES)).predict(new)[0, 0, 0]
        for spec in (network, none)
    ]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("gradients", [True, False])
def test_a_supercell_has_the_density_of_its_primitive_cell(gradients):
    """Of the spectral operator whatever the cells; grids that are multiples make it exact."""
    operator = trained(gradients=gradients)
    small = rock_salt("Mg", 4.6)
    shifts = np.array(list(np.ndindex(2, 2, 2)))
    places = (small.frac_coords + shifts[:, None]).reshape(-1, 3) / 2
    big = Crystal("big", 2 * small.lattice, small.symbols * 8, places)
    pair = [operator.densities(one(c))[0][0] for c in (small, big)]
    points = np.random.default_rng(0).uniform(0, 5, (40, 3))
    first, second = (evaluate(s, points) for s in pair)
    assert second == pytest.approx(first, abs=2e-3 * np.abs(first).max())
    assert pair[1].n_electrons == pytest.approx(8 * pair[0].n_electrons, rel=1e-5)


def test_another_cell_of_the_same_lattice_changes_nothing_for_the_spectral_operator():
    """A sheared primitive cell; the convolution, which reads the grid, tells the two apart."""
    small = rock_salt("Mg", 4.6)
    shear = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    other = Crystal(
        "sheared", shear @ small.lattice, small.symbols, small.frac_coords @ np.linalg.inv(shear)
    )
    points = np.random.default_rng(0).uniform(0, 5, (40, 3))
    apart = {}
    for kind in ("spectral", "convolution"):
        operator = trained(operator=kind)
        operator.model = louder(operator)
        first, second = (evaluate(operator.densities(one(c))[0][0], points) for c in (small, other))
        apart[kind] = np.abs(first - second).max() / np.abs(first).max()
    assert apart["spectral"] < 2e-3
    assert apart["convolution"] > 3 * apart["spectral"]


def louder(operator):
    """The same networks with louder answers, so that differences are seen."""
    model = operator.model
    names = [i for i, n in enumerate(model.names) if n.startswith(("leave", "linear"))]
    for i in names:
        model.weights[i].data *= 3
    return model


def test_a_turned_crystal_has_the_turned_density():
    operator = trained()
    crystal = rock_salt("Ca", 4.9)
    angle = 0.7
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    turned = Crystal("turned", crystal.lattice @ turn.T, crystal.symbols, crystal.frac_coords)
    first, second = (operator.densities(one(c))[0][0] for c in (crystal, turned))
    assert second.coefficients == pytest.approx(first.coefficients, abs=1e-5)


def test_observables_of_a_known_difference():
    crystal = rock_salt("Mg", 4.2)
    true = spectrum_of(crystal, BOUND)
    more = Spectrum(true.lattice, 2, true.hkl, 1.1 * true.coefficients, true.g_max)
    of_true, of_more = observables(more, true, NAMES)
    assert of_more[0] == pytest.approx(10.0, rel=1e-5)
    assert of_more[1] == pytest.approx(4.4, rel=1e-6)
    assert of_more[2] == pytest.approx(1.21 * of_true[2], rel=1e-5)
    assert density_error_percent(true, true) == 0
    values = to_grid(true, grid_shape(true.hkl))
    assert values.mean() * true.volume == pytest.approx(8.0, rel=1e-5)
