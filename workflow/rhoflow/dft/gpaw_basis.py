"""Takes the jumps out of the energies of one crystal at several volumes.

At a fixed cutoff the number of plane waves jumps with the volume, in small symmetric cells by
whole shells at all k-points at once: MgO's energy by 20 meV at 500 eV, too much for a bulk
modulus. Francis and Payne, J. Phys.: Condens. Matter 2, 4395 (1990): such an energy belongs to
the cutoff at which a continuous count gives as many waves. From there it is brought to the
nominal cutoff, with the kinetic energy of the atoms' partial waves beyond either as the estimate
of what the missing waves would bring.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from ase.dft.kpoints import monkhorst_pack
from ase.units import Bohr, Ha
from gpaw.setup import LeanSetup
from numpy.typing import NDArray

from rhoflow.density.spectrum import reciprocal_lattice

# In a crystal the p shell of these is full; an isolated atom's partial waves know less.
ANIONS = ("N", "O", "F", "S", "Cl", "Se", "Br", "I")

Tail = tuple[NDArray[np.float64], NDArray[np.float64]]


def basis_set_correction(
    setups: Iterable[LeanSetup], symbols: Sequence[str]
) -> Callable[[NDArray[np.float64], Sequence[int], float], float]:
    """What a crystal's energy at its actual number of plane waves is too high by.

    Args:
        setups: PAW sets of the crystal's elements, in any order and number.
        symbols: (n_atoms,) element symbols.

    Returns:
        A function of lattice (3, 3) Å, k-mesh (3,) and cutoff (eV) that gives eV a cell; it is
        negative where there happen to be more waves than the cutoff stands for.
    """
    tails = {setup.symbol: kinetic_tail(setup) for setup in setups}
    counts = Counter(symbols)

    def correction(lattice: NDArray[np.float64], mesh: Sequence[int], cutoff: float) -> float:
        actual = effective_cutoff(lattice, mesh, cutoff)
        return sum(
            n * (_beyond(tails[symbol], actual) - _beyond(tails[symbol], cutoff))
            for symbol, n in counts.items()
        )

    return correction


def kinetic_tail(setup: LeanSetup) -> Tail:
    """Kinetic energy that an atom's partial waves hold beyond a wave number.

    Returns:
        Wave numbers (n,) in 1/Bohr, and the energy beyond each (n,) in eV.
    """
    radial = setup.data.rgd
    density = np.zeros(1)
    wave_numbers = np.zeros(1)
    states = zip(setup.f_j, setup.l_j, setup.pseudo_partial_waves_j, strict=False)
    for occupation, l, wave in states:  # noqa: E741
        if occupation == 0:
            continue
        electrons = 6.0 if l == 1 and setup.symbol in ANIONS else occupation
        values = np.array([wave(r) for r in radial.r_g])
        wave_numbers, transform = radial.fft(values * radial.r_g ** (l + 1), l)
        density = density + electrons * transform**2 * wave_numbers**4 / (2 * (2 * np.pi) ** 3)
    beyond = np.cumsum(density[::-1])[::-1] * wave_numbers[1] * Ha
    return wave_numbers, beyond


def _beyond(tail: Tail, cutoff: float) -> float:
    return float(np.interp(np.sqrt(2 * cutoff / Ha), *tail))


def effective_cutoff(lattice: NDArray[np.float64], mesh: Sequence[int], cutoff: float) -> float:
    """The cutoff (eV) at which a sphere's volume gives the actual mean number of plane waves.

    Args:
        lattice: (3, 3) Å.
        mesh: (3,) k-points along each axis, Γ among them.
        cutoff: nominal cutoff in eV.
    """
    reciprocal = reciprocal_lattice(lattice / Bohr)
    radius = np.sqrt(2 * cutoff / Ha)
    reach = np.ceil(radius * np.linalg.norm(lattice / Bohr, axis=1) / (2 * np.pi)).astype(int) + 1
    axes = [np.arange(-n, n + 1) for n in reach]
    waves = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    kpoints = monkhorst_pack(tuple(mesh)) + [0.5 / n * (n % 2 == 0) for n in mesh]
    inside = [np.count_nonzero(_norms2(waves + k, reciprocal) <= radius**2) for k in kpoints]
    volume = abs(np.linalg.det(lattice / Bohr))
    return float((6 * np.pi**2 * np.mean(inside) / volume) ** (2 / 3) / 2 * Ha)


def _norms2(coordinates: NDArray[np.float64], lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    vectors = coordinates @ lattice
    return np.einsum("ij,ij->i", vectors, vectors)
