"""The network: molecular orbitals, the energy functional and the Hohenberg-Kohn map."""

import torch
from torch import nn
from torch.nn import functional

from rhoflow.models.qdf.field import Field
from rhoflow.models.qdf.orbitals import Orbitals, OrbitalTypes, norms
from rhoflow.models.qdf.spec import QDFSpec

# Points of a batch for which the Hohenberg-Kohn map has one knot; fewer points, and densities that
# spread less over their largest, have none.
POINTS_A_KNOT = 16
FEWEST_POINTS = 512
LEAST_SPREAD = 0.01


class Functional(nn.Module):
    """Dense layers for every point or atom, a sum over them, and a linear layer to properties.

    Equations 4 and 5 of the descriptor's paper; the sum is q, the quantum deep descriptor.
    """

    def __init__(self, dimension: int, layers: int, n_targets: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(dimension, dimension) for _ in range(layers)])
        self.property = nn.Linear(dimension, n_targets)

    def pooled(self, values: torch.Tensor, pool: torch.Tensor) -> torch.Tensor:
        """(batch, dimension) sums over the (n, dimension) rows that (batch, n) pool weighs."""
        for layer in self.hidden:
            values = torch.relu(layer(values))
        return pool @ values

    def forward(
        self, values: torch.Tensor, pool: torch.Tensor, share: torch.Tensor
    ) -> torch.Tensor:
        """(batch, targets); a target reads its share (batch, targets) of the sum."""
        sums = functional.linear(self.pooled(values, pool), self.property.weight)
        return sums * share + self.property.bias


class HohenbergKohnMap(nn.Module):
    """The external potential at a point as a function of the density there; eq. 7.

    Two linear layers follow each other first, as in the published code, with nothing between
    them. Of one number they are computed as the one linear layer that they make up.

    The map is piecewise linear in one number, and so are its derivatives by all weights: they are
    linear between two densities that open the same ReLUs, since the inputs that open a given set
    of them are convex. Between two such knots, a point is interpolated, which is exact, gradients
    included. Where knots differ, each point is computed by itself.
    """

    def __init__(self, dimension: int, layers: int) -> None:
        super().__init__()
        self.density = nn.Linear(1, dimension)
        self.first = nn.Linear(dimension, dimension)
        self.others = nn.ModuleList([nn.Linear(dimension, dimension) for _ in range(layers - 1)])
        self.potential = nn.Linear(dimension, 1)

    def forward(self, density: torch.Tensor) -> torch.Tensor:
        """(n, 1) density to (n, 1) potential."""
        # Which points need to be computed is known only once others are: a GPU would wait.
        if density.is_cuda or len(density) < FEWEST_POINTS:
            return self.each(density)[0]
        return self.interpolated(density, len(density) // POINTS_A_KNOT)

    def each(self, density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 1) potential, every point computed, and (n, units) the ReLUs that are open."""
        slope, shift = self.first.weight @ self.density.weight, self.first(self.density.bias)
        values = torch.relu(functional.linear(density, slope, shift))
        opened = [values.detach() > 0]
        for layer in self.others:
            values = torch.relu(layer(values))
            opened.append(values.detach() > 0)
        return self.potential(values), torch.cat(opened, dim=1)

    def interpolated(self, density: torch.Tensor, n_knots: int) -> torch.Tensor:
        """``each`` by way of evenly spaced knots."""
        low, high = (x.item() for x in density.detach().aminmax())
        # Slopes are differences of potentials: those of near knots would be rounding alone.
        if not high - low > LEAST_SPREAD * high:
            return self.each(density)[0]
        knots = torch.linspace(low, high, n_knots, dtype=density.dtype, device=density.device)
        values, opened = self.each(knots[:, None])
        linear = (opened[1:] == opened[:-1]).all(dim=1)
        interval = torch.searchsorted(knots, density.detach()[:, 0]).sub(1).clamp(0, n_knots - 2)
        slope = (values[1:] - values[:-1]) / knots.diff()[:, None]
        below = density - knots[interval, None]
        potential = values.index_select(0, interval) + slope.index_select(0, interval) * below
        rest = (~linear[interval]).nonzero()[:, 0]
        return potential.index_copy(0, rest, self.each(density.index_select(0, rest))[0])


class QuantumDeepField(nn.Module):
    """Fields of molecules to their targets, or to the potential at their points.

    Args:
        spec: sizes and switches.
        types: orbital types of the training set.
        n_targets: properties of a molecule.
    """

    def __init__(self, spec: QDFSpec, types: OrbitalTypes, n_targets: int) -> None:
        super().__init__()
        self.orbitals = Orbitals(spec, types)
        self.functional = Functional(spec.dimension, spec.functional_layers, n_targets)
        self.map = HohenbergKohnMap(spec.map_dimension, spec.map_layers)

    def forward(self, field: Field) -> torch.Tensor:
        """(batch, targets), or (all points, 1) potentials where the field asks for them."""
        orbitals = self.orbitals(field.places, field.weights, field.types)
        if field.asks_potential:
            return self.map(own_rows(density(orbitals, field), field))
        values = own_rows(orbitals * scale(orbitals, field), field)
        return self.functional(values, field.pool, field.share)

    def descriptor(self, field: Field) -> torch.Tensor:
        """(batch, dimension) q, the sum over points before the last layer."""
        orbitals = self.orbitals(field.places, field.weights, field.types)
        values = own_rows(orbitals * scale(orbitals, field), field)
        return self.functional.pooled(values, field.pool)


def scale(orbitals: torch.Tensor, field: Field) -> torch.Tensor:
    """(batch, 1, dimension) factors that normalise orbitals on a field."""
    return norms(orbitals, field.weights, field.electrons)[:, None]


def density(orbitals: torch.Tensor, field: Field) -> torch.Tensor:
    """(batch, points, 1) electrons a point, of orbitals (batch, points, dimension) on a field."""
    return torch.bmm(orbitals.square(), scale(orbitals, field).square().mT)


def own_rows(values: torch.Tensor, field: Field) -> torch.Tensor:
    """(batch, points, …) values to (all points, …), without those that fill up."""
    flat = values.flatten(0, 1)
    return flat if field.rows is None else flat.index_select(0, field.rows)
