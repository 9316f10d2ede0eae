"""Figures of molecules: errors against their size, and a model's densities beside computed ones."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rhoflow.density.cube import Cube, Density, density_cube, grid_around
from rhoflow.errors import DataError
from rhoflow.evaluation import metrics
from rhoflow.evaluation.densities import worth_showing
from rhoflow.figures.style import GREY, PAGE_INCH, house_style, letter, line_look
from rhoflow.molecule import Molecule
from rhoflow.properties import TARGETS, Target

KCAL_PER_MOL_PER_EV = 23.06055

# Atoms nearer to a plane than this lie in it, Å.
_IN_PLANE = 0.1
# Atoms, the heaviest, among which three are sought that span a plane.
_SPANNING = 40
# Where the colours of densities end, and those of differences are linear, e/Å³; workflow/report/
# density_map.rst quotes them.
_LEAST, _MOST = 1e-3, 10.0
_LINEAR = 0.05
_DENSITIES = ["model_e_per_angstrom3", "reference_e_per_angstrom3"]

# Errors against size --------------------------------------------------------------------------


def extrapolation_data(predictions: pd.DataFrame, sizes: Mapping[str, int]) -> pd.DataFrame:
    """Errors of structures of each number of atoms, at the largest training size.

    Args:
        predictions: of one study.
        sizes: number of atoms by material id.

    Returns:
        Columns arm, target, part, n_atoms, mae (over the structures of all redraws together),
        mae_std (over redraws, null for one), both in the unit of the target, and n, the number of
        different structures.
    """
    largest = predictions[predictions["train_size"] == predictions["train_size"].max()]
    table = metrics.seed_mean(largest)
    table["n_atoms"] = table["material_id"].map(sizes)
    table["error"] = (table["y_pred"] - table["y_true"]).abs()
    keys = ["arm", "target", "part", "n_atoms"]
    by_redraw = table.groupby([*keys, "redraw"], sort=False)["error"].mean()
    groups = table.groupby(keys, sort=False)
    found = groups.agg(mae=("error", "mean"), n=("material_id", "nunique"))
    found["mae_std"] = by_redraw.groupby(level=keys, sort=False).std()
    columns = [*keys, "mae", "mae_std", "n"]
    found = found.reset_index()[columns]
    return found.sort_values(keys, kind="stable", ignore_index=True)


def extrapolation(table: pd.DataFrame, labels: Mapping[str, str], train_max_atoms: int) -> Figure:
    """MAE against the number of atoms, within and beyond the sizes trained on, a panel a target.

    Below each panel, how many structures of a size were tested. After the figure of the code of
    Tsubaki and Mizoguchi, Phys. Rev. Lett. 125, 206401 (2020).

    Args:
        table: ``extrapolation_data`` of one study.
        labels: what to call each arm.
        train_max_atoms: atoms of the largest structure that may be trained on.
    """
    targets = worth_showing(table["target"])
    arms = [arm for arm in labels if arm in set(table["arm"])]
    columns = min(2, len(targets))
    rows = -(-len(targets) // columns)
    with house_style():
        width = PAGE_INCH if columns > 1 else 0.65 * PAGE_INCH
        figure = Figure(figsize=(width, 3.1 * rows + 0.3))
        axes = figure.subplots(
            2 * rows, columns, squeeze=False, sharex="col", height_ratios=[3, 1] * rows
        )
        for i, target in enumerate(targets):
            panel = axes[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
            chosen = table[table["target"] == target]
            _size_panel(panel[0], chosen, arms, labels, TARGETS[target])
            _count_panel(panel[1], chosen)
            for ax in panel:
                _shade(ax, table, train_max_atoms)
        for ax in axes[2 * rows - 2 :, len(targets) - columns * (rows - 1) :].ravel():
            ax.set_axis_off()
        if len(targets) > 1:
            letter([axes[2 * (i // columns), i % columns] for i in range(len(targets))], x=-0.15)
        handles, names = axes[0, 0].get_legend_handles_labels()
        most = 5 if columns > 1 else 3
        figure.legend(handles, names, loc="outside lower center", ncols=min(most, len(names)))
    return figure


def _size_panel(
    ax: Axes, table: pd.DataFrame, arms: Sequence[str], labels: Mapping[str, str], target: Target
) -> None:
    for i, arm in enumerate(arms):
        rows = table[table["arm"] == arm].sort_values("n_atoms")
        spread = rows["mae_std"].fillna(0)
        # An arm that does not learn this target keeps its place in the legend.
        ax.errorbar(
            rows["n_atoms"], rows["mae"], yerr=spread, label=labels[arm], **line_look(i),
            capsize=2, elinewidth=0.8,
        )  # fmt: skip
    ax.set_ylim(bottom=0)
    ax.set_title(f"{target.label} {target.symbol}")
    ax.set_ylabel(f"MAE ({target.unit})")
    if target.unit == "eV" and target.extensive:
        change = (lambda e: e * KCAL_PER_MOL_PER_EV, lambda e: e / KCAL_PER_MOL_PER_EV)
        ax.secondary_yaxis("right", functions=change).set_ylabel("MAE (kcal/mol)")


def _count_panel(ax: Axes, table: pd.DataFrame) -> None:
    """Structures of each size; those of the arm that was tested on most."""
    counts = table.groupby("n_atoms")["n"].max()
    ax.bar(counts.index, counts, width=0.8, color=GREY)
    if counts.max() > 10:
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.5)
    else:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("tested")
    ax.set_xlabel("atoms")
    ax.tick_params(labelbottom=True)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _shade(ax: Axes, table: pd.DataFrame, train_max_atoms: int) -> None:
    """Grey where no structure was trained on."""
    low, high = table["n_atoms"].min() - 0.7, table["n_atoms"].max() + 0.7
    boundary = train_max_atoms + 0.5
    if boundary < high:
        ax.axvspan(boundary, high, color=GREY, alpha=0.15, linewidth=0, zorder=0)
    ax.set_xlim(low, high)


# Densities ------------------------------------------------------------------------------------


def mapped_molecule(
    molecules: Sequence[Molecule],
    splits: pd.DataFrame,
    computed: Container[str],
    name: str | None = None,
) -> Molecule:
    """The molecule whose density is shown.

    Args:
        molecules: of the data set.
        splits: ``tables.SPLITS``; the first redraw's network is shown.
        computed: ids of those that have orbitals.
        name: material id; None: the first tested one that was computed.

    Raises:
        DataError: it is not there, or was not computed.
    """
    known = {m.material_id: m for m in molecules}
    if name is None:
        first = splits[(splits["redraw"] == splits["redraw"].min()) & (splits["part"] == "test")]
        names = [str(i) for i in first.sort_values("order")["material_id"]]
        name = next((n for n in names if n in computed), None)
    if name is None or name not in known or name not in computed:
        raise DataError(
            f"density map: no computed density of {name or 'any test molecule'}; give another one "
            "by the study's show_density_of (results/dft tells which calculations failed)"
        )
    return known[name]


@dataclass(frozen=True, eq=False)
class Compared:
    """A model's density of one molecule beside an engine's.

    Attributes:
        points: on a plane, ``density_map_data``.
        atoms: of the same.
        totals: ``density_totals``.
        model: cube of the model's density.
        reference: cube of the engine's, on the same grid.
    """

    points: pd.DataFrame
    atoms: pd.DataFrame
    totals: pd.DataFrame
    model: Cube
    reference: Cube


def compared(
    molecule: Molecule, model: Density, reference: Density, n_electrons: float
) -> Compared:
    """All that figures and cube files show of two densities of one molecule.

    A quantum deep field normalises its orbitals on its own points, and what it has outside their
    spheres comes on top: its density is scaled so that the grid holds its electrons.

    Args:
        molecule: any.
        model: (p, 3) Å to (p,) e/Å³.
        reference: the same of an engine.
        n_electrons: that the model counts.
    """
    grid = grid_around(molecule)
    cube = density_cube(molecule, model, grid)
    factor = n_electrons / cube.n_electrons
    filled = replace(cube, values=factor * cube.values)
    computed = density_cube(molecule, reference, grid)
    points, atoms = density_map_data(molecule, lambda r: factor * model(r), reference)
    return Compared(points, atoms, density_totals(filled, computed), filled, computed)


def density_map_data(
    molecule: Molecule,
    model: Density,
    reference: Density,
    *,
    spacing: float = 0.04,
    margin: float = 2.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two densities on the plane through three atoms that holds most nuclear charge.

    Args:
        molecule: any.
        model: the density of a model, (p, 3) Å to (p,) e/Å³.
        reference: the density of an engine.
        spacing: of the points, Å.
        margin: from the outermost atoms to the edges, Å.

    Returns:
        The points, x fastest: columns x_angstrom, y_angstrom, model_e_per_angstrom3,
        reference_e_per_angstrom3. And the atoms: symbol, x_angstrom, y_angstrom, and
        height_angstrom above the plane.
    """
    origin, axes = molecule_plane(molecule)
    local = (molecule.positions - origin) @ axes.T  # (n, 3)
    low, high = local[:, :2].min(axis=0) - margin, local[:, :2].max(axis=0) + margin
    x, y = (np.arange(a, b + spacing, spacing) for a, b in zip(low, high, strict=True))
    xy = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    points = origin + xy @ axes[:2]
    values = [model(points), reference(points)]
    columns = ["x_angstrom", "y_angstrom", *_DENSITIES]
    atoms = pd.DataFrame(local, columns=["x_angstrom", "y_angstrom", "height_angstrom"])
    atoms.insert(0, "symbol", list(molecule.symbols))
    return pd.DataFrame(np.column_stack([xy, *values]), columns=columns), atoms


