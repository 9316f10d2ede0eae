"""Figures of the voxel-descriptor paper (Kajita et al., Sci. Rep. 7, 16991 (2017))."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, evaluate
from rhoflow.descriptors.r3dvs import R3DVSSpec, spots
from rhoflow.descriptors.voxels import SpotBatcher
from rhoflow.errors import ConfigError, DataError, did_you_mean
from rhoflow.figures.style import PAGE_INCH, house_style, letter

SLICE_POINTS = 161
ON_PLANE = 1e-6


def pick_density(
    crystals: Sequence[Crystal], spectra: Mapping[str, Spectrum], material_id: str | None
) -> Crystal:
    """The crystal that the concept figure shows: the named one, or the first with a density.

    Raises:
        ConfigError: the named one has no density.
        DataError: there is no density at all.
    """
    computed = {c.material_id: c for c in crystals if c.material_id in spectra}
    if not computed:
        raise DataError("no structure of the data set has a density; see its DFT records")
    if not material_id:
        return next(iter(computed.values()))
    if material_id not in computed:
        raise ConfigError(
            f"show_density_of: no density of '{material_id}'{did_you_mean(material_id, computed)}"
        )
    return computed[material_id]


def concept(crystal: Crystal, spectrum: Spectrum, spec: R3DVSSpec) -> Figure:
    """From a density to its voxels, in the manner of the paper's Fig. 1.

    (a) a slice of ρ(r) through the first atom, normal to the shortest lattice vector; (b) the
    spots |s(g)| in the plane of reciprocal space that is normal to it too, with the sphere
    g_cut; (c) the same spots on the voxels of the cube; (d) all voxels of the cube.
    """
    frame = _frame(spectrum.lattice)
    with house_style():
        figure = Figure(figsize=(PAGE_INCH, 6.4))
        axes = [figure.add_subplot(2, 2, i + 1) for i in range(3)]
        solid = figure.add_subplot(2, 2, 4, projection="3d")
        _density_panel(figure, axes[0], crystal, spectrum, frame)
        _spots_panel(axes[1], spectrum, frame, spec)
        voxels = _voxels(crystal.material_id, spectrum, frame, spec)
        _slice_panel(figure, axes[2], voxels, spec)
        _cube_panel(solid, voxels, spec)
        letter([*axes, solid])
        figure.suptitle(f"{crystal.to_ase().symbols.formula.reduce()[0]}", fontsize=9)
    return figure


def _frame(lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) orthonormal rows: two in the plane normal to the shortest lattice vector, and it."""
    lengths = np.linalg.norm(lattice, axis=1)
    shortest = int(lengths.argmin())
    normal = lattice[shortest] / lengths[shortest]
    other = np.cross(normal, lattice[(shortest + 1) % 3])
    first = np.cross(other, normal)
    first /= np.linalg.norm(first)
    return np.array([first, np.cross(normal, first), normal])


