"""Molecules with known answers, computed with PySCF."""

import numpy as np
import pytest
from ase.build import molecule as g2
from ase.units import Bohr, Ha
from scipy.spatial.transform import Rotation

from rhoflow import molecule_tables
from rhoflow.dft.atoms import run_atoms
from rhoflow.dft.molecules import molecule_targets, run_molecules
from rhoflow.dft.pyscf import PySCFSpec, atomic_reference, calculate_molecule, density
from rhoflow.errors import DataError
from rhoflow.molecule import Molecule

pytestmark = pytest.mark.dft

SPEC = PySCFSpec()
EXACT = PySCFSpec(density_fitting=False)
# U0 of QM9's atoms in Hartree (atomref.txt).
QM9_ATOMS = {
    "H": -0.500273,
    "C": -37.846772,
    "N": -54.583861,
    "O": -75.064579,
    "F": -99.718730,
}


def of_g2(name, **more):
    atoms = g2(name)
    return Molecule(name, tuple(atoms.get_chemical_symbols()), atoms.positions, **more)


def calculate(molecule, tmp_path, spec=SPEC):
    return calculate_molecule(molecule, spec, tmp_path / "log.txt", {})


def table(*molecules):
    return molecule_tables.molecules_to_table(
        molecules,
        source="g2",
        source_ids=[m.material_id for m in molecules],
        known=[{}] * len(molecules),
    )


