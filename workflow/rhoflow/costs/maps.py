"""Size of fields on their grids, and arithmetic of the operators that map them."""

import math

from rhoflow.costs.graphs import ATOMS
from rhoflow.descriptors.fields import FieldsSpec
from rhoflow.models.field3d.spec import DensityOperatorSpec

# Points of a grid over V (g_cut/π)³, the fewest that hold the sphere: rounding and oblique cells.
# The 276 shipped oxides: 1.65 at 4 1/Å, 1.60 at 6, 1.43 at 9.
GRID_SHARE = 1.6
# A field's transform at a point, with all that is done to it there, in operations of the same rate
# as convolutions: at 20e9 a second 15 ns (11 to 17 in grids of 12³ to 27³ points, 16 and 32
# fields, with and without gradients).
TRANSFORM_FLOP = 300


def grid_points(fields: FieldsSpec, volume: float) -> float:
    """Points of the grid of a cell of some volume (Å³)."""
    return GRID_SHARE * volume * (fields.g_cut / math.pi) ** 3


def numbers(fields: FieldsSpec, volume: float) -> int:
    """Numbers that a crystal of some volume (Å³) is kept as."""
    coefficients = volume * fields.g_cut**3 / (12 * math.pi**2)
    return round(coefficients * (1.5 + 2 * (2 + len(fields.potentials))) + 4 * ATOMS)


def channels(model: DensityOperatorSpec, fields: FieldsSpec) -> int:
    """Fields that a network reads."""
    return len(fields.potentials) + (model.atoms != "none")


def flop(model: DensityOperatorSpec, fields: FieldsSpec, volume: float) -> float:
    """Operations of one cell's way forward; without a network the atoms' alone, which are few."""
    read, n = channels(model, fields), model.fields
    match model.operator:
        case "none":
            return 0.0
        case "convolution":
            taps = model.kernel_size**3
            one = 2.0 * n * (taps * (2 * read + model.layers * n) + 1)
        case "spectral":
            transforms = read * (1 + model.radial_functions)
            transforms += model.layers * n * (1 + model.filters + 3 * model.gradients)
            one = float(TRANSFORM_FLOP * transforms)
    return grid_points(fields, volume) * one


def numbers_kept(model: DensityOperatorSpec, fields: FieldsSpec, volume: float) -> float:
    """Numbers that the backward pass needs of one cell.

    Of the spectral operator counted with autograd's hooks on a grid of 27³ points: within 5 % for
    16 and 32 fields, 1 and 3 layers, 2 and 4 filters, with and without gradients.
    """
    read, n = channels(model, fields), model.fields
    match model.operator:
        case "none":
            return 0.0
        case "convolution":
            one = 2.0 * n * (model.layers + 1) + 4 * read
        case "spectral":
            layer = 7.6 + 1.5 * model.filters + 6 * model.gradients
            one = 25.0 * read + model.layers * n * layer
    return grid_points(fields, volume) * one