def _density_panel(
    figure: Figure, ax: Axes, crystal: Crystal, spectrum: Spectrum, frame: NDArray[np.float64]
) -> None:
    half = 4.0
    line = np.linspace(-half, half, SLICE_POINTS)
    u, v = np.meshgrid(line, line, indexing="xy")
    origin = crystal.frac_coords[0] @ crystal.lattice
    points = origin + u.reshape(-1, 1) * frame[0] + v.reshape(-1, 1) * frame[1]
    chunks = np.array_split(points, max(1, len(points) * len(spectrum.hkl) // 4_000_000))
    values = np.concatenate([evaluate(spectrum, c) for c in chunks]).reshape(u.shape)
    top = float(np.quantile(values, 0.995))
    image = ax.imshow(
        values,
        origin="lower",
        extent=(-half, half, -half, half),
        cmap="viridis",
        norm=PowerNorm(0.5, vmin=0, vmax=top),
    )
    figure.colorbar(image, ax=ax, label=r"$\rho$ (e/Å$^3$)", shrink=0.8, extend="max")
    ax.set(xlabel="x (Å)", ylabel="y (Å)", title=r"density $\rho(\mathbf{r})$")
    _mark_atoms(ax, crystal, origin, frame, half)


def _mark_atoms(
    ax: Axes,
    crystal: Crystal,
    origin: NDArray[np.float64],
    frame: NDArray[np.float64],
    half: float,
) -> None:
    """Element symbols of the atoms that lie on the slice."""
    cells = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = (cells[:, None, :] + crystal.frac_coords[None]) @ crystal.lattice - origin
    local = images.reshape(-1, 3) @ frame.T
    names = np.tile(np.asarray(crystal.symbols), len(cells))
    near = (np.abs(local[:, 2]) < 0.05) & (np.abs(local[:, :2]) < 0.94 * half).all(axis=1)
    for (x, y, _), name in zip(local[near], names[near], strict=True):
        text = ax.text(x, y, name, color="white", ha="center", va="center", fontsize=7)
        text.set_path_effects([withStroke(linewidth=1.2, foreground="#202020")])


def _spots_panel(ax: Axes, spectrum: Spectrum, frame: NDArray[np.float64], spec: R3DVSSpec) -> None:
    g = spectrum.g_vectors() @ frame.T
    amplitude = np.abs(spectrum.coefficients)
    plane = np.abs(g[:, 2]) < ON_PLANE
    g, amplitude = g[plane, :2], amplitude[plane]
    size = 90 * np.sqrt(amplitude / amplitude.max())
    inside = np.hypot(*g.T) <= spec.g_cut
    for sign in (1, -1):
        for chosen, colour in ((inside, "#0072B2"), (~inside, "#B8B8B8")):
            ax.scatter(*(sign * g[chosen].T), s=size[chosen], color=colour, linewidths=0)
    ax.add_patch(Circle((0, 0), spec.g_cut, fill=False, color="#D55E00", linewidth=1))
    reach = float(np.hypot(*g.T).max())
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.set(xlabel="$g_x$ (1/Å)", ylabel="$g_y$ (1/Å)")
    ax.set_title(rf"spots $|s(\mathbf{{g}})|$, cut at {spec.g_cut:.2f} 1/Å")


def _voxels(
    name: str, spectrum: Spectrum, frame: NDArray[np.float64], spec: R3DVSSpec
) -> NDArray[np.float32]:
    """(n, n, n) voxels of the density alone with the normal of the slice along z."""
    whole = spec.model_copy(update={"channels": ("density",), "half": False})
    batcher = SpotBatcher(spots({name: spectrum}, whole), whole, torch.device("cpu"))
    rotation = torch.from_numpy(frame).float()[None]
    return batcher.voxels(torch.zeros(1, dtype=torch.long), rotation)[0, 0].numpy()


def _value_label(spec: R3DVSSpec) -> str:
    value, unit = (
        (r"$|s|$", "e/Å$^3$") if spec.value == "amplitude" else (r"$|s|^2$", "e$^2$/Å$^6$")
    )
    return f"{value} ({unit})" if spec.per == "volume" else rf"{value}$\,V/n$ ({unit} Å$^3$)"


def _slice_panel(figure: Figure, ax: Axes, voxels: NDArray[np.float32], spec: R3DVSSpec) -> None:
    n = spec.n_voxels
    # On an even grid g = 0 lies between the two middle layers.
    middle = voxels[:, :, (n - 1) // 2 : n // 2 + 1].sum(axis=2)
    image = ax.imshow(
        middle.T,
        origin="lower",
        extent=(-spec.g_cut, spec.g_cut, -spec.g_cut, spec.g_cut),
        cmap="magma_r",
        norm=PowerNorm(0.4, vmin=0, vmax=float(middle.max())),
        interpolation="nearest",
    )
    figure.colorbar(image, ax=ax, label=_value_label(spec), shrink=0.8)
    ax.set(xlabel="$g_x$ (1/Å)", ylabel="$g_y$ (1/Å)", title=f"middle of the ${n}^3$ voxels")


def _cube_panel(ax: Axes, voxels: NDArray[np.float32], spec: R3DVSSpec) -> None:
    top = float(voxels.max())
    index = np.argwhere(voxels > 2e-3 * top)
    value = voxels[tuple(index.T)]
    centres = (index + 0.5 - spec.n_voxels / 2) * spec.pitch
    order = np.argsort(value)
    ax.scatter(
        *centres[order].T,
        c=value[order],
        s=3 + 40 * (value[order] / top) ** 0.5,
        cmap="magma_r",
        norm=LogNorm(vmin=2e-3 * top, vmax=top),
        linewidths=0,
        alpha=0.8,
    )
    reach = (-spec.g_cut, spec.g_cut)
    ax.set(xlim=reach, ylim=reach, zlim=reach)  # type: ignore[call-arg]
    ax.set_xlabel("$g_x$ (1/Å)", labelpad=-3)
    ax.set_ylabel("$g_y$ (1/Å)", labelpad=-3)
    ax.set_zlabel("$g_z$ (1/Å)", labelpad=-6)  # type: ignore[attr-defined]
    ax.set_box_aspect(None, zoom=0.92)  # type: ignore[call-arg]
    ax.tick_params(pad=-2)
    ax.set_title(f"all voxels, edge {2 * spec.g_cut:.2f} 1/Å")
