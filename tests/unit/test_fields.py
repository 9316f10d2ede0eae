"""Fields side by side, their files, and what operators refuse or flag."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.physics.test_field3d import (
    BOUND,
    FREE,
    G_CUT,
    NAMES,
    QUICK,
    SPEC,
    one,
    rock_salt,
    spectrum_of,
    trained,
    training_set,
)

from rhoflow import io
from rhoflow.checkpoints import CheckpointStore
from rhoflow.crystal import Crystal
from rhoflow.density.spectrum import Spectrum
from rhoflow.descriptors.fields import FieldsSpec, fields
from rhoflow.errors import DataError
from rhoflow.evaluation.densities import (
    OF_DENSITIES,
    mean_spectrum,
    negative_percent,
    truths,
    worth_showing,
)
from rhoflow.models.base import Start
from rhoflow.models.field3d.fit import fit, restore
from rhoflow.models.field3d.inputs import FieldBatcher
from rhoflow.models.field3d.spec import DensityOperatorSpec


def test_files_hold_all_of_it(tmp_path):
    inputs = training_set()
    first, second = inputs.take([0, 1]), inputs.take(range(2, len(inputs)))
    for i, part in enumerate((first, second)):
        io.write_fields(tmp_path / f"{i}.npz", part, spec=SPEC.model_dump(mode="json"))
    read = io.read_descriptors([tmp_path / "0.npz", tmp_path / "1.npz"])
    assert read.ids == inputs.ids
    assert read.fingerprint() == inputs.fingerprint()


def test_taking_some_keeps_what_belongs_together():
    inputs = training_set()
    taken = inputs.take([4, 1])
    assert taken.ids == (inputs.ids[4], inputs.ids[1])
    assert (taken.spectrum(1).coefficients == inputs.spectrum(1).coefficients).all()
    assert taken.numbers.tolist() == [20, 8, 12, 8]


def test_a_grid_that_is_too_coarse_for_g_cut_is_refused():
    crystal = rock_salt("Mg", 4.2)
    with pytest.raises(DataError, match=r"spectrum ends at \|g\| = 5.000"):
        fields({"x": spectrum_of(crystal, BOUND)}, {"x": crystal}, FREE, FieldsSpec(g_cut=6.0))


def test_a_density_that_is_not_finite_is_refused():
    crystal = rock_salt("Mg", 4.2)
    broken = spectrum_of(crystal, BOUND)
    broken.coefficients[3] = np.nan
    with pytest.raises(DataError, match=r"x: .*not finite"):
        fields({"x": broken}, {"x": crystal}, FREE, SPEC)


def test_an_element_without_a_free_atom_is_refused():
    crystal = Crystal("x", 4.2 * np.eye(3), ("Zn", "O"), np.array([[0.0] * 3, [0.5] * 3]))
    with pytest.raises(DataError, match="x: no free atom is known of Zn"):
        fields({"x": spectrum_of(rock_salt("Mg", 4.2), BOUND)}, {"x": crystal}, FREE, SPEC)


def test_a_local_potential_that_is_missing_is_refused():
    crystal = rock_salt("Mg", 4.2)
    spec = FieldsSpec(g_cut=G_CUT, potentials=("local",))
    with pytest.raises(DataError, match="no local potential"):
        fields({"x": spectrum_of(crystal, BOUND)}, {"x": crystal}, FREE, spec)


def test_without_free_atoms_the_electrons_are_spread_evenly():
    crystal = rock_salt("Mg", 4.2)
    spec = FieldsSpec(g_cut=G_CUT, free_atoms=False)
    found = fields({"x": spectrum_of(crystal, BOUND)}, {"x": crystal}, None, spec)
    start = found.spectrum(0, found.atoms)
    assert start.n_electrons == pytest.approx(8.0, rel=1e-5)
    assert np.count_nonzero(found.atoms) == 1
    operator = fit(
        DensityOperatorSpec(operator="none"), spec, found, np.zeros((1, 3)), Start(targets=NAMES)
    )
    assert operator.predict(found)[0, 0, 0] < 20


def test_settings_that_make_no_sense():
    with pytest.raises(ValidationError, match="ions needs the free atoms"):
        FieldsSpec(potentials=("ions",), free_atoms=False)
    with pytest.raises(ValidationError, match="at most once"):
        FieldsSpec(potentials=("ions", "ions"))
    with pytest.raises(ValidationError, match="without both there is no density"):
        DensityOperatorSpec(operator="none", atoms="none")


def test_guesses_beyond_the_training_set_are_flagged():
    operator = trained()
    known, barium = one(rock_salt("Mg", 4.2)), one(rock_salt("Ba", 5.5))
    assert operator.flags(known) == [""]
    assert operator.flags(barium) == ["not trained on Ba"]
    crystal = rock_salt("Mg", 4.2)
    steps = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    places = (crystal.frac_coords + steps[:, None]).reshape(-1, 3) / [3, 1, 1]
    lattice = crystal.lattice * np.array([[3.0], [1.0], [1.0]])
    long = Crystal("long", lattice, crystal.symbols * 3, places)
    (flag,) = operator.flags(one(long))
    assert "a cell edge of 8.9 Å" in flag


def test_a_kept_map_predicts_what_it_did(tmp_path):
    operator = trained()
    io.write_arrays(tmp_path / "map.npz", operator.arrays())
    again = restore(operator.spec, io.read_arrays(tmp_path / "map.npz")[0])
    crystal = one(rock_salt("Ca", 4.85))
    first, second = (o.densities(crystal)[0][0] for o in (operator, again))
    assert (first.coefficients == second.coefficients).all()
    assert again.known == operator.known


def test_the_computed_density_is_not_looked_at():
    operator = trained()
    crystal = one(rock_salt("Ca", 4.85))
    blind = replace(crystal, density=np.where(crystal.hkl.any(axis=1), 0, crystal.density))
    first, second = (operator.densities(c)[0][0] for c in (crystal, blind))
    assert first.coefficients == pytest.approx(second.coefficients, abs=1e-6)


def test_a_resumed_training_ends_with_the_same_map(tmp_path):
    inputs = training_set()
    y = np.zeros((len(inputs), 3))
    spec = DensityOperatorSpec(fields=4, layers=1, optimiser=QUICK)
    whole = fit(spec, SPEC, inputs, y, Start((1,), targets=NAMES))
    store = CheckpointStore(tmp_path)
    kept = fit(spec, SPEC, inputs, y, Start((1,), store, targets=NAMES))
    resumed = fit(spec, SPEC, inputs, y, Start((1,), store, targets=NAMES))
    expected = whole.arrays()
    for other in (kept.arrays(), resumed.arrays()):
        assert other.keys() == expected.keys()
        assert all((other[name] == values).all() for name, values in expected.items())


def test_batches_hold_cells_of_one_grid_and_every_cell_once():
    inputs = training_set()
    made = FieldBatcher(
        inputs, inputs.potentials, inputs.density - inputs.atoms,
        g_cut=G_CUT, n_functions=4, device=torch.device("cpu"),
    )  # fmt: skip
    parts = list(made.batches(2, torch.Generator().manual_seed(1)))
    assert sorted(i for part in parts for i in part.tolist()) == list(range(len(inputs)))
    for part in parts:
        assert made.fields(part).values.shape[0] == len(part) <= 2
    (back,) = made.coefficients(torch.tensor([3]), made.answer(torch.tensor([3])), inputs)
    difference = (inputs.density - inputs.atoms)[inputs.rows(3)]
    assert back == pytest.approx(difference, abs=1e-5)


def test_tables_of_densities():
    inputs = training_set()
    spectra = {name: inputs.spectrum(i) for i, name in enumerate(inputs.ids)}
    table = truths(spectra)
    assert list(table) == ["material_id", *OF_DENSITIES]
    assert (table["density_error_percent"] == 0).all()
    assert table["electrons_per_atom"].tolist() == pytest.approx([4.0] * len(inputs), rel=1e-4)
    assert 0 < negative_percent(spectra[inputs.ids[0]]) < 1
    first = inputs.spectrum(0)
    twice = Spectrum(first.lattice, 2, first.hkl, 3 * first.coefficients)
    assert mean_spectrum([first, twice]).n_electrons == pytest.approx(16.0, rel=1e-4)


def test_figures_leave_out_what_every_map_has_right():
    assert worth_showing([*OF_DENSITIES, *OF_DENSITIES]) == [OF_DENSITIES[0], OF_DENSITIES[2]]
    assert worth_showing(["electrons_per_atom"]) == ["electrons_per_atom"]
