"""A voxel network as a table and a drawing, both read off the network itself.

After Fig. 2 and Table 1 of Kajita et al., Sci. Rep. 7, 16991 (2017).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray
from torch import nn
from torch.utils.hooks import RemovableHandle

from rhoflow.density.spectrum import Spectrum
from rhoflow.descriptors.r3dvs import R3DVSSpec, SpotsSpec, spots
from rhoflow.descriptors.voxels import SpotBatcher
from rhoflow.errors import DataError
from rhoflow.figures.style import GREY, PAGE_INCH, house_style

COLUMNS = [
    "layer",
    "kind",
    "output_shape",
    "kernel",
    "parameters",
    "receptive_field_voxels",
    "receptive_field_inverse_angstrom",
]
TIMES = " × "
INPUT = "voxels"

_KINDS = {
    "Conv3d": "convolution",
    "MaxPool3d": "max-pooling",
    "AvgPool3d": "mean pooling",
    "AdaptiveAvgPool3d": "mean over voxels",
    "AdaptiveMaxPool3d": "maximum over voxels",
    "Linear": "dense",
    "Flatten": "flatten",
    "BatchNorm3d": "batch normalisation",
    "BatchNorm1d": "batch normalisation",
}


def layer_table(
    module: nn.Module, input_shape: Sequence[int], *, pitch: float | None = None
) -> pd.DataFrame:
    """What every layer does, in the order in which they are called.

    The network answers one sample of zeros, and every layer that holds no others, or holds
    parameters itself, is looked at while it does. Receptive fields add up along that order, so in
    a network with branches they are those of all layers in a row.

    Args:
        module: the network.
        input_shape: (channels, n, n, n) of one sample.
        pitch: edge of a voxel, 1/Å.

    Returns:
        ``COLUMNS``, the input first: output_shape is channels and voxels along each axis, or
        units; parameters are those of the layer, counted once; receptive_field_voxels is the edge
        of the cube of input voxels that one output sees, at most the whole, and
        receptive_field_inverse_angstrom the same times the pitch (NaN without one). Layers that
        change nothing (dropout of 0) are left out.

    Raises:
        DataError: some parameters belong to no layer that was called.
    """
    walk = _Walk(input_shape)
    handles = walk.watch(module)
    tensor = next(module.parameters(), torch.empty(0))
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *input_shape, dtype=tensor.dtype, device=tensor.device))
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    total = sum(p.numel() for p in module.parameters())
    counted = sum(row["parameters"] for row in walk.rows)
    if counted != total:
        raise DataError(
            f"layer table: the network has {total} parameters, but the layers that were called "
            f"hold {counted}; give it no layer that it does not use"
        )
    table = pd.DataFrame(walk.rows, columns=COLUMNS[:-1])
    edge = np.nan if pitch is None else pitch
    return table.assign(
        receptive_field_inverse_angstrom=(table["receptive_field_voxels"] * edge).round(4)
    )


class _Walk:
    """Collects a row a call, and carries the receptive field along."""

    def __init__(self, input_shape: Sequence[int]) -> None:
        self.edges = np.asarray(input_shape[1:])
        self.field, self.step = np.ones(3), np.ones(3)
        self.rows: list[dict[str, Any]] = []
        self.seen: set[nn.Module] = set()
        self._row("input", INPUT, "", 0, tuple(input_shape))

    def watch(self, module: nn.Module) -> list[RemovableHandle]:
        """Hooks on all layers; whoever gets them removes them."""
        handles = []
        for name, layer in module.named_modules():
            alone = not any(True for _ in layer.children())
            if alone or any(True for _ in layer.parameters(recurse=False)):

                def hook(
                    layer: nn.Module, _: object, output: torch.Tensor, name: str = name
                ) -> None:
                    self._called(name, layer, output)

                handles.append(layer.register_forward_hook(hook))
        return handles

    def _called(self, name: str, layer: nn.Module, output: torch.Tensor) -> None:
        if isinstance(layer, nn.Identity) or (isinstance(layer, nn.Dropout) and layer.p == 0):
            return
        shape = tuple(output.shape[1:])
        window = getattr(layer, "kernel_size", None)
        if len(shape) < 4 or isinstance(layer, nn.AdaptiveAvgPool3d | nn.AdaptiveMaxPool3d):
            self.field = self.edges.astype(float)  # one output sees the whole cube
        elif window is not None:
            reach = (_three(window) - 1) * _three(getattr(layer, "dilation", 1))
            self.field = self.field + reach * self.step
            self.step = self.step * _three(getattr(layer, "stride", 1) or window)
        held = 0 if layer in self.seen else sum(p.numel() for p in layer.parameters(recurse=False))
        self.seen.add(layer)
        kernel = "" if window is None else TIMES.join(str(int(k)) for k in _three(window))
        self._row(name or "network", _kind(layer), kernel, held, shape)

    def _row(
        self, name: str, kind: str, kernel: str, parameters: int, shape: tuple[int, ...]
    ) -> None:
        field = np.minimum(self.field, self.edges).max()
        values = (name, kind, TIMES.join(map(str, shape)), kernel, parameters, int(field))
        self.rows.append(dict(zip(COLUMNS, values, strict=False)))


def _three(size: int | Sequence[int]) -> NDArray[np.float64]:
    """A size along each of the three axes."""
    return np.broadcast_to(np.asarray(size, dtype=np.float64), (3,))


def _kind(layer: nn.Module) -> str:
    match layer:
        case nn.LeakyReLU():
            return f"leaky ReLU, slope {layer.negative_slope:g}"
        case nn.Dropout():
            return f"dropout, {layer.p:g}"
    name = type(layer).__name__
    return _KINDS.get(name, name)


def voxel_slice(spectrum: Spectrum, spec: R3DVSSpec) -> NDArray[np.float32]:
    """(n, n) voxels next to the plane g_z = 0, both layers where the grid is even, density alone.

    The crystal is turned so that its shortest lattice vector lies along z, which puts a plane of
    spots there.
    """
    first = int(np.linalg.norm(spectrum.lattice, axis=1).argmin())
    axes = np.linalg.qr(np.roll(spectrum.lattice, -first, axis=0).T)[0]  # its columns
    frame = np.stack([axes[:, 1], axes[:, 2], axes[:, 0]])
    frame *= np.linalg.det(frame)
    whole = spec.model_copy(update={"half": False, "channels": ("density",)})
    kept = SpotsSpec(resolution_angstrom=spec.resolution_angstrom)
    batcher = SpotBatcher(spots({"x": spectrum}, kept), whole, torch.device("cpu"))
    rotation = torch.from_numpy(frame).float()[None]
    cube = batcher.voxels(torch.zeros(1, dtype=torch.long), rotation)[0, 0].numpy()
    n = spec.n_voxels
    return cube[:, :, (n - 1) // 2 : n // 2 + 1].sum(axis=2)


# The drawing, in inches: everything is placed by hand on one page.
_LEFT, _RIGHT, _CUBE, _BASE, _TOP, _LINE = 0.95, 0.08, 1.2, 1.5, 3.3, 0.165
_FACES = {
    "convolution": ("#C6DBEF", ""),
    "pooling": ("#4A7FB5", "////"),
    "other": ("#F2C57C", ".."),
}
_HEADINGS = (
    "layer", "then", "channels, units", "voxels", "kernel", "parameters", "sees, voxels",
    "sees, 1/Å",
)  # fmt: skip


@dataclass
class _Block:
    """A layer that is drawn.

    Attributes:
        kind: as in the table.
        shape: channels and voxels along each axis, or units.
        told: a line of text for each of the headings.
    """

    kind: str
    shape: tuple[int, ...]
    told: list[str]


def architecture_figure(
    table: pd.DataFrame, shown: NDArray[np.float32], *, title: str = ""
) -> Figure:
    """The network as a row of slabs over the numbers of its layers.

    Args:
        table: ``layer_table``.
        shown: (n, n) a slice of real voxels, which stands for the input.
        title: what it is the network of.
    """
    blocks = _blocks(table)
    total = f"{int(table['parameters'].sum()):,} parameters"
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, _TOP))
        figure.set_layout_engine("none")
        ax = figure.add_axes((0, 0, 1, 1))
        first = _LEFT + _CUBE + 0.1
        column = (PAGE_INCH - first - _RIGHT) / max(1, len(blocks) - 1)
        _write(ax, 0.08, _HEADINGS, 6.5, ha="left", color=GREY)
        _draw_input(ax, _LEFT + _CUBE / 2, shown)
        _write(ax, _LEFT + _CUBE / 2, blocks[0].told, 6.5)
        for i, block in enumerate(blocks[1:]):
            centre = first + (i + 0.5) * column
            _draw_block(ax, centre, column, block, blocks)
            _write(ax, centre, block.told, min(6.5, max(4.0, 13 * column)))
        ax.text(0.08, _TOP - 0.08, f"{title}: {total}" if title else total, fontsize=8, va="top")
        ax.set(xlim=(0, PAGE_INCH), ylim=(0, _TOP), aspect="equal")
        ax.set_axis_off()
    return figure


def _write(ax: Axes, x: float, lines: Sequence[str], size: float, **style: Any) -> None:
    """Lines of text below the slabs, one a heading."""
    for i, line in enumerate(lines):
        height = _BASE - 0.15 - i * _LINE
        ax.text(x, height, line, fontsize=size, va="center", **{"ha": "center", **style})


def _blocks(table: pd.DataFrame) -> list[_Block]:
    """The layers that are drawn: what changes no shape and learns nothing joins the one before."""
    blocks: list[_Block] = []
    for row in table.to_dict("records"):
        shape = tuple(int(n) for n in str(row["output_shape"]).split(TIMES))
        kernel = tuple(int(k) for k in row["kernel"].split(TIMES)) if row["kernel"] else ()
        if row["kind"] == "flatten":
            continue
        if blocks and shape == blocks[-1].shape and not (row["parameters"] or kernel):
            kind = row["kind"].split(",")[0]
            then = [blocks[-1].told[1], _SHORT.get(kind, kind)]
            blocks[-1].told[1] = ", ".join(t for t in then if t)
            continue
        field = row["receptive_field_inverse_angstrom"]
        told = [
            _SHORT.get(row["kind"], row["kind"]),
            "",
            str(shape[0]),
            _power(shape[1:]),
            _power(kernel),
            f"{row['parameters']:,}" if row["parameters"] else "",
            str(row["receptive_field_voxels"]),
            f"{field:.2f}" if np.isfinite(field) else "",
        ]
        blocks.append(_Block(row["kind"], shape, told))
    return blocks


_SHORT = {
    "convolution": "conv.",
    "max-pooling": "max-pool",
    "mean pooling": "mean pool",
    "mean over voxels": "mean",
    "maximum over voxels": "max",
    "batch normalisation": "norm.",
    "leaky ReLU": "LReLU",
    "dropout": "drop",
}


def _power(sizes: tuple[int, ...]) -> str:
    """Sizes along axes as text, equal ones as a power: 32³, 16 × 32²."""
    if len(sizes) == 3 and len(set(sizes)) == 1:
        return f"{sizes[0]}³"
    if len(sizes) == 3 and sizes[1] == sizes[2]:
        return f"{sizes[0]}{TIMES}{sizes[1]}²"
    return TIMES.join(map(str, sizes))


def _draw_input(ax: Axes, centre: float, shown: NDArray[np.float32]) -> None:
    left, right, low, high = centre - _CUBE / 2, centre + _CUBE / 2, _BASE, _BASE + _CUBE
    ax.imshow(
        shown.T,
        origin="lower",
        extent=(left, right, low, high),
        cmap="Greys",
        norm=PowerNorm(0.4, vmin=0, vmax=float(shown.max()) or 1.0),
        interpolation="nearest",
    )
    ax.plot([left, right, right, left, left], [low, low, high, high, low], color="k", linewidth=0.6)


def _draw_block(
    ax: Axes, centre: float, column: float, block: _Block, blocks: Sequence[_Block]
) -> None:
    """A slab as high as its edge and as wide as its channels, or a bar as high as its units."""
    face, hatch = _FACES[_family(block.kind)]
    shape = block.shape
    if len(shape) < 4:
        most = max(math.prod(b.shape) for b in blocks if len(b.shape) < 4)
        height = max(0.06, 0.8 * _CUBE * (math.prod(shape) / most) ** 0.5)
        _cuboid(ax, centre, (min(0.15 * column, 0.15), height, 0.05), face, hatch)
        return
    voxel = _CUBE / max(blocks[0].shape[1:])
    widest = max(b.shape[0] for b in blocks[1:] if len(b.shape) == 4)
    depth = min(0.4 * column, max(0.03, 0.25 * voxel * shape[1]))
    width = max(0.03, (0.9 * column - depth) * shape[0] / widest)
    _cuboid(ax, centre, (width, max(0.03, voxel * shape[-1]), depth), face, hatch)


def _family(kind: str) -> str:
    if kind == "convolution":
        return kind
    return "pooling" if "pool" in kind or "over voxels" in kind else "other"


def _cuboid(
    ax: Axes, centre: float, sizes: tuple[float, float, float], face: str, hatch: str
) -> None:
    """A block of some width, height and depth (inches), seen from the upper right."""
    width, height, depth = sizes
    left, right = centre - (width + depth) / 2, centre + (width - depth) / 2
    low, high = _BASE, _BASE + height
    style = {"edgecolor": "#202020", "linewidth": 0.6, "joinstyle": "round"}
    front = [(left, low), (right, low), (right, high), (left, high)]
    top = [(left, high), (right, high), (right + depth, high + depth), (left + depth, high + depth)]
    side = [
        (right, low),
        (right + depth, low + depth),
        (right + depth, high + depth),
        (right, high),
    ]
    for corners, share in ((top, 0.5), (side, 0.25)):
        ax.add_patch(Polygon(corners, facecolor=_lighter(face, share), **style))
    ax.add_patch(Polygon(front, facecolor=face, hatch=hatch, **style))


def _lighter(colour: str, share: float) -> tuple[float, ...]:
    """A colour on its way to white."""
    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return tuple(c + (1 - c) * share for c in rgb)
