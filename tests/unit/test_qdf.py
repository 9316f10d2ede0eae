"""The quantum deep field against its published form, and its pieces."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.qdf_cases import CPU, OURS, QUICK, SMALL, chem, molecules, network, one
from tests.qdf_published import Published, preprocess

from rhoflow.descriptors.geometry import MoleculeSet
from rhoflow.models.qdf import gcn
from rhoflow.models.qdf.field import Fields, centred
from rhoflow.models.qdf.fit import Alternation
from rhoflow.models.qdf.model import HohenbergKohnMap, QuantumDeepField, density, own_rows
from rhoflow.models.qdf.orbitals import OrbitalTypes, electrons, shells
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec, sphere
from rhoflow.models.qdf.targets import TargetScale, by_size
from rhoflow.training.distributed import ALONE, Group

HCNOF = OrbitalTypes((1, 6, 7, 8, 9), "6-31G")
WATER = (("O", "H", "H"), [[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])


def published(net: QuantumDeepField, inputs: MoleculeSet, y: np.ndarray):
    """The same network in its published form, and its files' contents."""
    elements = tuple(int(z) for z in np.unique(inputs.numbers))
    form = Published(net.orbitals.coefficient.num_embeddings, net.map.first.in_features)
    form.copy_weights(net)
    each = [inputs.take([i]) for i in range(len(inputs))]
    return form, [
        preprocess(m.numbers, m.positions, target, elements)
        for m, target in zip(each, y, strict=True)
    ]


# The published model ----------------------------------------------------------------------------


def test_sizes_of_the_published_model():
    assert len(sphere(QDFSpec())) == 56
    assert len(HCNOF) == 60
    assert HCNOF.counts.tolist() == [4, 14, 14, 14, 14]
    count = sum(p.numel() for p in QuantumDeepField(QDFSpec(), HCNOF, 1).parameters())
    assert count == 392_562
    optimiser = QDFSpec().optimiser
    assert (optimiser.epochs, optimiser.batch_size, optimiser.halve_every) == (2000, 4, 200)
    assert (optimiser.learning_rate, optimiser.weight_decay) == (1e-4, 0)


def test_a_graph_network_has_the_size_of_the_descriptors_paper():
    """Table 1 of J. Chem. Theory Comput. 17, 7814: GNN, dimension 350, three targets."""
    spec = GCNSpec(dimension=350, depth=3, nonlinear=True, learned_exponents=False)
    net = gcn.GraphConvolution(spec, 5, 3)
    assert sum(p.numel() for p in net.parameters()) == 739_903


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_answers_are_those_of_the_published_form(pooling):
    inputs, y = molecules()
    net, _ = network(QDFSpec(), inputs)
    fields = Fields(inputs, QDFSpec(), OrbitalTypes.of(inputs, "6-31G"), (pooling == "sum",), CPU)
    form, files = published(net, inputs, y)
    field, potential = fields.batch(np.arange(len(inputs)))
    torch.testing.assert_close(net(field), form.energy(files, pooling), rtol=1e-5, atol=1e-5)
    known = np.concatenate([f.potential for f in files])
    np.testing.assert_allclose(potential.numpy(), known, rtol=1e-5, atol=1e-6)
    asked = net(field._replace(asks_potential=True))
    torch.testing.assert_close(asked, form.external(files), rtol=1e-5, atol=1e-6)


