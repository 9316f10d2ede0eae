"""A CHGCAR of 100³ points to a spectrum, against pymatgen's reader alone on the same file."""

import gzip
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pymatgen.io.vasp.outputs import Chgcar
from tests.benchmarks.peers import compare, seconds

from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum, from_grid
from rhoflow.dft.prepare import prepare_crystals
from rhoflow.dft.vasp import VaspSpec
from rhoflow.dft.xc import pbe_energies
from rhoflow.vasp.volumetric import read_volumetric

EDGE = 100
ARRAY_BYTES = 8 * EDGE**3
HEAD = (
    "made up\n   1.0\n 8.0 0.0 0.0\n 0.0 8.0 0.0\n 0.0 0.0 8.0\n   Si\n     2\nDirect\n"
    "  0.0  0.0  0.0\n  0.5  0.5  0.5\n\n  100  100  100\n"
)


@pytest.fixture(scope="module")
def chgcar(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("chgcar") / "CHGCAR"
    values = 8 + np.random.default_rng(0).normal(size=(EDGE**3 // 5, 5))
    rows = [" ".join(f"{x:17.10E}" for x in row) for row in values]
    path.write_text(HEAD + "\n".join(rows) + "\n")
    return path


def to_spectrum(path: Path) -> Spectrum:
    field = read_volumetric(path)
    lattice = field.header.lattice
    density = field.blocks[0]
    density /= abs(np.linalg.det(lattice))
    return from_grid(density, lattice, len(field.header.frac_coords))


@pytest.mark.benchmark(group="CHGCAR of 100³ points to a spectrum")
def test_plain(benchmark, chgcar):
    spectrum = benchmark(to_spectrum, chgcar)
    assert spectrum.n_electrons == pytest.approx(8, abs=0.01)
    peer = seconds(lambda: Chgcar.from_file(chgcar), rounds=7)
    assert compare(benchmark, "bound: three times pymatgen's reader alone", 3 * peer) > 1


@pytest.mark.benchmark(group="CHGCAR of 100³ points to a spectrum")
def test_gzip(benchmark, chgcar):
    packed = chgcar.with_suffix(".gz")
    packed.write_bytes(gzip.compress(chgcar.read_bytes(), compresslevel=6))
    benchmark.pedantic(to_spectrum, args=(packed,), rounds=5)
    peer = seconds(lambda: Chgcar.from_file(packed), rounds=3)
    assert compare(benchmark, "bound: three times pymatgen's reader alone, gzip", 3 * peer) > 1


def test_memory(chgcar):
    """Peak of what Python and numpy allocate, and of the whole process over its start."""
    tracemalloc.start()
    to_spectrum(chgcar)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    code = (
        "import sys; from pathlib import Path; import scipy.fft;"
        "from tests.benchmarks.test_bench_vasp import to_spectrum;"
        "peak = lambda: int([l.split()[1] for l in open('/proc/self/status')"
        " if l.startswith('VmHWM')][0]) * 1024;"
        "before = peak(); to_spectrum(Path(sys.argv[1])); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(chgcar)], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "workflow"},
    )  # fmt: skip
    grown = int(done.stdout)
    print(
        f"\narray {ARRAY_BYTES / 1e6:.1f} MB; allocated at the peak {peak / ARRAY_BYTES:.2f} times,"
        f" process grown by {grown / ARRAY_BYTES:.2f} times"
    )
    assert peak < 3 * ARRAY_BYTES
    assert grown < 3 * ARRAY_BYTES


@pytest.mark.benchmark(group="PBE of a density on 64³ points")
def test_pbe(benchmark):
    kernel = pytest.importorskip("gpaw.xc.kernel")
    x = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    density = (1.5 + np.cos(x)[:, None, None] + 0.4 * np.sin(x)[:, None] * np.cos(2 * x))[None]
    benchmark(pbe_energies, density, 6 * np.eye(3))
    n = density.reshape(1, -1) * 0.529177**3
    sigma, energy = np.full_like(n, 1e-3), np.empty(n.shape[1])

    def compiled() -> None:
        kernel.XCKernel("PBE").calculate(energy, n, np.zeros_like(n), sigma, np.empty_like(n))

    # Ours with gradients, GPAW's without.
    peer = seconds(compiled, rounds=7)
    assert compare(benchmark, "bound: three times GPAW's compiled kernel alone", 3 * peer) > 1


@pytest.mark.benchmark(group="VASP inputs of 680 crystals of 20 atoms")
def test_prepare(benchmark, tmp_path):
    rng = np.random.default_rng(0)
    crystals = [
        Crystal(f"m{i}", 7 * np.eye(3) + rng.normal(size=(3, 3)), ("Ti", "O") * 10,
                rng.random((20, 3)))
        for i in range(680)
    ]  # fmt: skip
    benchmark.pedantic(prepare_crystals, args=(crystals, VaspSpec(), tmp_path), rounds=3)
    assert benchmark.stats["median"] < 120
