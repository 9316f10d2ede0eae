"""The prototypes that ship: symmetry, coordination, charge and size against known crystals."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from rhoflow.structures.candidates import Candidate
from rhoflow.structures.prototype_table import Geometry, Prototype, orbit, read_table
from rhoflow.structures.prototypes import (
    MIN_CATION_DISTANCE,
    MIN_OXYGEN_DISTANCE,
    PrototypesSource,
    build,
    fit,
    ionic_radius,
    oxygen_radius,
    read_prototypes,
)

TABLE = Path(__file__).parents[2] / "resources" / "prototypes.yaml"
PROTOTYPES = read_table(TABLE).prototypes
CANDIDATES = list(read_prototypes(PrototypesSource(), TABLE))


def structure_of(candidate: Candidate) -> Structure:
    assert candidate.structure is not None
    return candidate.structure


def filled(geometry: Geometry, element: str, charge: int) -> Structure:
    filling = fit(geometry, [element], [charge])
    assert filling is not None
    return build(geometry, filling)


def cation_coordination(prototype: Prototype) -> list[tuple[int, float, float]]:
    """For each cation site: declared number, and distances just inside and outside of it."""
    lattice = Lattice.from_parameters(*prototype.cell)
    oxygens = np.concatenate(
        [orbit(prototype.spacegroup, np.array(s[1:4])) for s in prototype.sites if s[0] == "O"]
    )
    crystal = Structure(lattice, ["O"] * len(oxygens), oxygens)
    found = []
    for site in (s for s in prototype.sites if len(s) == 5):
        declared = 4 if isinstance(site[4], str) else site[4]
        centre = lattice.get_cartesian_coords(site[1:4])
        distances = sorted(n.nn_distance for n in crystal.get_sites_in_sphere(centre, 7.0))
        found.append((declared, distances[declared - 1], distances[declared]))
    return found


@pytest.mark.parametrize("name", PROTOTYPES)
def test_space_group_and_formula_are_the_declared_ones(name):
    structure = structure_of(next(c for c in CANDIDATES if c.source_id.startswith(f"{name}-")))
    symmetry = SpacegroupAnalyzer(structure, symprec=0.01)

    assert symmetry.get_space_group_number() == PROTOTYPES[name].spacegroup
    assert len(symmetry.find_primitive()) == len(structure)
    per_unit = sorted(PROTOTYPES[name].counts.values())
    counted = sorted(structure.composition.get_el_amt_dict().values())
    assert np.allclose(np.divide(counted, per_unit), counted[0] / per_unit[0])


@pytest.mark.parametrize("name", PROTOTYPES)
def test_declared_coordination_ends_at_a_gap(name):
    for _, inside, outside in cation_coordination(PROTOTYPES[name]):
        assert outside > 1.1 * inside


@pytest.mark.parametrize("name", PROTOTYPES)
def test_reference_distances_are_those_of_bonds(name):
    for _, inside, outside in cation_coordination(PROTOTYPES[name]):
        assert 1.2 < inside < 3.3
        assert outside > 2.4


@pytest.mark.parametrize(
    ("name", "elements", "charges", "axis", "measured", "tolerance"),
    [
        ("rocksalt", ["Mg"], [2], 0, 4.212, 0.03),
        ("perovskite", ["Sr", "Ti"], [2, 4], 0, 3.905, 0.03),
        ("rutile", ["Ti"], [4], 0, 4.594, 0.04),
        ("spinel", ["Mg", "Al"], [2, 3], 0, 8.083, 0.04),
        ("fluorite", ["Ce"], [4], 0, 5.411, 0.03),
        ("corundum", ["Al"], [3], 2, 12.993, 0.03),
        ("bixbyite", ["In"], [3], 0, 10.118, 0.04),
        ("antifluorite", ["Na"], [1], 0, 5.55, 0.03),
        ("pyrochlore", ["La", "Zr"], [3, 4], 0, 10.80, 0.03),
        ("zircon", ["Y", "V"], [3, 5], 0, 7.118, 0.04),
        ("elpasolite", ["Ba", "Mg", "W"], [2, 2, 6], 0, 8.112, 0.03),
    ],
)
def test_first_lattice_is_near_the_measured_one(name, elements, charges, axis, measured, tolerance):
    filling = fit(PROTOTYPES[name].geometry(), elements, charges)

    assert filling is not None
    assert filling.scale * PROTOTYPES[name].cell[axis] == pytest.approx(measured, rel=tolerance)


def test_tolerance_factor_is_goldschmidts_for_perovskite():
    geometry = PROTOTYPES["perovskite"].geometry()
    filling = fit(geometry, ["Ba", "Ti"], [2, 4])
    # t = (r_Ba + r_O) / (sqrt(2) (r_Ti + r_O)), Shannon radii in Å
    expected = (1.61 + 1.40) / (np.sqrt(2) * (0.605 + 1.40))

    assert filling is not None
    assert filling.mismatch == pytest.approx(expected - 1, abs=1e-6)


def test_cell_is_the_mean_over_its_sites_weighted_by_bond_strength():
    filling = fit(PROTOTYPES["perovskite"].geometry(), ["Sr", "Ti"], [2, 4])
    # Shannon radii in Å. Sr-O is half a diagonal of a face, Ti-O half an edge; the strengths are
    # 2/12 and 4/6.
    by_strontium, by_titanium = np.sqrt(2) * (1.44 + 1.40), 2 * (0.605 + 1.40)
    expected = (by_strontium * 2 / 12 + by_titanium * 4 / 6) / (2 / 12 + 4 / 6)

    assert filling is not None
    assert filling.scale * PROTOTYPES["perovskite"].cell[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ions", ["cation", "oxygen"])
def test_fillings_whose_like_ions_would_touch_are_dropped(ions):
    geometry = PROTOTYPES["rocksalt"].geometry()
    limit = {"cation": MIN_CATION_DISTANCE, "oxygen": MIN_OXYGEN_DISTANCE}[ions]
    assert limit >= 2.0
    scale = filled(geometry, "Mg", 2).lattice.a / np.linalg.norm(geometry.lattice[0])

    def at(distance):
        return replace(geometry, **{f"min_{ions}_distance": distance / scale})

    assert fit(at(limit - 0.01), ["Mg"], [2]) is None
    assert fit(at(limit + 0.01), ["Mg"], [2]) is not None


def test_candidates_are_neutral_by_their_own_oxidation_states():
    table = read_table(TABLE)
    for candidate in CANDIDATES:
        amounts = structure_of(candidate).composition.get_el_amt_dict()
        oxygen = amounts.pop("O")
        reachable = {0.0}
        for element, n in amounts.items():
            reachable = {q + n * state for q in reachable for state in table.cations[element]}
        assert 2 * oxygen in reachable, candidate.source_id


def test_candidates_are_distinct_and_keep_their_distance():
    assert len({c.source_id for c in CANDIDATES}) == len(CANDIDATES)
    assert 1000 < len(CANDIDATES) < 5000
    for candidate in CANDIDATES[::40]:
        structure = structure_of(candidate)
        shells = structure.get_all_neighbors(2.2)
        for site, neighbours in zip(structure, shells, strict=True):
            for other in neighbours:
                oxygens = [site.specie.symbol, other.specie.symbol].count("O")
                limit = {0: MIN_CATION_DISTANCE, 1: 1.2, 2: MIN_OXYGEN_DISTANCE}[oxygens]
                assert other.nn_distance > limit - 1e-6, candidate.source_id


def test_smaller_radius_tolerance_keeps_a_subset():
    names = ("perovskite", "spinel")
    few = PrototypesSource(prototypes=names, radius_tolerance=0.03)
    many = PrototypesSource(prototypes=names, radius_tolerance=0.10)
    tight = {c.source_id for c in read_prototypes(few, TABLE)}
    loose = {c.source_id for c in read_prototypes(many, TABLE)}

    assert "perovskite-SrTiO3" in tight
    assert "perovskite-BaTiO3" in loose - tight
    assert tight < loose


def test_per_prototype_draws_reproducibly_and_only_adds():
    def names(**settings):
        spec = PrototypesSource(prototypes=("perovskite", "rocksalt"), **settings)
        return [c.source_id for c in read_prototypes(spec, TABLE)]

    every, ten, four = names(), names(per_prototype=10), names(per_prototype=4)

    assert sum(n.startswith("perovskite-") for n in ten) == 10
    assert sum(n.startswith("rocksalt-") for n in four) == 4
    assert set(four) < set(ten) < set(every)
    assert ten == [n for n in every if n in set(ten)]
    assert names(per_prototype=10, seed=1) != ten
    assert names(per_prototype=10_000) == every


def test_the_draw_says_nothing_about_the_sample():
    names = [c.source_id for c in CANDIDATES if c.source_id.startswith("perovskite-")]
    spec = PrototypesSource(prototypes=("perovskite",), per_prototype=len(names) // 8)
    drawn = {c.source_id for c in read_prototypes(spec, TABLE)}
    places = [
        place
        for place, name in enumerate(
            sorted(names, key=lambda n: hashlib.sha256(f"0:{n}".encode()).hexdigest())
        )
        if name in drawn
    ]

    assert np.mean(places) / len(names) == pytest.approx(0.5, abs=0.15)


def test_cells_scale_and_nothing_else():
    geometry = PROTOTYPES["rutile"].geometry()
    ti = filled(geometry, "Ti", 4)
    sn = filled(geometry, "Sn", 4)

    assert np.allclose(ti.frac_coords, sn.frac_coords)
    assert sn.lattice.c / sn.lattice.a == pytest.approx(ti.lattice.c / ti.lattice.a)
    assert sn.volume > ti.volume


def test_ionic_radii_are_shannons():
    assert ionic_radius("Mg", 2, 6) == 0.72
    assert ionic_radius("Fe", 3, 6) == 0.645  # high spin
    assert ionic_radius("Cu", 2, "IVSQ") == 0.57
    assert ionic_radius("Mg", 2, "IVSQ") is None
    assert ionic_radius("La", 3, 11) == ionic_radius("La", 3, 10) == 1.27
    assert ionic_radius("Si", 4, 12) is None  # listed up to 6: too far
    assert ionic_radius("Mg", 5, 6) is None
    assert oxygen_radius(6) == 1.40
    assert oxygen_radius(5) == pytest.approx(1.39)