def test_steps_are_those_of_the_published_form():
    """One step for the energy and one for the potential for each batch, of one optimiser.

    Simple descent compares gradients: Adam makes a unit of whatever is left of a gradient that
    should be 0 (an orbital's coefficients may grow together without any effect).
    """
    inputs, y = molecules()
    spec = QDFSpec(dimension=30, map_dimension=30, optimiser=QUICK)
    net, fields = network(spec, inputs)
    form, files = published(net, inputs, y)
    ours = torch.optim.SGD(net.parameters(), lr=1e-4)
    theirs = torch.optim.SGD(form.parameters(), lr=1e-4)
    batches = Alternation(fields, torch.from_numpy(y).float(), 3, 0, ALONE)
    found = []
    for batch in batches(0):
        loss = torch.nn.functional.mse_loss(net(batch.inputs), batch.targets)
        ours.zero_grad()
        loss.backward()
        ours.step()
        found.append(loss.item())
    expected = []
    for start in range(0, len(inputs), 3):
        order = np.random.default_rng([0, 0]).permutation(len(inputs))[start : start + 3]
        expected += form.steps([files[i] for i in order], theirs)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    moved = Published(net.orbitals.coefficient.num_embeddings, 30)
    moved.copy_weights(net)
    for mine, other in zip(moved.parameters(), form.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


# The Hohenberg-Kohn map of one number -----------------------------------------------------------


def kinked(seed: int) -> HohenbergKohnMap:
    """A map in double precision with many kinks between 0.02 and 0.22."""
    torch.manual_seed(seed)
    net = HohenbergKohnMap(60, 3).double()
    with torch.no_grad():
        net.density.weight.uniform_(-2, 2)
        net.density.bias.uniform_(-0.2, 0.2)
    return net


def gradients(net: HohenbergKohnMap, values: torch.Tensor, density: torch.Tensor):
    wanted = [density, *net.parameters()]
    return torch.autograd.grad((values**3).sum() + values.sum(), wanted)


@pytest.mark.parametrize("n_knots", [2, 9, 200])
@pytest.mark.parametrize("seed", [0, 1])
def test_interpolation_is_exact_with_its_gradients(seed, n_knots):
    net = kinked(seed)
    density = (0.02 + 0.2 * torch.rand(800, 1, dtype=torch.float64) ** 2).requires_grad_()
    exact, opened = net.each(density.detach().sort(dim=0).values)
    assert (opened[1:] != opened[:-1]).any(dim=1).sum() > 10
    exact = net.each(density)[0]
    values = net.interpolated(density, n_knots)
    torch.testing.assert_close(values, exact, rtol=0, atol=1e-13)
    for found, known in zip(
        gradients(net, values, density), gradients(net, exact, density), strict=True
    ):
        torch.testing.assert_close(found, known, rtol=1e-10, atol=1e-12)


def test_interpolation_computes_few_points():
    """Else it would be exact, and worth nothing."""
    net, counts = kinked(0), []
    density = torch.linspace(0.02, 0.22, 3000, dtype=torch.float64)[:, None]
    each = net.each
    net.each = lambda x: (counts.append(len(x)), each(x))[1]  # type: ignore[method-assign]
    net(density)
    assert len(counts) == 2
    assert sum(counts) < 1500


@pytest.mark.parametrize("spread", [0.0, 1e-5])
def test_densities_that_are_all_alike_are_computed_one_by_one(spread):
    net = kinked(0).float()
    density = 0.1 + spread * torch.rand(600, 1)
    torch.testing.assert_close(net(density), net.each(density)[0], rtol=0, atol=0)


# Fields -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quadrature", ["unit", "volume"])
def test_orbitals_hold_all_electrons(quadrature):
    inputs, _ = molecules()
    spec = SMALL.model_copy(update={"quadrature": quadrature})
    net, fields = network(spec, inputs)
    field, _ = fields.batch(np.arange(len(inputs)))
    orbitals = net.orbitals(field.places, field.weights, field.types)
    held = (density(orbitals, field)[..., 0] * field.weights).sum(dim=1)
    expected = [inputs.take([i]).numbers.sum() for i in range(len(inputs))]
    np.testing.assert_allclose(held.detach().numpy(), expected, rtol=1e-5)


def test_a_charge_takes_electrons():
    assert electrons(one(*WATER, charge=1), valence=False) == 9
    assert electrons(one(*WATER, charge=-1), valence=True) == 9
    assert electrons(one(("Cl", "Na"), [[0, 0, 0], [0, 0, 2]]), valence=True) == 8


def test_volume_counts_shared_space_once():
    """The weights of two overlapping spheres are the volume of their union over that of one."""
    spec = QDFSpec(quadrature="volume", grid_angstrom=0.08)
    apart = 0.9
    inputs = one(("H", "H"), [[0, 0, 0], [0, 0, apart]])
    _, fields = network(spec, inputs)
    field, _ = fields.batch(np.array([0]))
    r = spec.sphere_angstrom
    lens = np.pi * (4 * r + apart) * (2 * r - apart) ** 2 / 12
    sphere_volume = 4 / 3 * np.pi * r**3
    expected = len(sphere(spec)) * (2 * sphere_volume - lens) / sphere_volume
    assert float(field.weights.sum()) == pytest.approx(expected, rel=0.01)


def test_unit_weights_count_every_point():
    inputs, _ = molecules()
    _, fields = network(SMALL, inputs)
    field, potential = fields.batch(np.array([0, 5]))
    assert field.weights.sum(dim=1).tolist() == [2 * 56, 7 * 56]
    assert len(potential) == field.pool.shape[1] == 9 * 56
    assert field.pool.sum(dim=1).tolist() == [2 * 56, 7 * 56]


@pytest.mark.parametrize("spec", [SMALL, OURS], ids=["published", "ours"])
def test_company_in_a_batch_changes_nothing(spec):
    inputs, _ = molecules()
    net, fields = network(spec, inputs)
    field, potential = fields.batch(np.arange(len(inputs)))
    together, rows = net(field), net(field._replace(asks_potential=True))
    start = 0
    for i in range(len(inputs)):
        alone, known = fields.batch(np.array([i]))
        torch.testing.assert_close(net(alone)[0], together[i], rtol=1e-4, atol=1e-5)
        end = start + len(known)
        torch.testing.assert_close(known, potential[start:end], rtol=1e-5, atol=1e-6)
        answer = net(alone._replace(asks_potential=True))
        torch.testing.assert_close(answer, rows[start:end], rtol=1e-4, atol=1e-5)
        start = end
    assert start == len(potential)


def test_own_rows_are_those_of_no_filling():
    inputs, _ = molecules()
    _, fields = network(SMALL, inputs)
    field, _ = fields.batch(np.array([1, 4, 0]))
    assert own_rows(field.weights, field).min() == 1
    alike, _ = fields.batch(np.array([4, 4]))
    assert alike.rows is None


def test_positions_count_from_the_centre():
    inputs, _ = molecules()
    at = centred(inputs)
    for i, size in enumerate(inputs.sizes):
        assert np.abs(at[inputs.offsets[i] :][:size].mean(axis=0)).max() < 1e-12


# Targets and batches ----------------------------------------------------------------------------


def test_standard_targets_come_back():
    inputs, y = molecules()
    y = np.hstack([y, y / inputs.sizes[:, None]])
    scale = TargetScale(y, inputs, (1, 6, 8), extensive=(True, False), standardise=True)
    z = scale.forward(y, inputs)
    assert z[:, 1].mean() == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(scale.inverse(z[None], inputs)[0], y)


def test_what_grows_with_the_atoms_goes_on_growing():
    """Targets that are a sum over atoms are left as 0 in larger molecules, too."""
    inputs, _ = molecules(24)
    constants = {1: -1.0, 6: -5.0, 8: -4.0}
    y = np.add.reduceat([constants[int(z)] for z in inputs.numbers], inputs.offsets[:-1])[:, None]
    y = y + 1e-3 * np.sin(np.arange(len(y)))[:, None]
    small = np.flatnonzero(inputs.sizes < 7)
    scale = TargetScale(
        y[small], inputs.take(small), (1, 6, 8), extensive=(True,), standardise=True
    )
    answers = scale.inverse(np.zeros((1, len(y), 1)), inputs)[0]
    np.testing.assert_allclose(answers, y, atol=5e-3)


def test_extensive_targets_are_given_no_constant():
    """What a network that answers 0 says of twice the atoms is twice as much."""
    inputs, y = molecules()
    m = inputs.take([5])
    twice = one([chem(z) for z in m.numbers] * 2, np.tile(m.positions, (2, 1)))
    scale = TargetScale(y + 20, inputs, (1, 6, 8), extensive=(True,), standardise=True)
    single, double = (scale.inverse(np.zeros((1, 1)), molecule) for molecule in (m, twice))
    np.testing.assert_allclose(double, 2 * single)


def test_targets_as_they_are():
    inputs, y = molecules()
    scale = TargetScale(y, inputs, (1, 6, 8), extensive=(True,), standardise=False)
    np.testing.assert_array_equal(scale.forward(y, inputs), y)
    np.testing.assert_array_equal(scale.inverse(y, inputs), y)


def test_batches_of_like_size_hold_everything_once():
    points = np.array([50, 10, 900, 20, 20, 400, 15])
    batches = list(by_size(points, 100))
    assert sorted(np.concatenate(batches).tolist()) == list(range(7))
    for chosen in batches:
        assert len(chosen) == 1 or points[chosen].max() * len(chosen) <= 100
    assert [2] in [b.tolist() for b in batches]
    assert len(batches) == 4
    assert not list(by_size(np.empty(0, dtype=np.int64), 100))


def test_processes_share_each_batch():
    """Weights add up to 1, for the potential in proportion to the points of each share."""
    inputs, y = molecules()
    _, fields = network(SMALL, inputs)
    z = torch.from_numpy(y).float()
    ranks = [list(Alternation(fields, z, 3, 0, Group(rank, 2))(1)) for rank in range(2)]
    alone = list(Alternation(fields, z, 3, 0, ALONE)(1))
    for mine, other, whole in zip(*ranks, alone, strict=True):
        assert mine.weight + other.weight == pytest.approx(1, abs=1e-12)
        assert mine.inputs.asks_potential == whole.inputs.asks_potential
        rows = [b.targets for b in (mine, other) if b.weight]
        torch.testing.assert_close(torch.cat(rows), whole.targets)
        if whole.inputs.asks_potential and mine.weight and other.weight:
            assert mine.weight == pytest.approx(len(mine.targets) / len(whole.targets))
    # Seven molecules in batches of three leave one alone: one process has nothing that counts.
    assert [ranks[0][-1].weight, ranks[1][-1].weight] in ([0, 1], [1, 0])


# Settings ---------------------------------------------------------------------------------------


def test_shells_follow_the_name_of_the_basis():
    assert sum(s.count for s in shells(17, "6-31G")) == 6 * 3 + 4 * 2
    assert {s.quantum_number for s in shells(17, "6-31G") if s.count == 4} == {3}
    assert [s.angular for s in shells(6, "6-31G(d)")] == [0, 0, 1, 2]
    assert shells(1, "6-31G(d)") == shells(1, "6-31G")


@pytest.mark.parametrize("settings", [
    {"sphere_angstrom": 0.1}, {"sphere_angstrom": 5, "grid_angstrom": 0.02}, {"basis": "STO-3G"},
])  # fmt: skip
def test_a_wrong_spec_is_refused(settings):
    with pytest.raises(ValidationError, match=r"sphere_angstrom|basis"):
        QDFSpec(**settings)
