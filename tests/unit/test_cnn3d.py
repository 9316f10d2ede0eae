"""The voxel network's blocks, attention and periodic form, and its training on images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rhoflow.checkpoints import CheckpointStore, FileCheckpoint
from rhoflow.density.spectrum import Spectrum, half_sphere, reciprocal_lattice
from rhoflow.descriptors.image import ImageSet, ImageSpec, images
from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.descriptors.resample import ImageBatcher, random_poses
from rhoflow.errors import ConfigError
from rhoflow.figures.architecture import layer_table
from rhoflow.models import registry
from rhoflow.models.base import Start
from rhoflow.models.cnn3d.fit import fit
from rhoflow.models.cnn3d.inputs import batcher
from rhoflow.models.cnn3d.model import ChannelAttention, SpatialAttention, VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.models.mean import MeanSpec
from rhoflow.training import loop
from rhoflow.training.ensemble import Ensemble, seeded
from rhoflow.training.spec import OptimiserSpec

SIZES = {"channels": (6, 8), "dense": (5,)}
FORMS = {
    "plain": {},
    "multi-scale": {"block": "multi_scale"},
    "attention to channels": {"attention": "channel"},
    "periodic": {"padding": "circular", "pooling": "mean"},
    "all": {
        "block": "multi_scale", "attention": "both", "padding": "circular", "pooling": "mean",
    },
}  # fmt: skip
EVERY = pytest.mark.parametrize("form", FORMS)
ALL = CNN3DSpec(**SIZES, **FORMS["all"])

CELL = ImageSpec(edge=8)
BOX = ImageSpec(frame="box", edge=8, length_angstrom=4.0)
FRAMES = [CELL, BOX]
QUICK = ALL.model_copy(update={"replicas": 3, "optimiser": OptimiserSpec(epochs=1, batch_size=8)})


def spec_of(form: str, **other) -> CNN3DSpec:
    return CNN3DSpec(**{**SIZES, **FORMS[form], **other})


def network(spec: CNN3DSpec, edge: int = 8, channels: int = 1) -> VoxelCNN:
    torch.manual_seed(0)
    return VoxelCNN(spec, (edge,) * 3, n_channels=channels, n_outputs=2).eval()


def voxels(n: int = 3, edge: int = 8, channels: int = 1) -> torch.Tensor:
    return torch.randn(n, channels, edge, edge, edge, generator=torch.Generator().manual_seed(1))


def crystals(n: int, spec: ImageSpec = CELL) -> tuple[ImageSet, np.ndarray]:
    """A Gaussian of 8 electrons somewhere in cubes of 4 Å; the target is its width, Å."""
    rng, lattice = np.random.default_rng(0), 4 * np.eye(3)
    hkl = half_sphere(lattice, 7.0)
    g = hkl @ reciprocal_lattice(lattice)
    widths, spectra = rng.uniform(0.45, 0.8, size=n), {}
    for i, width in enumerate(widths):
        values = (
            8
            / 64
            * np.exp(-0.5 * width**2 * (g**2).sum(axis=1) - 1j * g @ rng.uniform(0, 4, size=3))
        )
        spectra[f"m{i}"] = Spectrum(lattice, 1, hkl, values.astype(np.complex64), 7.0)
    return images(spectra, spec), widths[:, None]


# The network -------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("edge", [5, 8, 11])
def test_every_form_takes_any_cube(form, edge):
    assert network(spec_of(form), edge, 2)(voxels(3, edge, 2)).shape == (3, 2)


def test_scales_side_by_side_share_the_filters():
    spec = spec_of("multi-scale")
    assert [tuple(b) for b in spec.branches(8)] == [(2, 1, 1), (4, 3, 1), (2, 3, 2)]
    first = network(spec).features[0]
    assert [c.kernel_size[0] for c in first.convolutions] == [1, 3, 3]
    assert first(voxels()).shape == (3, 6, 8, 8, 8)
    together = first(voxels())
    for part, one in zip(together.split((2, 2, 2), 1), first.convolutions, strict=True):
        assert torch.equal(part, one(voxels()))


def test_each_scale_sees_as_far_as_it_should():
    """The voxels that move the central output: the voxel itself, a cube of 3, every other of 5."""
    branches = network(spec_of("multi-scale"), 9).features[0].convolutions
    for branch, reached in zip(branches, ({0}, {-1, 0, 1}, {-2, 0, 2}), strict=True):
        x = torch.zeros(1, 1, 9, 9, 9, requires_grad=True)
        branch(x)[0, 0, 4, 4, 4].backward()
        assert x.grad is not None
        touched = x.grad[0, 0].nonzero() - 4
        assert {int(t) for t in touched.unique()} == reached
        assert len(touched) == len(reached) ** 3


def test_channels_are_weighed_by_what_all_of_them_hold_in_the_mean():
    attention, x = ChannelAttention(8), voxels(3, 4, 8)
    assert attention.squeeze.out_features == 2
    hidden = torch.relu(attention.squeeze(x.flatten(2).mean(dim=2)))
    weights = torch.sigmoid(attention.excite(hidden))
    for i in range(3):
        for c in range(8):
            torch.testing.assert_close(attention(x)[i, c], x[i, c] * weights[i, c])


def test_voxels_are_weighed_by_mean_and_maximum_of_their_channels():
    attention, x = SpatialAttention(CNN3DSpec()), voxels(2, 4, 5)
    torch.nn.init.zeros_(attention.look.weight)
    attention.look.weight.data[0, :, 1, 1, 1] = torch.tensor([2.0, -1.0])  # the voxel itself
    attention.look.load_state_dict({"weight": attention.look.weight, "bias": torch.tensor([0.3])})
    weights = torch.sigmoid(2 * x.mean(dim=1) - x.max(dim=1).values + 0.3)
    torch.testing.assert_close(attention(x), x * weights[:, None])


@pytest.mark.parametrize("attention", ["none", "channel", "both"])
@pytest.mark.parametrize("block", ["plain", "multi_scale"])
def test_the_periodic_network_does_not_see_shifts_by_whole_strides(block, attention):
    """Two poolings on 16 voxels: 4 voxels are a stride. Other forms, and other shifts, differ."""
    periodic = spec_of("periodic", block=block, attention=attention)
    x = voxels(edge=16)
    with torch.no_grad():
        answer = network(periodic, 16)(x)
        for shift in ((4, 0, 0), (0, -8, 4)):
            moved = network(periodic, 16)(x.roll(shift, (2, 3, 4)))
            torch.testing.assert_close(moved, answer, rtol=1e-4, atol=1e-6)
        odd = network(periodic, 16)(x.roll((1, 0, 0), (2, 3, 4)))
        assert (odd - answer).abs().max() > 1e-5
        for other in ({"padding": "zeros"}, {"pooling": "flatten"}):
            model = network(periodic.model_copy(update=other), 16)
            assert (model(x.roll(4, 2)) - model(x)).abs().max() > 1e-4


@EVERY
def test_seeds_side_by_side_answer_as_one_after_the_other(form):
    """What a GPU runs, compared on the processor: answers and gradients."""
    spec = spec_of(form)
    model: Ensemble = seeded(lambda: VoxelCNN(spec, (8, 8, 8), n_outputs=2), (1, 2))
    found = []
    for forward in (model.one_by_one, model.side_by_side):
        model.zero_grad()
        answer = forward(voxels())
        answer.square().sum().backward()
        found.append([answer.detach(), *(w.grad.clone() for w in model.weights)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@EVERY
def test_the_table_of_layers_counts_every_parameter(form):
    module = network(spec_of(form))
    table = layer_table(module, (1, 8, 8, 8))
    assert table["parameters"].sum() == sum(p.numel() for p in module.parameters())
    assert table["output_shape"].iloc[-1] == "2"


def test_settings_that_make_no_network_are_refused():
    with pytest.raises(ValidationError, match="block multi_scale needs 3 filters, got 2"):
        CNN3DSpec(block="multi_scale", channels=(8, 2))
    deep = CNN3DSpec(padding="circular", kernel_size=7, channels=(4, 4, 4, 4))
    message = r"layer 4 has filters that reach 3 voxels .* shape \(2, 2, 2\); expected an edge of 3"
    with pytest.raises(ConfigError, match=message):
        VoxelCNN(deep, (16, 16, 16))
    assert deep.model_copy(update={"padding": "zeros"}).edges((16,) * 3)[-1] == (2, 2, 2)


# Training on images ------------------------------------------------------------------------


@pytest.mark.parametrize("voxel", FRAMES)
def test_the_network_learns_how_wide_an_atom_is(voxel):
    """In any position: the periodic form is trained and tested at random origins."""
    data, y = crystals(60, voxel)
    spec = ALL.model_copy(
        update={
            "replicas": 4,
            "optimiser": OptimiserSpec(epochs=25, batch_size=32, learning_rate=1e-2),
        }
    )
    fitted = fit(spec, voxel, data.take(range(48)), y[:48], Start((1,)))
    error = np.abs(fitted.predict(data.take(range(48, 60)))[0] - y[48:]).mean()
    assert error < 0.25 * np.abs(y[48:] - y[:48].mean()).mean()


@pytest.mark.parametrize("voxel", FRAMES)
def test_an_images_scale_is_that_of_the_training_set(voxel):
    """The unit of a density does not matter."""
    data, y = crystals(5, voxel)
    larger = replace(data, coefficients=data.coefficients * 1000)
    answers = [fit(QUICK, voxel, d, y, Start()).predict(d) for d in (data, larger)]
    np.testing.assert_allclose(*answers, rtol=1e-3)


@pytest.mark.parametrize("voxel", FRAMES)
def test_the_stored_pose_is_what_one_pose_predicts_and_more_are_averaged(voxel):
    data, y = crystals(4, voxel)
    fitted = fit(QUICK, voxel, data, y, Start())
    trained, device = fitted.networks, torch.device("cpu")
    made = ImageBatcher(data, voxel, device)
    stored = made.voxels(torch.arange(4), torch.eye(3, 4).expand(4, 3, 4)) / trained.scale
    with torch.no_grad():
        answer = trained.model.network(0).eval()(stored).double().numpy()
    np.testing.assert_allclose(fitted.predict(data)[0], fitted.targets.inverse(answer), rtol=1e-5)
    poses = fitted.predict_poses(data, 50)
    assert poses.shape == (1, 4, 50, 1)
    assert (poses.std(axis=2) > 0).all()
    trained.spec = QUICK.model_copy(update={"test_poses": 50})
    np.testing.assert_allclose(fitted.predict(data), poses.mean(axis=2))


def test_given_poses_show_each_structure_as_it_is_stored():
    """All replicas are the same image, so their number is that of repetitions."""
    given = CELL.model_copy(update={"poses": "given"})
    data, y = crystals(4, given)
    optimiser = OptimiserSpec(epochs=2, batch_size=64)
    spec = QUICK.model_copy(update={"optimiser": optimiser})
    answers = [
        fit(spec.model_copy(update={"replicas": r}), given, data, y, Start()).predict(data)
        for r in (1, 5)
    ]
    np.testing.assert_allclose(*answers, rtol=1e-4)


def test_a_structure_is_shown_from_new_origins_every_epoch_where_that_is_asked_for():
    spec = ImageSpec(frame="box")
    first, second = (random_poses(spec, 3, torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.isclose(first, second).any(dim=0).all()
    data, y = crystals(4)
    answers = [
        fit(QUICK.model_copy(update={"endless": e, "optimiser": OptimiserSpec(epochs=2)}), CELL,
            data, y, Start()).predict(data)
        for e in (False, True)
    ]  # fmt: skip
    assert not np.allclose(*answers, rtol=1e-6)


@pytest.mark.parametrize("voxel", FRAMES)
def test_a_training_on_images_that_was_killed_goes_on_to_the_same_bits(
    voxel, tmp_path, monkeypatch
):
    spec = QUICK.model_copy(
        update={"dropout": 0.3, "optimiser": OptimiserSpec(epochs=4, batch_size=8)}
    )
    data, y = crystals(6, voxel)
    pair = registry.PairSpec(descriptor=voxel, model=spec)
    whole = registry.fit(pair, data, y, Start((1, 2))).predict(data)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    save = FileCheckpoint.save

    def killed(self, state):
        save(self, state)
        if len(state["history"]) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(FileCheckpoint, "save", killed)
    store = CheckpointStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        registry.fit(pair, data, y, Start((1, 2), store))
    monkeypatch.setattr(FileCheckpoint, "save", save)
    again = registry.fit(pair, data, y, Start((1, 2), store)).predict(data)
    np.testing.assert_array_equal(again, whole)


# The registry ------------------------------------------------------------------------------


def test_the_network_reads_spots_and_images():
    both = ("spots (r3dvs)", "images (density_image)")
    assert registry.reads(CNN3DSpec()) == both
    assert (registry.gives(R3DVSSpec()), registry.gives(ImageSpec())) == both
    assert registry.gives(ImageSpec()) not in registry.reads(KRRSpec())
    assert registry.reads(MeanSpec()) == ("anything",)
    data, y = crystals(3)
    pair = registry.PairSpec(descriptor=CELL, model=KRRSpec())
    message = "'krr' cannot read a descriptor of kind 'density_image'"
    with pytest.raises(ConfigError, match=message):
        registry.fit(pair, data, y, Start())
    with pytest.raises(TypeError, match="a ImageSet does not become voxels by a r3dvs"):
        batcher(data, R3DVSSpec(), torch.device("cpu"))