def molecule_plane(molecule: Molecule) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The plane through three atoms that holds most nuclear charge.

    Returns:
        (3,) a point of it, Å, and (3, 3) unit vectors as rows: the first along the largest extent
        of its atoms, the last along its normal.
    """
    positions, charges = molecule.positions, molecule.numbers
    heaviest = np.argsort(-charges, kind="stable")[:_SPANNING]
    triples = np.array(list(combinations(heaviest, 3)), dtype=np.int64).reshape(-1, 3)
    a, b, c = (positions[triples[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    # Three atoms of a line span no plane.
    a, normals = a[length > 0.1], normals[length > 0.1] / length[length > 0.1, None]
    held = np.abs(positions @ normals.T - (a * normals).sum(axis=1)) < _IN_PLANE  # (n, planes)
    if held.size:
        best = int(np.argmax(charges @ held))
        chosen, normal = positions[held[:, best]], normals[best]
    else:
        chosen, normal = positions, None
    origin = chosen.mean(axis=0)
    directions = np.linalg.svd(chosen - origin)[2]  # (3, 3), the largest extent first
    first = directions[0]
    if normal is None:
        normal = directions[2]
    # Of the two directions of a vector, the one whose largest component is positive.
    normal, first = (v * np.sign(v[np.abs(v).argmax()]) for v in (normal, first))
    first = first - (first @ normal) * normal
    first /= np.linalg.norm(first)
    return origin, np.array([first, np.cross(normal, first), normal])


def density_totals(model: Cube, reference: Cube) -> pd.DataFrame:
    """Electrons and distance of two densities over a whole box, not over a plane of it.

    Args:
        model: density of a model.
        reference: density of an engine on the same grid.

    Returns:
        One row: material_id, formula, n_electrons (of the molecule), model_electrons,
        reference_electrons (integrals over the box), distance_percent
        (``metrics.density_distance``).
    """
    row = {
        "material_id": reference.molecule.material_id,
        "formula": reference.molecule.to_ase().get_chemical_formula("hill"),
        "n_electrons": reference.molecule.n_electrons,
        "model_electrons": model.n_electrons,
        "reference_electrons": reference.n_electrons,
        "distance_percent": metrics.density_distance(model.values, reference.values),
    }
    return pd.DataFrame([row])


def density_map(
    points: pd.DataFrame, atoms: pd.DataFrame, totals: pd.DataFrame, labels: tuple[str, str]
) -> Figure:
    """The density of a model, of an engine, and their difference on a plane of one molecule.

    Args:
        points: of ``density_map_data``.
        atoms: of ``density_map_data``.
        totals: ``density_totals`` of the same molecule.
        labels: what to call the model and the engine.
    """
    x, y = (np.unique(points[c]) for c in ("x_angstrom", "y_angstrom"))
    model, reference = (points[c].to_numpy().reshape(len(y), len(x)) for c in _DENSITIES)
    row = totals.iloc[0]
    electrons = [row["model_electrons"], row["reference_electrons"]]
    titles = [f"{n}\n{e:.2f} electrons" for n, e in zip(labels, electrons, strict=True)]
    titles.append(f"difference\ndistance {row['distance_percent']:.1f} %")
    linear = SymLogNorm(_LINEAR, vmin=-_MOST, vmax=_MOST)
    with house_style():
        height = 0.3 * PAGE_INCH * np.clip(np.ptp(y) / np.ptp(x), 0.3, 1.6)
        figure = Figure(figsize=(PAGE_INCH, height + 1.7))
        figure.suptitle(f"{row['material_id']}, {row['formula']}", fontsize=8)
        axes = list(figure.subplots(1, 3, sharey=True))
        frame = (x, y)
        shown = [
            _map(axes[0], model, frame, LogNorm(_LEAST, _MOST), "viridis"),
            _map(axes[1], reference, frame, LogNorm(_LEAST, _MOST), "viridis"),
            _map(axes[2], model - reference, frame, linear, "RdBu_r"),
        ]
        for ax, title in zip(axes, titles, strict=True):
            _name_atoms(ax, atoms)
            ax.set_title(title)
            ax.set_xlabel("x (Å)")
        axes[0].set_ylabel("y (Å)")
        settings = {"location": "bottom", "extend": "both", "aspect": 30, "shrink": 0.8}
        figure.colorbar(shown[1], ax=axes[:2], label=r"$\rho$ (e/Å$^3$)", **settings)
        bar = figure.colorbar(shown[2], ax=axes[2], label=r"$\Delta\rho$ (e/Å$^3$)", **settings)
        marks = ["−10", "−1", "−0.1", "0", "0.1", "1", "10"]
        bar.minorticks_off()
        bar.set_ticks([-10, -1, -0.1, 0, 0.1, 1, 10], labels=marks)
    return figure


def _map(
    ax: Axes,
    values: NDArray[np.float64],
    frame: tuple[NDArray[np.float64], NDArray[np.float64]],
    norm: Normalize,
    colours: str,
) -> AxesImage:
    """(y, x) values as colours."""
    (x, y), half = frame, (frame[0][1] - frame[0][0]) / 2
    extent = (x[0] - half, x[-1] + half, y[0] - half, y[-1] + half)
    if isinstance(norm, LogNorm):  # zero and less have no logarithm
        values = np.maximum(values, _LEAST / 10)
    return ax.imshow(values, origin="lower", extent=extent, norm=norm, cmap=colours)


def _name_atoms(ax: Axes, atoms: pd.DataFrame) -> None:
    """The symbols of atoms; small where they lie outside the plane."""
    for atom in atoms.to_dict("records"):
        inside = abs(atom["height_angstrom"]) < _IN_PLANE
        ax.text(
            atom["x_angstrom"],
            atom["y_angstrom"],
            atom["symbol"],
            ha="center",
            va="center",
            fontsize=7 if inside else 5,
            alpha=1 if inside else 0.6,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )
