"""Boxes around molecules, what no density of theirs is, and what studies of them may not ask."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from rhoflow.config import WorkflowConfig, load
from rhoflow.density.store import DensitySpec
from rhoflow.dft.boxed import MARGIN_ANGSTROM, STEP_ANGSTROM, box, boxed
from rhoflow.dft.pyscf import PySCFSpec
from rhoflow.errors import ConfigError, DataError
from rhoflow.molecule import Molecule
from rhoflow.molecule_tables import molecules_to_table
from rhoflow.tables import table_to_crystals

CONFIG = Path(__file__).parents[2] / "config" / "test" / "fields_molecules.yaml"
SMALL = PySCFSpec(basis="6-31g")
STORED = DensitySpec(g_store=4.0)
# Four atoms in no plane; water; three in a line; one.
SHAPES = {
    "bent": ("COHF", [[0, 0, 0], [1.4, 0, 0], [0.2, 1.0, 0.1], [-0.3, -0.4, 1.2]]),
    "flat": ("OHH", [[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]]),
    "line": ("HCN", [[0, 0, -1.07], [0, 0, 0], [0, 0, 1.15]]),
    "atom": ("N", [[3.0, 2.0, 1.0]]),
}


def shaped(name: str, **more: Any) -> Molecule:
    symbols, positions = SHAPES[name]
    return Molecule(name, tuple(symbols), np.array(positions, dtype=float), **more)


def table(*molecules: Molecule):
    names = [m.material_id for m in molecules]
    return molecules_to_table(molecules, source="t", source_ids=names, known=[{}] * len(names))


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_box_is_rectangular_and_holds_the_molecule_in_its_middle(name):
    molecule = shaped(name)
    crystal = box(molecule)
    edges = np.linalg.norm(crystal.lattice, axis=1)
    assert crystal.lattice @ crystal.lattice.T == pytest.approx(np.diag(edges**2), abs=1e-9)
    assert np.linalg.det(crystal.lattice) == pytest.approx(edges.prod())
    assert edges / STEP_ANGSTROM == pytest.approx(np.round(edges / STEP_ANGSTROM))
    # Turned nowhere: atom by atom the same distances, in the same directions.
    places = crystal.frac_coords @ crystal.lattice
    assert places - places[0] == pytest.approx(molecule.positions - molecule.positions[0])
    low, high = crystal.frac_coords.min(axis=0) * edges, crystal.frac_coords.max(axis=0) * edges
    assert low == pytest.approx(edges - high)
    assert (low > MARGIN_ANGSTROM - 1e-6).all()
    assert (low < MARGIN_ANGSTROM + STEP_ANGSTROM / 2).all()


@pytest.mark.parametrize("name", list(SHAPES))
def test_a_turned_molecule_has_the_turned_box(name):
    still = shaped(name)
    turn = Rotation.from_rotvec([0.3, 2.0, -0.8])
    turned = Molecule(name, still.symbols, turn.apply(still.positions + 3.0))
    first, second = (np.linalg.norm(box(m).lattice, axis=1) for m in (still, turned))
    assert first == pytest.approx(second)


def test_a_flat_molecule_lies_in_the_first_two_axes():
    assert box(shaped("flat")).frac_coords[:, 2] == pytest.approx([0.5] * 3)


def test_molecules_without_a_density_keep_their_boxes():
    """One that failed has no orbitals; an ion has other electrons than its free atoms."""
    ion = Molecule("ion", ("H", "H"), np.array([[0.0] * 3, [0.8, 0, 0]]), charge=-2)
    made = boxed(table(ion, shaped("flat")), {"ion": np.zeros((4, 2))}, SMALL, STORED)
    assert made.spectra == {}
    assert [c.material_id for c in table_to_crystals(made.structures)] == ["ion", "flat"]
    assert list(made.structures["formula"]) == ["H2", "H2O"]


def test_orbitals_that_are_not_normalised_are_refused():
    with pytest.raises(DataError, match=r"flat: its density integrates to .* 8\.000000"):
        boxed(table(shaped("flat")), {"flat": 0.5 * np.ones((13, 5))}, SMALL, STORED)


def test_orbitals_of_something_else_are_refused():
    with pytest.raises(DataError, match=r"orbitals of other: .*run snakemake again"):
        boxed(table(shaped("flat")), {"other": np.zeros((13, 5))}, SMALL, STORED)
    with pytest.raises(DataError, match="settings of one calculation"):
        boxed(table(shaped("flat")), {"flat": np.zeros((13, 4))}, SMALL, STORED)


# Studies ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    return yaml.safe_load(CONFIG.read_text())


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("engines", {"pyscf": {"kind": "given"}}, "must be a pyscf; it is a given"),
        (
            "descriptors",
            {"fields": {"kind": "fields", "g_cut": 4.0, "potentials": ["local"]}},
            r"arms\.spectral: no local potential is kept of molecules",
        ),
        ("descriptors", {"fields": {"kind": "fields", "g_cut": 9.0}}, "g_store"),
    ],
    ids=["given", "local", "reach"],
)
def test_what_molecules_do_not_have_is_said(raw, part, changes, message):
    config = copy.deepcopy(raw)
    config[part].update(changes)
    with pytest.raises(ConfigError, match=message):
        load(config)


def test_runs_do_not_start_from_densities_of_molecules(raw):
    config = copy.deepcopy(raw)
    config["engines"]["gpaw"] = {"kind": "gpaw"}
    (study,) = config["studies"].values()
    study["figures"] = ["scf_starts"]
    study["starts"] = {"engine": "gpaw"}
    with pytest.raises(ConfigError, match="starts: runs start from densities of crystals alone"):
        load(config)


def test_the_config_itself_is_right(raw):
    assert isinstance(load(raw), WorkflowConfig)
