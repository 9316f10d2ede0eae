"""Models by kind: which spec belongs to which fit, and which descriptors it reads."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rhoflow.descriptors.base import DescriptorSet, PairedSet, VectorSet
from rhoflow.descriptors.fields import FieldSet, FieldsSpec
from rhoflow.descriptors.geometry import GeometrySpec, MoleculeSet
from rhoflow.descriptors.graph import CrystalGraphSpec, GraphSet
from rhoflow.descriptors.image import ImageSet, ImageSpec
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotSet
from rhoflow.descriptors.registry import DescriptorSpec
from rhoflow.descriptors.wells import SolvedWellsSpec
from rhoflow.errors import ConfigError
from rhoflow.evaluation.classification import Answers, ClassificationSpec
from rhoflow.models import mean, stacked
from rhoflow.models.base import Fitted, Start, part
from rhoflow.models.cnn3d.spec import CNN3DSpec, VoxelsSpec
from rhoflow.models.field3d.spec import DensityOperatorSpec
from rhoflow.models.graph.spec import GraphSpec
from rhoflow.models.hk1d.spec import HKMapSpec, OrbitalFreeSpec
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.models.mlp.spec import MLPSpec
from rhoflow.models.qdf.spec import GCNSpec, QDFSpec
from rhoflow.spec import Spec
from rhoflow.wells import KCAL_PER_MOL_PER_HARTREE, WellSet

ModelSpec = Annotated[
    CNN3DSpec
    | DensityOperatorSpec
    | GCNSpec
    | GraphSpec
    | HKMapSpec
    | KRRSpec
    | MLPSpec
    | OrbitalFreeSpec
    | QDFSpec
    | mean.MeanSpec,
    Field(discriminator="kind"),
]

Given = Literal[
    "spots (r3dvs)",
    "images (density_image)",
    "graphs (crystal_graph)",
    "potentials and densities (fields)",
    "vectors",
    "molecules (geometry)",
    "wells",
    "anything",
]


def reads(model: Spec) -> tuple[Given, ...]:
    """What a model can read: voxels, graphs, vectors, molecules or wells, or anything."""
    match model:
        case CNN3DSpec():
            return ("spots (r3dvs)", "images (density_image)")
        case GraphSpec():
            return ("graphs (crystal_graph)",)
        case DensityOperatorSpec():
            return ("potentials and densities (fields)",)
        case KRRSpec() | MLPSpec():
            return ("vectors",)
        case GCNSpec() | QDFSpec():
            return ("molecules (geometry)",)
        case HKMapSpec() | OrbitalFreeSpec():
            return ("wells",)
    return ("anything",)


def gives(descriptor: Spec) -> Given:
    """What models find in the files of a descriptor."""
    match descriptor:
        case R3DVSSpec():
            return "spots (r3dvs)"
        case ImageSpec():
            return "images (density_image)"
        case CrystalGraphSpec():
            return "graphs (crystal_graph)"
        case FieldsSpec():
            return "potentials and densities (fields)"
        case GeometrySpec():
            return "molecules (geometry)"
        case SolvedWellsSpec():
            return "wells"
    return "vectors"


def is_random(model: Spec) -> bool:
    """True if two fits to the same data differ by their seed."""
    if isinstance(model, DensityOperatorSpec):
        return model.operator != "none"
    return isinstance(model, CNN3DSpec | GCNSpec | GraphSpec | MLPSpec | QDFSpec)


def can_be_kept(model: Spec) -> bool:
    """True if its trained networks can be kept in a file and used again."""
    return isinstance(model, DensityOperatorSpec | GCNSpec | MLPSpec | QDFSpec)


def has_features(model: Spec) -> bool:
    """True if what its kept networks' last layer reads can serve as a descriptor."""
    return can_be_kept(model) and not isinstance(model, DensityOperatorSpec)


class PairSpec(Spec):
    """A descriptor and the model that reads it."""

    descriptor: DescriptorSpec
    model: ModelSpec


class ArmTraining(PairSpec):
    """All that a training job needs to know of an arm.

    Attributes:
        first: the pair whose residual this arm learns, or None.
        residual_folds: how that residual is taken; ``stacked.fit``.
    """

    first: PairSpec | None = None
    residual_folds: int = 0

    @property
    def is_random(self) -> bool:
        """True if two fits differ by their seed."""
        return is_random(self.model)


def fit_arm(
    arm: ArmTraining, inputs: DescriptorSet, y: NDArray[np.float64], start: Start
) -> Fitted[Any]:
    """Fit an arm to (n, targets); the inputs of a stack are a ``PairedSet``."""
    if arm.first is None:
        return fit(arm, inputs, y, start)
    if not isinstance(inputs, PairedSet):
        raise TypeError("an arm that learns a residual reads two descriptors")
    first = arm.first
    return stacked.fit(
        lambda x, t: fit(first, x, t, start),
        lambda x, t: fit(arm, x, t, start),
        inputs,
        y,
        folds=arm.residual_folds,
        seed=start.seeds[0],
    )


