"""What must hold for the quantum deep field, and its identity with a graph convolution."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from rhoflow.descriptors.geometry import MoleculeSet, molecule_set
from rhoflow.models.base import Start
from rhoflow.models.qdf.field import Field, Fields
from rhoflow.models.qdf.fit import fit
from rhoflow.models.qdf.gcn import Convolution, GraphConvolution, Graphs
from rhoflow.models.qdf.model import QuantumDeepField
from rhoflow.models.qdf.orbitals import Orbitals, OrbitalTypes, harmonics
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec
from rhoflow.molecule import Molecule
from rhoflow.training.spec import OptimiserSpec

CPU = torch.device("cpu")
PUBLISHED = QDFSpec(dimension=20, map_dimension=20)
FORMS = {
    "published": PUBLISHED,
    "slater": PUBLISHED.model_copy(update={"radial": "slater"}),
    "angular": PUBLISHED.model_copy(update={"angular": True, "basis": "6-31G(d)"}),
    "coulomb": PUBLISHED.model_copy(update={"potential": "coulomb"}),
    "pseudo": PUBLISHED.model_copy(update={"potential": "pseudo"}),
    "volume": PUBLISHED.model_copy(update={"quadrature": "volume"}),
}
FORMAMIDE = (
    ("O", "C", "N", "H", "H", "H"),
    np.array(
        [
            [1.19, 0.23, 0.02],
            [0.16, -0.40, 0.01],
            [-1.08, 0.18, -0.03],
            [0.13, -1.50, 0.04],
            [-1.16, 1.18, 0.05],
            [-1.93, -0.36, 0.01],
        ]
    ),
)


def one(symbols, positions) -> MoleculeSet:
    return molecule_set([Molecule("m", tuple(symbols), np.asarray(positions, float))])


def made(spec: QDFSpec, molecules: MoleculeSet) -> tuple[QuantumDeepField, Fields]:
    types = OrbitalTypes.of(molecules, spec.basis)
    torch.manual_seed(0)
    fields = Fields(molecules, spec, types, (True,), CPU)
    return QuantumDeepField(spec, types, 1), fields


def answers(spec: QDFSpec, molecules: MoleculeSet) -> tuple[float, np.ndarray, np.ndarray]:
    """Property, sorted potentials and sorted answers of the map, of an untrained network."""
    net, fields = made(spec, molecules)
    field, potential = fields.batch(np.array([0]))
    with torch.no_grad():
        mapped = net.map.each(_density(net, field))[0]
        return (
            float(net(field)), np.sort(potential[:, 0].numpy()), np.sort(mapped[:, 0].numpy())
        )  # fmt: skip


def _density(net: QuantumDeepField, field: Field) -> torch.Tensor:
    orbitals = net.orbitals(field.places, field.weights, field.types)
    squares = orbitals.square()
    total = (squares * field.weights[..., None]).sum(dim=1, keepdim=True)
    scaled = squares * field.electrons[:, None, None] / orbitals.shape[-1] / total
    return scaled.sum(dim=-1).T


# The sphere of points has the symmetry of a cube: only such rotations leave its sums as they are.
CUBIC = [
    Rotation.from_euler("z", 90, degrees=True),
    Rotation.from_rotvec([2.0943951] * 3 / np.sqrt(3)),
]


@pytest.mark.parametrize("form", list(FORMS))
def test_invariances(form):
    """Translation, order of atoms, and the rotations of a cube."""
    symbols, at = FORMAMIDE
    expected = answers(FORMS[form], one(symbols, at))
    order = [3, 0, 5, 1, 4, 2]
    others = [(symbols, at + np.array([3.1, -20.7, 0.4]))]
    others += [(tuple(symbols[i] for i in order), at[order])]
    others += [(symbols, turn.apply(at)) for turn in CUBIC]
    for other in others:
        for found, known in zip(answers(FORMS[form], one(*other)), expected, strict=True):
            np.testing.assert_allclose(found, known, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("form", ["published", "angular"])
def test_orbitals_turn_with_the_molecule(form):
    """Any rotation of molecule and points together leaves every atomic orbital's values."""
    symbols, at = FORMAMIDE
    at = at - at.mean(axis=0)
    points = np.random.default_rng(0).normal(size=(40, 3))
    turn = Rotation.from_euler("xyz", [0.4, 1.3, -2.2])
    values = []
    for positions, where in ((at, points), (turn.apply(at), turn.apply(points))):
        net, fields = made(FORMS[form], one(symbols, positions))
        only = np.array([0])
        sight = fields.sight(only, torch.from_numpy(where).float()[None])
        places, types = fields.places(only, sight)
        with torch.no_grad():
            values.append(net.orbitals.functions(places, types)[1])
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-6)