@pytest.fixture(scope="module")
def atoms(tmp_path_factory):
    return run_atoms(["H", "C", "O"], SPEC, done_folder=tmp_path_factory.mktemp("atoms"))


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Water, methane, and what must fail; the folder of what is done."""
    folder = tmp_path_factory.mktemp("done")
    rows = table(
        of_g2("H2O"),
        of_g2("CH4"),
        Molecule("ion", ("O", "H", "H"), of_g2("H2O").positions, charge=1),
        Molecule("crowd", ("H", "H"), np.array([[0.0] * 3, [0.1, 0.0, 0.0]])),
        Molecule("gold", ("Au", "H"), np.array([[0.0] * 3, [1.5, 0.0, 0.0]])),
    )
    return rows, folder, run_molecules(rows, SPEC, done_folder=folder, workers=2)


@pytest.mark.parametrize(
    ("name", "atomization", "homo", "lumo"),
    [("H2O", 9.80, -7.94, 1.86), ("CH4", 18.42, -10.57, 3.23)],
)
def test_energies_against_an_independent_run(shard, atoms, name, atomization, homo, lumo):
    """B3LYP/6-31G(2df,p) with exact integrals and a finer grid."""
    rows, _, result = shard
    compositions = {
        m.material_id: {s: m.symbols.count(s) for s in m.symbols if s != "Au"}
        for m in molecule_tables.table_to_molecules(rows)
    }
    found = molecule_targets(result.records, atoms, compositions).set_index("material_id").loc[name]
    assert found.atomization_energy_ev == pytest.approx(atomization, abs=0.01)
    assert found.homo_ev == pytest.approx(homo, abs=0.01)
    assert found.lumo_ev == pytest.approx(lumo, abs=0.01)
    assert found.homo_lumo_gap_ev == pytest.approx(lumo - homo, abs=0.02)


def test_what_cannot_be_computed_is_a_row_with_a_reason(shard):
    records = shard[2].records.set_index("material_id")
    assert list(records.status) == ["ok", "ok", "failed", "failed", "failed"]
    assert "9 electrons at charge +1: open shell" in records.reason["ion"]
    assert "H1 and H2 are 0.100 Å apart" in records.reason["crowd"]
    assert "no functions for Au" in records.reason["gold"]
    assert list(records.n_atoms) == [3, 5, 3, 2, 2]


def test_a_second_run_finds_the_same_bytes(shard, tmp_path):
    rows, folder, first = shard
    again = run_molecules(rows.iloc[::-1], SPEC, done_folder=folder)
    fresh = run_molecules(rows.iloc[[1, 0]], SPEC, done_folder=tmp_path, workers=1)
    for name in ("H2O", "CH4"):
        for other in (again, fresh):
            assert np.array_equal(other.orbitals[name], first.orbitals[name])
            one = first.records.set_index("material_id").loc[name]
            assert other.records.set_index("material_id").loc[name].equals(one)


def test_without_convergence_there_is_no_energy(tmp_path):
    record = calculate(of_g2("H2O"), tmp_path, PySCFSpec(max_cycles=2)).record
    assert record["status"] == "not_converged"
    assert "2 iterations" in record["reason"]
    assert "total_energy_ev" not in record


def test_a_charged_closed_shell(tmp_path):
    """The proton affinity of water, 7.2 eV by experiment with 0.3 eV of zero-point energy."""
    water = of_g2("H2O")
    pyramid = of_g2("NH3").positions
    hydronium = Molecule("H3O", ("O", "H", "H", "H"), pyramid * 0.97, charge=1)
    difference = (
        calculate(water, tmp_path).record["total_energy_ev"]
        - calculate(hydronium, tmp_path).record["total_energy_ev"]
    )
    assert difference == pytest.approx(7.5, abs=0.4)


def test_rotation_leaves_the_energies(tmp_path):
    water = of_g2("H2O")
    turned = Rotation.random(random_state=3).apply(water.positions) + 5.0
    other = Molecule("turned", water.symbols, turned)
    first, second = (calculate(m, tmp_path).record for m in (water, other))
    for name in ("total_energy_ev", "homo_ev", "lumo_ev"):
        assert second[name] == pytest.approx(first[name], abs=1e-3), name


@pytest.mark.parametrize("name", ["H2O", "CH4", "HCN"])
def test_density_fitting_within_3_mev(name, tmp_path):
    molecule = of_g2(name)

    def atomization(spec):
        isolated = sum(
            atomic_reference(s, spec, tmp_path / "atom.txt")["energy_ev"] for s in molecule.symbols
        )
        return isolated - calculate(molecule, tmp_path, spec).record["total_energy_ev"]

    assert atomization(SPEC) == pytest.approx(atomization(EXACT), abs=3e-3)


@pytest.mark.parametrize("element", sorted(QM9_ATOMS))
def test_atoms_against_those_of_qm9(element, tmp_path):
    """Gaussian's d functions are Cartesian here, PySCF's are not: up to 0.11 eV, none for H."""
    row = atomic_reference(element, EXACT, tmp_path / "log.txt")
    difference = row["energy_ev"] - QM9_ATOMS[element] * Ha
    assert row["status"] == "ok"
    assert -1e-3 < difference < (1e-3 if element == "H" else 0.12)


def test_an_atom_without_functions_is_a_row(tmp_path):
    row = atomic_reference("Au", SPEC, tmp_path / "log.txt")
    assert (row["status"], row["reason"]) == (
        "failed",
        "the basis 6-31g(2df,p) has no functions for Au",
    )


def test_the_density_integrates_to_the_electrons(tmp_path):
    from pyscf import dft, gto

    water = of_g2("H2O")
    orbitals = calculate(water, tmp_path).arrays["occupied"]
    grid = dft.Grids(gto.M(atom=list(zip(water.symbols, water.positions, strict=True)), verbose=0))
    grid.level = 3
    grid.build()
    values = density(water, SPEC, orbitals, grid.coords * Bohr)
    assert orbitals.dtype == np.float32
    assert (values * Bohr**3 * grid.weights).sum() == pytest.approx(10, abs=1e-3)


def test_the_density_of_two_hydrogen_atoms_is_symmetric(tmp_path):
    pair = Molecule("H2", ("H", "H"), np.array([[-0.37, 0.0, 0.0], [0.37, 0.0, 0.0]]))
    orbitals = calculate(pair, tmp_path).arrays["occupied"]
    points = np.random.default_rng(0).normal(size=(5000, 3))  # more than one chunk
    values = density(pair, SPEC, orbitals, points)
    assert np.allclose(values, density(pair, SPEC, orbitals, points * [-1, 1, 1]), rtol=1e-4)
    about_axis = Rotation.from_euler("x", 90, degrees=True).apply(points)
    assert np.allclose(values, density(pair, SPEC, orbitals, about_axis), rtol=1e-4)
    # The density at the nuclei, 0.41 e/Bohr³ with a cusp, is its largest value.
    assert values.max() < density(pair, SPEC, orbitals, pair.positions)[0]


def test_orbitals_of_another_molecule_are_refused(tmp_path):
    orbitals = calculate(of_g2("H2O"), tmp_path).arrays["occupied"]
    with pytest.raises(DataError, match=r"shape \(36, 5\), expected \(46, 5\)"):
        density(of_g2("CH4"), SPEC, orbitals, np.zeros((1, 3)))


def test_the_polarizability_is_the_curvature_of_the_energy(tmp_path):
    """α = -d²E/dF², from energies in fields, for one axis of a linear molecule and the others."""
    from pyscf import dft, gto

    nitrogen = of_g2("N2")
    spec = PySCFSpec(polarizability=True, energy_tolerance_ev=1e-8)
    found = calculate(nitrogen, tmp_path, spec).record["polarizability_angstrom3"]
    mole = gto.M(
        atom=list(zip(nitrogen.symbols, nitrogen.positions, strict=True)),
        basis="6-31g(2df,p)",
        verbose=0,
    )
    dipoles = mole.intor("int1e_r")
    step = 0.005

    def energy(axis, field):
        run = dft.RKS(mole, xc="b3lypg")
        run.grids.level, run.conv_tol = 1, 1e-11
        core = run.get_hcore()
        run.get_hcore = lambda *_: core + field * dipoles[axis]
        return run.kernel()

    at_rest = energy(0, 0.0)
    across, _, along = (
        (2 * at_rest - energy(axis, step) - energy(axis, -step)) / step**2 for axis in range(3)
    )
    assert found == pytest.approx((2 * across + along) / 3 * Bohr**3, rel=0.01)