def fit(pair: PairSpec, inputs: DescriptorSet, y: NDArray[np.float64], start: Start) -> Fitted[Any]:
    """Fit the model of a pair to (n, targets).

    Raises:
        ConfigError: the model cannot read this descriptor.
    """
    # torch is imported when a network is trained, not when the config is read.
    match pair.model, inputs:
        case CNN3DSpec() as model, (SpotSet() | ImageSet()) if isinstance(
            pair.descriptor, VoxelsSpec
        ):
            from rhoflow.models.cnn3d.fit import fit as fit_cnn3d

            return fit_cnn3d(model, pair.descriptor, inputs, y, start)
        case GraphSpec() as model, GraphSet() if isinstance(pair.descriptor, CrystalGraphSpec):
            from rhoflow.models.graph.fit import fit as fit_graph

            return fit_graph(model, pair.descriptor, inputs, y, start)
        case DensityOperatorSpec() as model, FieldSet() if isinstance(pair.descriptor, FieldsSpec):
            from rhoflow.models.field3d.fit import fit as fit_operator

            return fit_operator(model, pair.descriptor, inputs, y, start)
        case KRRSpec() as model, VectorSet():
            from rhoflow.models.krr.fit import FittedKRR

            return FittedKRR(model, inputs, y)
        case MLPSpec() as model, VectorSet():
            from rhoflow.models.mlp.fit import fit as fit_mlp

            return fit_mlp(model, inputs, y, start)
        case QDFSpec() as model, MoleculeSet():
            from rhoflow.models.qdf.fit import fit as fit_qdf

            return fit_qdf(model, inputs, y, start)
        case GCNSpec() as model, MoleculeSet():
            from rhoflow.models.qdf.gcn import fit as fit_gcn

            return fit_gcn(model, inputs, y, start)
        case HKMapSpec() as model, WellSet():
            from rhoflow.models.hk1d.fit import fit as fit_map

            return fit_map(model, inputs, y, start)
        case OrbitalFreeSpec() as model, WellSet():
            from rhoflow.models.hk1d.orbital_free import fit as fit_orbital_free

            return fit_orbital_free(model, inputs, y, start)
        case mean.MeanSpec(), _:
            return mean.FittedMean(y)
        case _:
            raise ConfigError(
                f"a model of kind '{pair.model.kind}' cannot read a descriptor of kind "
                f"'{pair.descriptor.kind}'"
            )


def fit_wells(pair: PairSpec, solved: WellSet) -> Any:
    """Fit the model of a pair to the energies of wells, to ask it for ``densities``."""
    return fit(pair, solved, KCAL_PER_MOL_PER_HARTREE * solved.energies[:, None], Start())


def restore(pair: PairSpec, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The networks that were kept as arrays (``models.base.Kept``).

    Raises:
        ConfigError: no networks of this kind are kept.
        DataError: the arrays are those of other settings.
    """
    match pair.model:
        case DensityOperatorSpec() as model:
            from rhoflow.models.field3d.fit import restore as restore_operator

            return restore_operator(model, arrays)
        case QDFSpec() as model:
            from rhoflow.models.qdf.fit import restore as restore_qdf

            return restore_qdf(model, arrays)
        case GCNSpec() as model:
            from rhoflow.models.qdf.gcn import restore as restore_gcn

            return restore_gcn(model, arrays)
        case MLPSpec() as model:
            from rhoflow.models.mlp.fit import restore as restore_mlp

            return restore_mlp(model, arrays)
    raise ConfigError(f"a model of kind '{pair.model.kind}' is not kept")


def kept_size(pair: PairSpec, arrays: Mapping[str, NDArray[Any]]) -> dict[str, int | None]:
    """Sizes of one of the networks that were kept as arrays.

    Returns:
        input_length, numbers that it reads of a structure (None: it reads the structure itself);
        vector_length, numbers that its last layer reads, its descriptor; parameters.
    """
    weights = part(arrays, "weights")
    inputs = part(arrays, "inputs")["mean"].size if "vectors" in reads(pair.model) else None
    return {
        "input_length": inputs,
        "vector_length": restore(pair, arrays).vector_length,
        "parameters": sum(w[0].size for w in weights.values()),
    }


def classify(
    pair: PairSpec,
    protocol: ClassificationSpec,
    inputs: SpotSet,
    replicas: int,
    start: Start,
    *,
    poses: int = 0,
) -> Answers:
    """Train the model of a pair to tell materials apart by rotated replicas.

    Raises:
        ConfigError: the model does not read spots.
    """
    if not isinstance(pair.model, CNN3DSpec) or not isinstance(pair.descriptor, R3DVSSpec):
        raise ConfigError(f"a model of kind '{pair.model.kind}' does not classify materials")
    from rhoflow.models.cnn3d.classify import classify as classify_cnn3d

    settings = {"replicas": replicas, "shown": protocol.shown(replicas)}
    model = pair.model.model_copy(update=settings)
    return classify_cnn3d(model, pair.descriptor, inputs, start, poses=poses)
