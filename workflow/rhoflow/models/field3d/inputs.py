"""Fields on the grids of their cells, on the device that trains."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rhoflow.density.spectrum import Spectrum, reciprocal_lattice, to_grid
from rhoflow.descriptors.fields import FieldSet
from rhoflow.evaluation.densities import grid_shape


class Fields(NamedTuple):
    """A batch of cells of one grid of shape (n1, n2, n3); m is n3 // 2 + 1.

    Attributes:
        values: (batch, channels, n1, n2, n3).
        radial: (batch, functions, n1, n2, m) of |g|, 0 beyond g_cut.
        g: (batch, 3, n1, n2, m) 1/Å.
        weight: (batch,) by which answers are multiplied.
    """

    values: torch.Tensor
    radial: torch.Tensor
    g: torch.Tensor
    weight: torch.Tensor


class FieldBatcher:
    """Cells on a device, those of one grid side by side.

    Args:
        inputs: n crystals.
        channels: (channels, coefficients) of what networks read.
        answer: (coefficients,) e/Å³ of what they should say.
        g_cut: radius of the sphere, 1/Å.
        n_functions: radial functions.
        device: where batches are made.
    """

    def __init__(
        self,
        inputs: FieldSet,
        channels: NDArray[np.complexfloating],
        answer: NDArray[np.complexfloating],
        *,
        g_cut: float,
        n_functions: int,
        device: torch.device,
    ) -> None:
        self.g_cut, self.n_functions, self.device = g_cut, n_functions, device
        self.n = len(inputs)
        shapes = [grid_shape(inputs.hkl[inputs.rows(i)]) for i in range(self.n)]
        self.shapes = sorted(set(shapes))
        self.group = np.array([self.shapes.index(s) for s in shapes], dtype=np.int64)
        self.place = np.zeros(self.n, dtype=np.int64)
        self.values: list[torch.Tensor] = []
        self.answers: list[torch.Tensor] = []
        self.weights: list[torch.Tensor] = []
        for number, shape in enumerate(self.shapes):
            members = np.flatnonzero(self.group == number)
            self.place[members] = np.arange(len(members))
            grids = [self._grids(inputs, i, channels, answer, shape) for i in members.tolist()]
            stacked = torch.from_numpy(np.asarray(grids)).float().to(device)
            self.values.append(stacked[:, 2:])
            self.answers.append(stacked[:, 1].flatten(1))
            self.weights.append(100 / stacked[:, 0].abs().flatten(1).sum(dim=1))
        reciprocal = [reciprocal_lattice(a) for a in inputs.lattices]
        self.reciprocal = torch.tensor(np.asarray(reciprocal).reshape(-1, 3, 3)).float().to(device)

    def _grids(
        self,
        inputs: FieldSet,
        index: int,
        channels: NDArray[np.complexfloating],
        answer: NDArray[np.complexfloating],
        shape: tuple[int, int, int],
    ) -> NDArray[np.float64]:
        """(2 + channels, n1, n2, n3) density, answer and channels of one crystal."""
        rows = inputs.rows(index)
        fields = [inputs.density[rows], answer[rows], *channels[:, rows]]
        return np.asarray([to_grid(inputs.spectrum(index, f), shape) for f in fields])

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[torch.Tensor]:
        """(batch,) positions of cells of one grid; in random order if a generator is given."""
        order = torch.arange(self.n)
        if generator is not None:
            order = torch.randperm(self.n, generator=generator)
        group = torch.from_numpy(self.group)[order]
        parts = [p for k in range(len(self.shapes)) for p in order[group == k].split(batch_size)]
        turn: Sequence[int] = range(len(parts))
        if generator is not None:
            turn = torch.randperm(len(parts), generator=generator).tolist()
        yield from (parts[i] for i in turn)

    def fields(self, cells: torch.Tensor) -> Fields:
        """What networks read of cells of one grid."""
        number, rows = self._where(cells)
        shape = self.shapes[number]
        indices = [torch.fft.fftfreq(n, 1 / n) for n in shape[:2]]
        indices.append(torch.arange(shape[2] // 2 + 1, dtype=torch.float32))
        hkl = torch.stack(torch.meshgrid(*indices, indexing="ij")).to(self.device)
        g = torch.einsum("hxyz,bhi->bixyz", hkl, self.reciprocal[cells.to(self.device)])
        length = g.norm(dim=1, keepdim=True)
        centres = torch.linspace(0, self.g_cut, self.n_functions, device=self.device)
        distance = (length - centres.view(1, -1, 1, 1, 1)) / centres[1]
        radial = torch.exp(-0.5 * distance**2) * (length <= self.g_cut * (1 + 1e-5))
        return Fields(self.values[number][rows], radial, g, self.weights[number][rows])

    def answer(self, cells: torch.Tensor) -> torch.Tensor:
        """(batch, points) of the answers, weighted."""
        number, rows = self._where(cells)
        return self.answers[number][rows] * self.weights[number][rows, None]

    def _where(self, cells: torch.Tensor) -> tuple[int, torch.Tensor]:
        positions = cells.cpu().numpy()
        number = int(self.group[positions[0]])
        return number, torch.from_numpy(self.place[positions]).to(self.device)

    def coefficients(
        self, cells: torch.Tensor, answers: torch.Tensor, inputs: FieldSet
    ) -> list[NDArray[np.complex64]]:
        """The answers of one network, weighted as above, as Fourier coefficients.

        Args:
            cells: (batch,) positions.
            answers: (batch, points).
            inputs: the crystals that the batcher was made of.

        Returns:
            For each of them (m,) e/Å³ at its own indices.
        """
        number, rows = self._where(cells)
        values = (answers / self.weights[number][rows, None]).cpu().double().numpy()
        grids = values.reshape(-1, *self.shapes[number])
        whole = np.fft.rfftn(grids, axes=(1, 2, 3), norm="forward")
        found = []
        for grid, cell in zip(whole, cells.tolist(), strict=True):
            hkl = inputs.hkl[inputs.rows(cell)].astype(int)
            found.append(grid[tuple(hkl.T)].astype(np.complex64))
        return found


def mean_squares(inputs: FieldSet, values: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """(n,) mean square over each cell of a field with these (coefficients,), by Parseval."""
    both = np.where(inputs.hkl.any(axis=1), 2.0, 1.0) * np.abs(values) ** 2
    return np.add.reduceat(both, inputs.offsets[:-1]) if len(inputs) else np.zeros(0)


def spectra(
    inputs: FieldSet, coefficients: Sequence[NDArray[np.complexfloating]]
) -> list[Spectrum]:
    """A spectrum for each crystal."""
    return [inputs.spectrum(i, values) for i, values in enumerate(coefficients)]