def test_harmonics_average_to_one_on_a_sphere():
    cosine = np.linspace(-1, 1, 20_001)
    forms = np.stack([np.ones_like(cosine), cosine, 3 * cosine**2 - 1])
    for angular in range(3):
        values = harmonics(np.array([angular]))[0] @ forms
        assert np.trapezoid(values**2, cosine) / 2 == pytest.approx(1, rel=1e-4)


def functions_along(symbols, positions, atom: int, direction) -> torch.Tensor:
    """(2, orbitals) values at two points on either side of an atom."""
    inputs = one(symbols, np.asarray(positions, float))
    net, fields = made(FORMS["angular"], inputs)
    centre = inputs.positions[atom] - inputs.positions.mean(axis=0)
    points = np.stack([centre + 0.4 * np.asarray(direction), centre - 0.4 * np.asarray(direction)])
    only = np.array([0])
    places, types = fields.places(only, fields.sight(only, torch.from_numpy(points).float()[None]))
    with torch.no_grad():
        values = net.orbitals.functions(places, types)[1][0]
    start = int(sum(14 + 1 if s != "H" else 4 for s in symbols[:atom]))
    return values[:, start : start + 15]


def test_p_functions_point_to_neighbours_and_change_sign():
    """Along the axis of CO they are odd, in the plane across it they vanish; s and d are even."""
    symbols, at = ("C", "O"), [[0, 0, 0], [0, 0, 1.13]]
    along = functions_along(symbols, at, 0, [0, 0, 1])
    across = functions_along(symbols, at, 0, [1, 0, 0])
    s, p, d = slice(0, 10), slice(10, 14), slice(14, 15)
    torch.testing.assert_close(along[0, p], -along[1, p], rtol=1e-3, atol=1e-5)
    assert along[0, p].abs().min() > 0.1
    assert across[:, p].abs().max() < 1e-5
    for even in (s, d):
        torch.testing.assert_close(along[0, even], along[1, even], rtol=1e-3, atol=1e-5)


def test_an_atom_in_a_symmetric_place_has_no_directed_functions():
    """The limit of one direction an atom: methane's carbon keeps its s functions alone."""
    tetrahedron = 0.63 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    values = functions_along(
        ("C", "H", "H", "H", "H"), np.vstack([np.zeros(3), tetrahedron]), 0, [0.6, 0, 0.8]
    )
    assert values[:, 10:].abs().max() < 1e-4
    assert values[:, :10].abs().min() > 0.1


@pytest.mark.parametrize("distance", [0.3, 1.0, 4.0])
def test_potentials_of_one_nucleus(distance):
    inputs = one(("O",), [[0, 0, 0]])
    found = {}
    for name in ("published", "coulomb", "pseudo"):
        _, fields = made(FORMS[name], inputs)
        point = torch.tensor([[[0.0, 0.0, distance]]])
        found[name] = float(fields._potential(fields.sight(np.array([0]), point)))
    width = PUBLISHED.potential_width_angstrom
    assert found["published"] == pytest.approx(-8 * math.exp(-(distance**2)), rel=1e-4)
    assert found["coulomb"] == pytest.approx(-8 / distance, rel=1e-5)
    assert found["pseudo"] == pytest.approx(-6 * math.erf(distance / width) / distance, rel=1e-5)


def test_a_pseudopotential_is_finite_at_the_nucleus():
    _, fields = made(FORMS["pseudo"], one(("O",), [[0, 0, 0]]))
    origin = fields._potential(fields.sight(np.array([0]), torch.zeros(1, 1, 3)))
    limit = -6 * 2 / math.sqrt(math.pi) / PUBLISHED.potential_width_angstrom
    assert float(origin) == pytest.approx(limit, rel=1e-3)


# The density --------------------------------------------------------------------------------------


def uniform(span: float, step: float) -> np.ndarray:
    axis = np.arange(-span, span, step) + step / 2
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("quadrature", ["unit", "volume"])
def test_the_density_in_the_spheres_integrates_to_all_electrons(quadrature):
    """Hydrogen's two spheres overlap; a fine grid of another kind integrates the density."""
    spec = QDFSpec(
        dimension=8, map_dimension=8, quadrature=quadrature, grid_angstrom=0.1,
        optimiser=OptimiserSpec(epochs=1),
    )  # fmt: skip
    at = np.array([[0, 0, -0.37], [0, 0, 0.37]])
    fitted = fit(spec, one(("H", "H"), at), np.array([[-4.5]]), Start((0,), None, (True,)))
    step = 0.05
    points = uniform(1.2, step)
    held = np.linalg.norm(points[:, None] - at, axis=-1).min(axis=1) <= spec.sphere_angstrom
    density = fitted.density(one(("H", "H"), at), points[held])
    assert density.min() >= 0
    assert density.sum() * step**3 == pytest.approx(2, rel=0.02)
    swapped = fitted.density(one(("H", "H"), at), points[held] * [1, 1, -1])
    np.testing.assert_allclose(swapped, density, rtol=1e-4)


def test_a_point_upon_a_nucleus_has_the_density_beside_it():
    at = np.array([[0.2, 0, 0], [0, 0, 0.9]])
    m = one(("C", "O"), at)
    spec = QDFSpec(dimension=8, map_dimension=8, optimiser=OptimiserSpec(epochs=1))
    fitted = fit(spec, m, np.array([[-11.0]]), Start((0,), None, (True,)))
    upon, beside = fitted.density(m, at), fitted.density(m, at + 1e-4)
    np.testing.assert_allclose(upon, beside, rtol=2e-3)


# LCAO at the nuclei is one graph convolution ------------------------------------------------------


def s_functions(types: OrbitalTypes) -> np.ndarray:
    """(types,) whether a type is an s function exp(-zeta d²)."""
    return (types.each("quantum_number") == 1) & (types.each("angular") == 0)


def restricted(types: OrbitalTypes) -> Orbitals:
    """Orbitals with random exponents whose coefficients are 0 but for s functions."""
    torch.manual_seed(3)
    orbitals = Orbitals(PUBLISHED, types)
    with torch.no_grad():
        orbitals.zeta.weight.uniform_(0.3, 2)
        orbitals.coefficient.weight[torch.from_numpy(~s_functions(types))] = 0
    return orbitals.double()


def convolution(orbitals: Orbitals, types: OrbitalTypes) -> tuple[Convolution, torch.Tensor]:
    """One linear layer with the same numbers, on elements as unit vectors."""
    n, dimension = len(types.elements), PUBLISHED.dimension
    layer = Convolution(GCNSpec(dimension=dimension, functions=6), n).double()
    weight = torch.zeros(6, dimension, dimension, dtype=torch.float64)
    first = np.cumsum(types.counts) - types.counts
    with torch.no_grad():
        for element, start in enumerate(first):
            own = np.flatnonzero(s_functions(types)[start : start + types.counts[element]])
            for k in own:
                weight[k, :, element] = orbitals.coefficient.weight[start + k]
                layer.zeta.weight[element, k] = orbitals.zeta.weight[start + k, 0]
        layer.message.weight.copy_(weight.flatten(0, 1))
        layer.message.bias.zero_()
    return layer, torch.eye(n, dimension, dtype=torch.float64)


def at_the_nuclei(fields: Fields, number: int, reads_sum: bool = True) -> Field:
    """The field whose points are the nuclei of one molecule, in double precision."""
    only = np.array([number])
    start, size = fields.starts[number], fields.sizes[number]
    nuclei = fields.positions[start : start + size].double()[None]
    fields.positions = fields.positions.double()
    places, types = fields.places(only, fields.sight(only, nuclei))
    one_each = torch.ones(1, size, dtype=torch.float64)
    held = fields.electrons[number : number + 1].double()
    share = torch.ones(1, 1, dtype=torch.float64)
    return Field(places, types, one_each, held, None, one_each, share)


def several() -> MoleculeSet:
    symbols, at = FORMAMIDE
    return molecule_set(
        [
            Molecule("formamide", symbols, at),
            Molecule("water", ("O", "H", "H"), at[:3] * 1.1),
            Molecule("carbon", ("C", "C", "N", "H"), at[1:5]),
        ]
    )


def test_lcao_at_the_nuclei_is_a_linear_graph_convolution():
    """Column-normalised weights exp(-zeta_j d_ij²) times coefficients, to 1e-6 and far below."""
    molecules = several()
    types = OrbitalTypes.of(molecules, "6-31G")
    orbitals = restricted(types)
    layer, features = convolution(orbitals, types)
    graphs = Graphs(molecules, types.elements, (True,), CPU)
    for i in range(len(molecules)):
        fields = Fields(molecules, PUBLISHED, types, (True,), CPU)
        field = at_the_nuclei(fields, i)
        lcao = orbitals(field.places, field.weights, field.types)
        at = fields.positions[fields.starts[i] :][: fields.sizes[i]]
        graph = graphs.batch(np.array([i]))
        graph = graph._replace(
            squared=torch.cdist(at, at)[None].square(), weights=graph.weights.double()
        )
        convolved = layer(features[graph.elements], graph)
        assert lcao.abs().max() > 0.1
        assert float((lcao - convolved).abs().max()) < 1e-9
        bent = layer.spec.model_copy(update={"nonlinear": True})
        layer.spec, linear = bent, layer.spec
        other = layer(features[graph.elements], graph)
        layer.spec = linear
        assert float((lcao - other).abs().max()) > 1e-3


def test_the_whole_network_on_nuclei_is_a_graph_network_of_depth_one():
    """In the arithmetic of training: energies from LCAO and from the graph convolution."""
    molecules = several()
    types = OrbitalTypes.of(molecules, "6-31G")
    orbitals = restricted(types)
    layer, features = convolution(orbitals, types)
    quantum = QuantumDeepField(PUBLISHED, types, 1)
    spec = GCNSpec(dimension=PUBLISHED.dimension, functions=6)
    graphs = GraphConvolution(spec, len(types.elements), 1)
    quantum.orbitals, quantum.functional = orbitals, graphs.functional
    graphs.layers[0] = layer
    with torch.no_grad():
        graphs.embedding.weight.copy_(features)
    quantum, graphs = quantum.double(), graphs.double()
    maker = Graphs(molecules, types.elements, (True,), CPU)
    for i in range(len(molecules)):
        field = at_the_nuclei(Fields(molecules, PUBLISHED, types, (True,), CPU), i)
        graph = maker.batch(np.array([i]))
        graph = type(graph)(*(x.double() if x.is_floating_point() else x for x in graph))
        with torch.no_grad():
            energies = float(quantum(field)), float(graphs(graph))
        assert energies[0] == pytest.approx(energies[1], rel=1e-6, abs=1e-6)
