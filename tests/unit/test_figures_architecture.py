"""The table and the drawing of a network, against the network."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tests.conftest import CENTRES, LATTICE
from tests.physics.test_r3dvs import spectrum_of
from torch import nn

from rhoflow.descriptors.r3dvs import R3DVSSpec
from rhoflow.errors import DataError
from rhoflow.figures.architecture import COLUMNS, architecture_figure, layer_table, voxel_slice
from rhoflow.figures.style import render
from rhoflow.models.cnn3d.model import VoxelCNN
from rhoflow.models.cnn3d.spec import CNN3DSpec

NETWORKS = {
    "paper": (CNN3DSpec(), R3DVSSpec(), 1),
    "quick": (CNN3DSpec(channels=(4, 8), dense=()), R3DVSSpec(length_angstrom=6.4), 1),
    "half": (CNN3DSpec(channels=(8, 16, 32, 64, 64), dropout=0.2), R3DVSSpec(half=True), 2),
}


def network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    spec, voxels, channels = NETWORKS[name]
    shape = (channels, *voxels.grid_shape)
    return VoxelCNN(spec, voxels.grid_shape, n_channels=channels, n_outputs=3), shape


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_shapes_are_those_of_the_network(name):
    module, shape = network(name)
    table = layer_table(module, shape, pitch=0.5)
    assert list(table.columns) == COLUMNS
    assert table["parameters"].sum() == sum(p.numel() for p in module.parameters())
    assert table["output_shape"].iloc[0] == " × ".join(map(str, shape))
    assert table["output_shape"].iloc[-1] == "3"
    ratio = table["receptive_field_inverse_angstrom"] / table["receptive_field_voxels"]
    np.testing.assert_allclose(ratio, 0.5)
    assert (table["receptive_field_voxels"] <= max(shape[1:])).all()


def test_the_papers_network_sees_what_its_kernels_reach():
    table = layer_table(*network("paper"))
    drawn = table[table["kind"].isin(["convolution", "max-pooling"])]
    # Each adds (k - 1) times the step of its input: 2, 1, 2·2, 1·2, 2·4, 1·4.
    assert drawn["receptive_field_voxels"].tolist() == [3, 4, 8, 10, 18, 22]
    assert drawn["kernel"].tolist() == ["3 × 3 × 3", "2 × 2 × 2"] * 3
    assert drawn["parameters"].tolist() == [16 * 28, 0, 32 * 433, 0, 64 * 865, 0]
    assert table[table["kind"] == "dense"]["receptive_field_voxels"].tolist() == [32, 32]
    assert table["receptive_field_inverse_angstrom"].isna().all()


def test_the_receptive_field_is_what_changes_an_output():
    """A voxel inside it moves the central output of linear convolutions, one outside does not."""
    layers = nn.Sequential(
        nn.Conv3d(1, 2, 3, padding=1), nn.AvgPool3d(2), nn.Conv3d(2, 1, 5, padding=2)
    )
    field = int(layer_table(layers, (1, 32, 32, 32))["receptive_field_voxels"].iloc[-1])
    voxels = torch.zeros(1, 1, 32, 32, 32, requires_grad=True)
    layers(voxels)[0, 0, 8, 8, 8].backward()
    assert voxels.grad is not None
    touched = voxels.grad[0, 0].nonzero()
    extent = touched.max(dim=0).values - touched.min(dim=0).values + 1
    assert extent.tolist() == [field] * 3


class Custom(nn.Module):
    """Holds a parameter beside a layer that it calls twice, strides and pools in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.conv = nn.Conv3d(3, 3, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.drop = nn.Dropout(0.0)
        self.pool = nn.AdaptiveAvgPool3d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(self.conv(self.drop(x)))
        return self.pool(x) * self.gain.view(3, 1, 1, 1)


def test_layers_of_any_module_are_found():
    table = layer_table(Custom(), (3, 8, 16, 16))
    assert table["kind"].tolist() == [
        "voxels", "convolution", "convolution", "mean over voxels", "Custom",
    ]  # fmt: skip
    assert table["parameters"].tolist() == [0, 84, 0, 0, 3]
    assert table["receptive_field_voxels"].tolist() == [1, 3, 7, 16, 16]
    assert table["output_shape"].tolist()[2] == "3 × 8 × 4 × 4"


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x.flatten(1))


def test_a_network_with_idle_layers_is_refused():
    with pytest.raises(
        DataError, match="has 18 parameters, but the layers that were called hold 9"
    ):
        layer_table(Unused(), (1, 2, 2, 2))


def test_the_network_is_left_as_it_was():
    module, shape = network("half")
    before = {n: p.clone() for n, p in module.state_dict().items()}
    module.train()
    layer_table(module, shape)
    assert module.training
    assert not any(m._forward_hooks for m in module.modules())
    assert all(torch.equal(before[n], p) for n, p in module.state_dict().items())
    module.to("meta").eval()
    assert len(layer_table(module, shape)) > 5
    assert not module.training


def test_a_slice_of_voxels_holds_the_plane_through_the_origin():
    spectrum = spectrum_of(LATTICE, CENTRES)
    spec = R3DVSSpec(half=True, channels=("density", "potential"))
    shown = voxel_slice(spectrum, spec)
    assert shown.shape == (32, 32)
    # The mean density lies on the corner of the middle voxels; the plane's spots come in pairs.
    n_valence = spectrum.coefficients[~spectrum.hkl.any(axis=1)].real[0]
    assert shown[16, 16] == pytest.approx(n_valence, rel=1e-5)
    first = int(np.linalg.norm(spectrum.lattice, axis=1).argmin())
    g = spectrum.g_vectors()
    in_plane = (spectrum.hkl[:, first] == 0) & (np.linalg.norm(g, axis=1) <= spec.g_cut)
    total = 2 * np.abs(spectrum.coefficients[in_plane]).sum() - n_valence
    assert shown.sum() >= 0.999 * total


@pytest.mark.parametrize("name", NETWORKS)
def test_the_drawing_names_every_layer_that_has_numbers(name):
    module, shape = network(name)
    table = layer_table(module, shape, pitch=0.5)
    figure = architecture_figure(table, np.eye(4, dtype=np.float32), title="R3DVS")
    texts = [t.get_text() for t in figure.axes[0].texts]
    for parameters in table.loc[table["parameters"] > 0, "parameters"]:
        assert f"{parameters:,}" in texts
    assert f"R3DVS: {table['parameters'].sum():,} parameters" in texts
    assert texts.count("conv.") == (table["kind"] == "convolution").sum()
    assert render(figure) == render(
        architecture_figure(table, np.eye(4, dtype=np.float32), title="R3DVS")
    )


def test_texts_of_a_deep_network_do_not_overlap():
    module, shape = network("half")
    figure = architecture_figure(layer_table(module, shape, pitch=0.5), np.ones((4, 4), np.float32))
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [t.get_window_extent(renderer) for t in figure.axes[0].texts if t.get_text()]
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:i])


def test_no_voxels_above_zero_are_drawn_too():
    table = layer_table(*network("quick"))
    assert render(architecture_figure(table, np.zeros((4, 4), np.float32))).startswith(b"<?xml")
