"""Arithmetic and memory of one fit: floating-point operations counted layer by layer.

Networks: a multiplication and an addition are two operations; the backward pass does the forward
pass's work twice, but the first layer needs no gradient of its inputs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rhoflow.costs import graphs, maps
from rhoflow.density.store import DensitySpec
from rhoflow.descriptors.composition import CompositionSpec
from rhoflow.descriptors.fields import FieldsSpec
from rhoflow.descriptors.graph import CrystalGraphSpec
from rhoflow.descriptors.image import ImageSpec
from rhoflow.descriptors.molecular import AtomCountsSpec, MBTRSpec, MoleculeSOAPSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.r3dvs_power import R3DVSPowerSpec
from rhoflow.descriptors.registry import DescriptorSpec
from rhoflow.descriptors.soap import SOAPSpec
from rhoflow.descriptors.wells import SolvedWellsSpec, WellsPotentialSpec
from rhoflow.models.cnn3d.spec import SQUEEZE, CNN3DSpec, VoxelsSpec
from rhoflow.models.field3d.spec import DensityOperatorSpec
from rhoflow.models.graph.spec import GraphSpec
from rhoflow.models.hk1d.spec import PUBLISHED, HKMapSpec, OrbitalFreeSpec
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec, sphere
from rhoflow.spec import Spec

# Deposit of spots, in operations of the same rate: at 20e9 a second, 1 ns a voxel of the cube and
# 20 ns a spot and voxel that it touches (18 and 41 µs a sample of 373 spots on 16³ and 32³ voxels
# to the nearest, 53 and 177 µs linearly).
VOXEL_FLOP = 20
SPOT_FLOP = 400
# Images, likewise: 7 to 14 ns a voxel for a cell's transform; a box takes 1 operation a voxel and
# coefficient more, and 200 µs a sample (569 coefficients on 16³ voxels: 56 µs for a cell; 402 on
# 24³ and 32³ for a box: 0.58 and 0.87 ms).
IMAGE_VOXEL_FLOP = 200
BOX_FLOP = 4e6

# A step of the optimiser besides the arithmetic: 2,400 steps of two dense networks took 6 s.
STEP_S = 2.5e-3

# Distances of vectors, and the exponential of each: 5 to 10e9 of these a second where products of
# matrices do 20 to 70e9 (300 to 1,200 vectors of 200 and 2,000 numbers), so they count fourfold.
DISTANCE_FLOP = 12
KERNEL_FLOP = 80
# Eigenvectors of a symmetric matrix: 9 n³, Golub and Van Loan; measured with kernels of 1,200.
EIGENVECTOR_FLOP = 9

# Settings of fits that are no settings of the config: samples of a prediction (cnn3d), widths and
# ridges that tuning tries (krr). Not imported: those modules load torch and SciPy.
PREDICT_BATCH = 64
TRIED_WIDTHS = 5
TRIED_RIDGES = 13
FLOAT32_MB = 4 / 2**20
FLOAT64_MB = 8 / 2**20

# Matrices of n x n that kernel ridge regression holds at once: distances, kernel, its scaled copy,
# eigenvectors and LAPACK's two.
KERNEL_MATRICES = 6

# A molecule of QM9 has 18 atoms in the mean, with 9 functions of 6-31G each (H 4, others 14).
ATOMS = 18
FUNCTIONS_AN_ATOM = 9

# Numbers in a vector where no setting tells: element fractions and volume 95 (measured); Coulomb
# eigenvalues are as many as the largest cell has atoms.
COMPOSITION_NUMBERS = 95
COULOMB_NUMBERS = 50
# Points of a potential in a box: the paper's.
WELLS_POINTS = 500
# A descent to the least energy: 300 took 1.0 s with 50, 100 and 200 training densities alike; and
# how many a fit makes to choose its directions.
DESCENT_FLOP = 7e7
TRIED_DESCENTS = 300
# Pseudo-species that a similarity keeps: 8 at width 1; 23, 17, 12 and 5 at 0.2, 0.3, 0.5 and 2.
SOAP_SPECIES = 8
SOAP_POWER = -0.65


@dataclass(frozen=True)
class Work:
    """Operations of a step of the workflow.

    Attributes:
        flop: floating-point operations.
        steps: of an optimiser.
        memory_mb: at most at once, on the device that computes, besides libraries and inputs.
    """

    flop: float = 0.0
    steps: float = 0.0
    memory_mb: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Both, one after the other."""
        memory = max(self.memory_mb, other.memory_mb)
        return Work(self.flop + other.flop, self.steps + other.steps, memory)

    def times(self, n: float) -> "Work":
        """The same n times, one after the other."""
        return replace(self, flop=n * self.flop, steps=n * self.steps)


@dataclass(frozen=True)
class Fit:
    """A model with what it is fitted to.

    Attributes:
        descriptor: what it reads.
        model: its settings.
        n: structures that it learns from.
        targets: numbers that it answers with.
        seeds: networks trained side by side.
        volume: of a cell in the mean, Å³ (voxel networks, maps of fields).
    """

    descriptor: DescriptorSpec
    model: Spec
    n: int
    targets: int
    seeds: int
    volume: float

    def training(self) -> Work:
        """What fitting takes."""
        match self.model, self.descriptor:
            case CNN3DSpec() as model, (R3DVSSpec() | ImageSpec()) as voxels:
                return _network_training(self, model, voxels)
            case GraphSpec() as model, CrystalGraphSpec() as joined:
                return _graph_training(self, model, joined)
            case DensityOperatorSpec() as model, FieldsSpec() as fields:
                return _map_training(self, model, fields)
            case MLPSpec() as model, _:
                return _dense_training(self, model)
            case KRRSpec() as model, _:
                return _kernel_training(self, model)
            case (QDFSpec() | GCNSpec()) as model, _:
                return _field_training(self, model)
            case (HKMapSpec() | OrbitalFreeSpec()) as model, _:
                return _wells_training(self, model)
        return Work()

    def prediction(self, n: int, poses: int = 1) -> Work:
        """What answering for n structures in some poses takes."""
        match self.model, self.descriptor:
            case CNN3DSpec() as model, (R3DVSSpec() | ImageSpec()) as voxels:
                forward, _, _ = network(model, voxels, self.targets)
                one = self.seeds * forward + _voxelised(voxels, self.volume)
                return Work(n * poses * one)
            case GraphSpec() as model, CrystalGraphSpec() as joined:
                return Work(n * self.seeds * graphs.flop(model, joined, self.targets))
            case DensityOperatorSpec() as model, FieldsSpec() as fields:
                return Work(n * self.seeds * maps.flop(model, fields, self.volume))
            case MLPSpec() as model, _:
                return Work(2.0 * n * self.seeds * _weights(_dense_layers(self, model)))
            case KRRSpec() as model, _:
                return Work(n * self.n * _kernel_flop(model, vector_length(self.descriptor)))
            case (QDFSpec() | GCNSpec()) as model, _:
                return Work(n * self.seeds * field_flop(model))
            case HKMapSpec() as model, _:
                return _density_fit(self, model).prediction(n).times(_choices(model) + 1)
            case OrbitalFreeSpec(), _:
                return Work(n * DESCENT_FLOP)
        return Work()


def network(
    model: CNN3DSpec, voxels: VoxelsSpec, outputs: int
) -> tuple[float, float, dict[str, float]]:
    """One voxel network and one sample.

    Returns:
        Operations of the forward and of the backward pass; and numbers held: ``weights`` of the
        network, ``kept`` for the backward pass (outputs of convolutions, of their activations and
        of attention; inputs that are padded from the opposite face; of a pooling its result and
        an index of twice the size), ``largest`` of one layer.
    """
    width, edges = len(voxels.channels), model.edges(voxels.grid_shape)
    forward = first = weights = kept = largest = 0.0
    for filters, (before, after) in zip(model.channels, pairwise(edges), strict=True):
        size = math.prod(before)
        branches = model.branches(filters)
        flop = 2.0 * size * width * sum(b.edge**3 * b.filters for b in branches)
        attending, attention, seen = _attention(model, filters, math.prod(after))
        first = first or flop
        forward += flop + attending
        weights += sum((b.edge**3 * width + 1) * b.filters for b in branches) + attention
        kept += 2 * size * filters + seen
        if model.padding == "circular":
            padded = (math.prod(n + 2 * b.reach for n in before) for b in branches if b.reach)
            kept += width * sum(padded)
        largest = max(largest, size * filters)
        if after != before:
            kept += 3 * math.prod(after) * filters
        width = filters
    layers = [width * (1 if model.pooling == "mean" else math.prod(edges[-1]))]
    layers += [*model.dense, outputs]
    dense = _weights(layers)
    forward += 2 * dense
    numbers = {"weights": weights + dense, "kept": kept, "largest": largest}
    return forward, 2 * forward - first, numbers


def _attention(model: CNN3DSpec, filters: int, size: int) -> tuple[float, int, int]:
    """Operations forward, weights, and numbers kept of the attention to so many voxels."""
    if model.attention == "none":
        return 0.0, 0, 0
    units = max(1, filters // SQUEEZE)
    flop, weights, kept = (
        4.0 * filters * units,
        2 * filters * units + units + filters,
        size * filters,
    )
    if model.attention == "both":
        flop += 4.0 * size * model.kernel_size**3
        weights += 2 * model.kernel_size**3 + 1
        kept += size * (filters + 3)
    return flop, weights, kept


def field_flop(model: QDFSpec | GCNSpec) -> float:
    """Operations of one molecule's way forward through a quantum deep field or graph network.

    Of the field: orbitals on its points, the functional's and the map's layers; of the published
    one a step and its backward pass are 1.5e9 operations.
    """
    if isinstance(model, GCNSpec):
        convolved = 2.0 * model.depth * ATOMS * model.dimension * (model.dimension + ATOMS)
        return convolved + 2.0 * ATOMS * model.functional_layers * model.dimension**2
    points = ATOMS * len(sphere(model))
    orbitals = 2.0 * points * ATOMS * FUNCTIONS_AN_ATOM * model.dimension
    layers = model.functional_layers * model.dimension**2 + model.map_layers * (
        model.map_dimension**2
    )
    # The orbitals are made for the step of the targets and again for that of the potential.
    return 2 * orbitals + 2.0 * points * layers


def _field_training(fit: Fit, model: QDFSpec | GCNSpec) -> Work:
    epochs, batch = model.optimiser.epochs, model.optimiser.batch_size
    both = 2 if isinstance(model, QDFSpec) else 1
    parts = ATOMS * (len(sphere(model)) if isinstance(model, QDFSpec) else 1)
    wide = 2 * model.functional_layers + 4
    floats = fit.seeds * max(batch, 1) * parts * wide * model.dimension
    floats += fit.seeds * 8 * model.functional_layers * model.dimension**2
    flop = 3.0 * epochs * fit.n * fit.seeds * field_flop(model)
    return Work(flop, both * epochs * math.ceil(fit.n / batch), FLOAT32_MB * floats)


def _graph_training(fit: Fit, model: GraphSpec, joined: CrystalGraphSpec) -> Work:
    epochs, batch = model.optimiser.epochs, min(fit.n, model.optimiser.batch_size)
    floats = batch * fit.seeds * graphs.numbers_kept(model, joined)
    flop = 3.0 * epochs * fit.n * fit.seeds * graphs.flop(model, joined, fit.targets)
    steps = epochs * math.ceil(fit.n / batch)
    return Work(flop, steps, FLOAT32_MB * floats)


def _map_training(fit: Fit, model: DensityOperatorSpec, fields: FieldsSpec) -> Work:
    epochs, batch = model.optimiser.epochs, min(fit.n, model.optimiser.batch_size)
    floats = fit.seeds * batch * maps.numbers_kept(model, fields, fit.volume)
    flop = 3.0 * epochs * fit.n * fit.seeds * maps.flop(model, fields, fit.volume)
    return Work(flop, epochs * math.ceil(fit.n / batch), FLOAT32_MB * floats)


def vector_length(descriptor: DescriptorSpec) -> int:
    """Numbers in a vector of this descriptor."""
    match descriptor:
        case SOAPSpec() as soap:
            known = soap.elements if soap.similarity == "identity" else None
            species = len(known or ()) or math.ceil(SOAP_SPECIES * soap.delta**SOAP_POWER)
            channels = soap.n_max * species
            return channels * (channels + 1) // 2 * (soap.l_max + 1)
        case R3DVSPowerSpec() as power:
            return power.n_max + power.n_angular * (power.l_max // 2) * (1 + power.pairs) + 2
        case (R3DVSSpec() | ImageSpec()) as voxels:
            return len(voxels.channels) * math.prod(voxels.grid_shape)
        case CrystalGraphSpec() as joined:
            return graphs.numbers(joined)
        case CompositionSpec():
            return COMPOSITION_NUMBERS
        case AtomCountsSpec() as counts:
            return len(counts.elements)
        case MBTRSpec() as mbtr:
            species = len(mbtr.elements)
            pairs = species * (species + 1) // 2
            return mbtr.n * (species + pairs + species * pairs)
        case MoleculeSOAPSpec() as soap:
            channels = soap.n_max * len(soap.elements)
            return channels * (channels + 1) // 2 * (soap.l_max + 1)
        case SolvedWellsSpec() | WellsPotentialSpec():
            return WELLS_POINTS
    return COULOMB_NUMBERS


def spots_of(voxels: VoxelsSpec, volume: float) -> float:
    """Spots of a cell of some volume (Å³): half of the reciprocal lattice inside the sphere.

    An image of a cell takes what is stored, as far as its grid holds it.
    """
    if isinstance(voxels, R3DVSSpec):
        return _inside(voxels.g_cut, volume)
    if voxels.frame == "box":
        return _inside(voxels.g_needed, volume)
    return min(voxels.edge**3 / 2, _inside(DensitySpec().g_store, volume))


def _inside(radius: float, volume: float) -> float:
    """Half of the reciprocal lattice points of a cell (Å³) inside a sphere (1/Å)."""
    return volume * radius**3 / (12 * math.pi**2)


def _voxelised(voxels: VoxelsSpec, volume: float) -> float:
    """Operations of one sample's way from spots to voxels, all channels."""
    spots = spots_of(voxels, volume)
    if isinstance(voxels, ImageSpec):
        box = voxels.frame == "box"
        one = voxels.edge**3 * (IMAGE_VOXEL_FLOP + (spots if box else 0))
        return len(voxels.channels) * one + (BOX_FLOP if box else 0)
    linear = voxels.deposit == "linear"
    grid = VOXEL_FLOP * voxels.n_voxels**3 * (4 if linear else 1)
    return len(voxels.channels) * (grid + SPOT_FLOP * spots * (8 if linear else 2))


def _network_training(fit: Fit, model: CNN3DSpec, voxels: VoxelsSpec) -> Work:
    forward, backward, numbers = network(model, voxels, fit.targets)
    samples = fit.n * (model.shown or model.replicas)
    batch = min(samples, max(model.optimiser.batch_size, PREDICT_BATCH))
    each = fit.seeds * (forward + backward) + _voxelised(voxels, fit.volume)
    cube = len(voxels.channels) * max(voxels.grid_shape) ** 3
    floats = batch * (fit.seeds * numbers["kept"] + numbers["largest"] + 3 * cube)
    floats += 4 * fit.seeds * numbers["weights"]  # weights, gradients, two moments
    epochs = model.optimiser.epochs
    steps = epochs * math.ceil(samples / model.optimiser.batch_size)
    return Work(epochs * samples * each, steps, FLOAT32_MB * floats)


def _dense_layers(fit: Fit, model: MLPSpec) -> list[int]:
    return [vector_length(fit.descriptor), *model.hidden, fit.targets]


def _weights(layers: Sequence[int]) -> int:
    """Weights of dense layers of these sizes; the few biases are left out."""
    return sum(a * b for a, b in pairwise(layers))


def _dense_training(fit: Fit, model: MLPSpec) -> Work:
    layers = _dense_layers(fit, model)
    weights = _weights(layers)
    epochs = model.optimiser.epochs
    steps = epochs * math.ceil(fit.n / model.optimiser.batch_size)
    floats = fit.seeds * (4 * weights + 3 * model.optimiser.batch_size * sum(layers))
    return Work(6.0 * epochs * fit.n * fit.seeds * weights, steps, FLOAT32_MB * floats)


def _kernel_flop(model: KRRSpec, length: int) -> float:
    """Operations of one entry of the kernel matrix."""
    if model.kernel == "linear":
        return 2.0 * length
    return DISTANCE_FLOP * length + KERNEL_FLOP


def _kernel_training(fit: Fit, model: KRRSpec) -> Work:
    """The kernel grows with n², its eigenvectors and its solution with n³."""
    n, kernel = fit.n, _kernel_flop(model, vector_length(fit.descriptor))
    widths = 1 if model.kernel == "linear" else TRIED_WIDTHS
    # Targets may choose different ridges: a matrix and a solution for each then.
    solved = fit.targets if model.tuned else 1
    matrices = solved + (0 if model.kernel == "linear" else 1) + (widths if model.tuned else 0)
    flop = n**2 * kernel * matrices + solved * n**3 / 3
    if model.tuned:
        flop += widths * (EIGENVECTOR_FLOP * n**3 + 4.0 * TRIED_RIDGES * n**2 * (fit.targets + 1))
    return Work(flop, 0.0, FLOAT64_MB * KERNEL_MATRICES * n**2)


def _choices(model: HKMapSpec) -> int:
    """Widths and ridges that the coefficients of a density have at most."""
    if model.coefficients == "together":
        return 1
    functions = model.functions or PUBLISHED.get(model.basis, WELLS_POINTS)
    return min(functions, TRIED_WIDTHS * TRIED_RIDGES)


def _density_fit(fit: Fit, model: HKMapSpec) -> Fit:
    """Kernel ridge from potentials to densities."""
    return replace(fit, model=KRRSpec(kernel="gaussian", tuned=True), targets=_choices(model))


def _wells_training(fit: Fit, model: HKMapSpec | OrbitalFreeSpec) -> Work:
    """Kernel ridge to energies, after it to densities or descents that choose directions."""
    energies = replace(fit, model=KRRSpec(kernel="gaussian", tuned=True)).training()
    if isinstance(model, HKMapSpec):
        return energies + _density_fit(fit, model).training()
    return energies + Work(0.0 if model.directions else TRIED_DESCENTS * DESCENT_FLOP)
