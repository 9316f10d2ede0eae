"""Wells and the models that read them: settings, refusals, and parts against plain formulas."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from rhoflow import wells
from rhoflow.errors import ConfigError, DataError
from rhoflow.evaluation.protocol import LearningCurveSpec, learning_curve
from rhoflow.evaluation.splits import draw
from rhoflow.models.base import Start
from rhoflow.models.hk1d import basis as bases
from rhoflow.models.hk1d import fit as hk_map
from rhoflow.models.hk1d import kernels, orbital_free
from rhoflow.models.hk1d.functional import potential_energy
from rhoflow.models.hk1d.spec import HKMapSpec, OrbitalFreeSpec
from rhoflow.models.krr.fit import kernel
from rhoflow.models.krr.spec import KRRSpec
from rhoflow.wells import KCAL_PER_MOL_PER_HARTREE as KCAL
from rhoflow.wells import WellSet, WellsSpec

SOLVED = wells.solve(WellsSpec(size=60, points=300))
TRAIN, TEST = SOLVED.take(range(40)), SOLVED.take(range(40, 60))
FITS = {
    "hk_map": lambda inputs, y: hk_map.fit(HKMapSpec(), inputs, y, Start()),
    "orbital_free": lambda inputs, y: orbital_free.fit(OrbitalFreeSpec(), inputs, y, Start()),
}


def kcal(inputs: WellSet) -> np.ndarray:
    return KCAL * inputs.energies[:, None]


def changed(inputs: WellSet, **arrays: np.ndarray) -> WellSet:
    names = ("potentials", "densities", "kinetic", "energies")
    return WellSet(inputs.ids, *(arrays.get(n, getattr(inputs, n)) for n in names))


@pytest.fixture(scope="module", params=list(FITS))
def fitted(request):
    return FITS[request.param](TRAIN, kcal(TRAIN))


def test_more_potentials_go_on_after_fewer():
    few = wells.solve(WellsSpec(size=7, points=300))
    assert few.ids == SOLVED.ids[:7]
    np.testing.assert_array_equal(few.potentials, SOLVED.potentials[:7])
    np.testing.assert_allclose(few.energies, SOLVED.energies[:7], rtol=1e-12)
    other = wells.random_potentials(WellsSpec(size=7, points=300, seed=1))
    assert not np.isclose(other, few.potentials).all(axis=1).any()


def test_chunks_do_not_show(monkeypatch):
    monkeypatch.setattr(wells, "CHUNK", 13)
    solved = wells.solve(WellsSpec(size=60, points=300))
    np.testing.assert_allclose(solved.densities, SOLVED.densities, atol=1e-12)
    np.testing.assert_allclose(solved.energies, SOLVED.energies, rtol=1e-12)


def test_sets_can_be_taken_and_told_apart():
    some = SOLVED.take(np.array([5, 2]))
    assert len(some) == 2
    assert some.ids == ("wells-000005", "wells-000002")
    np.testing.assert_array_equal(some.densities, SOLVED.densities[[5, 2]])
    np.testing.assert_array_equal(some.kinetic, SOLVED.kinetic[[5, 2]])
    assert some.fingerprint() == SOLVED.take([5, 2]).fingerprint()
    assert some.fingerprint() != SOLVED.take([2, 5]).fingerprint()
    assert changed(some, energies=some.energies + 1e-9).fingerprint() != some.fingerprint()
    assert some.spacing == pytest.approx(1 / 299)


def test_wells_lie_in_their_ranges():
    spec = WellsSpec(
        size=200, wells=1, depth_hartree=(2, 3), centre_bohr=(0.5, 0.6), width_bohr=(0.05, 0.06)
    )
    potentials, x = wells.random_potentials(spec), wells.grid(spec.points)
    deepest = potentials.min(axis=1)
    assert -3 <= deepest.min() < -2.9
    assert -2.1 < deepest.max() <= -1.99
    centres = x[potentials.argmin(axis=1)]
    assert 0.499 < centres.min() < 0.51
    assert 0.59 < centres.max() < 0.601
    width = -potentials.sum(axis=1) / (spec.points - 1) / -deepest / np.sqrt(2 * np.pi)
    assert 0.0499 < width.min() < 0.051
    assert 0.059 < width.max() < 0.0601


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("width_bohr", (0.001, 0.1), "ascending numbers within 0.02 and 1"),
        ("centre_bohr", (0.6, 0.4), "ascending numbers within 0 and 1"),
        ("depth_hartree", (-1, 10), "ascending numbers within 0.001 and 100"),
        ("points", 100, "256"),
        ("particles", 0, "1"),
        ("size", 0, "1"),
    ],
)
def test_boxes_that_cannot_be_are_refused(key, value, message):
    with pytest.raises(ValidationError, match=message):
        WellsSpec.model_validate({key: value})


def test_settings_that_contradict_are_refused():
    with pytest.raises(ValidationError, match="a grid has one a point"):
        HKMapSpec(basis="grid", functions=10)
    with pytest.raises(ValidationError, match="no more directions than neighbours"):
        OrbitalFreeSpec(neighbours=3, directions=4)


def test_predictions_read_potentials_alone(fitted):
    nothing = np.full_like(TEST.densities, np.nan)
    blind = changed(
        TEST, densities=nothing, kinetic=nothing[:, 0], energies=np.full(len(TEST), 1e9)
    )
    np.testing.assert_array_equal(fitted.predict(blind), fitted.predict(TEST))
    np.testing.assert_array_equal(fitted.densities(blind), fitted.densities(TEST))


def test_shapes_and_sense(fitted):
    predicted = fitted.predict(TEST)
    assert predicted.shape == (1, 20, 1)
    errors = np.abs(predicted[0] - kcal(TEST))
    assert errors.mean() < 0.05 * np.abs(kcal(TEST) - kcal(TRAIN).mean()).mean()
    densities = fitted.densities(TEST)
    assert densities.shape == TEST.densities.shape
    np.testing.assert_allclose(densities.sum(axis=1) * TEST.spacing, 1, atol=1e-8)
    spread = np.abs(TEST.densities - TRAIN.densities.mean(axis=0)).sum()
    assert np.abs(densities - TEST.densities).sum() < 0.2 * spread


def test_equal_fits_are_equal(fitted):
    kind = "hk_map" if isinstance(fitted, hk_map.FittedHKMap) else "orbital_free"
    again = FITS[kind](TRAIN, kcal(TRAIN))
    np.testing.assert_array_equal(again.predict(TEST), fitted.predict(TEST))


@pytest.mark.parametrize("kind", list(FITS))
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "potential of 'wells-000003' is not finite"),
        (np.inf, "potential of 'wells-000003' is not finite"),
        (-4.5, "'wells-000003' is -4.5 Ha everywhere"),
    ],
)
def test_bad_potentials_are_refused_when_fitting(kind, value, message):
    potentials = TRAIN.potentials.copy()
    potentials[3] = value
    with pytest.raises(DataError, match=message):
        FITS[kind](changed(TRAIN, potentials=potentials), kcal(TRAIN))


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_bad_potentials_are_refused_when_predicting(fitted, value):
    potentials = TEST.potentials.copy()
    potentials[7, :] = value
    bad = changed(TEST, potentials=potentials)
    for ask in (fitted.predict, fitted.densities):
        with pytest.raises(DataError, match="the potential of 'wells-000047' is"):
            ask(bad)


@pytest.mark.parametrize("kind", list(FITS))
def test_bad_answers_are_refused(kind):
    densities, y = TRAIN.densities.copy(), kcal(TRAIN)
    densities[1, 5] = np.nan
    y[2] = np.inf
    with pytest.raises(DataError, match="density of 'wells-000001' is not finite"):
        FITS[kind](changed(TRAIN, densities=densities), kcal(TRAIN))
    with pytest.raises(DataError, match="energy of 'wells-000002' is not finite"):
        FITS[kind](TRAIN, y)
    with pytest.raises(ConfigError, match="learns one target, the energy, not 2"):
        FITS[kind](TRAIN, np.tile(y, 2))
    for few in (TRAIN.take([4]), TRAIN.take([4, 4, 4])):
        with pytest.raises(DataError, match="training potentials, all alike"):
            FITS[kind](few, kcal(few))


def test_other_grids_are_refused(fitted):
    other = wells.solve(WellsSpec(size=2, points=400))
    with pytest.raises(DataError, match="400 grid points, but the model was trained on 300"):
        fitted.predict(other)


@pytest.mark.parametrize("name", ["grid", "fourier", "cosine", "principal"])
def test_bases_are_orthonormal_for_densities(name):
    """Twice from density to coefficients is once, and what is left is orthogonal to the basis."""
    basis = bases.make_basis(HKMapSpec(basis=name), TRAIN.densities)
    coefficients = basis.coefficients(TEST.densities)
    projected = basis.densities(coefficients)
    error = np.abs(projected - TEST.densities).max()
    assert error < {"grid": 1e-12, "fourier": 1e-4, "cosine": 1e-9, "principal": 0.1}[name]
    if name in {"grid", "principal"}:
        identity = basis.functions @ basis.functions.T
        np.testing.assert_allclose(identity, np.eye(len(identity)), atol=1e-10)
    np.testing.assert_allclose(basis.coefficients(projected), coefficients, atol=1e-5)


def test_sizes_of_bases():
    assert len(bases.make_basis(HKMapSpec(), TRAIN.densities).functions) == 25
    assert len(bases.make_basis(HKMapSpec(), TRAIN.take(range(9)).densities).functions) == 8
    assert len(bases.make_basis(HKMapSpec(basis="fourier"), TRAIN.densities).functions) == 200
    spec = HKMapSpec(basis="cosine", functions=300)
    with pytest.raises(ConfigError, match="300 functions on 300 grid points"):
        bases.make_basis(spec, TRAIN.densities)


@pytest.mark.parametrize("coefficients", ["together", "each"])
@pytest.mark.parametrize("energy", ["kinetic", "pauli", "whole"])
@pytest.mark.parametrize("name", ["grid", "fourier", "cosine", "principal"])
def test_every_variant_learns(name, energy, coefficients):
    spec = HKMapSpec(basis=name, energy=energy, coefficients=coefficients)
    fitted = hk_map.fit(spec, TRAIN, kcal(TRAIN), Start())
    errors = np.abs(fitted.predict(TEST)[0] - kcal(TEST)).mean()
    spread = np.abs(kcal(TEST) - kcal(TRAIN).mean()).mean()
    assert errors < (0.2 if energy == "whole" else 0.01) * spread


def test_one_choice_makes_all_complete_bases_alike():
    spec = HKMapSpec(basis="grid")
    grid, cosine, principal = (
        hk_map.fit(
            spec.model_copy(update={"basis": name, "functions": functions}),
            TRAIN,
            kcal(TRAIN),
            Start(),
        ).densities(TEST)
        for name, functions in (("grid", None), ("cosine", 250), ("principal", 39))
    )
    np.testing.assert_allclose(cosine, grid, atol=1e-6)
    np.testing.assert_allclose(principal, grid, atol=1e-6)


def test_the_choice_has_the_smallest_leave_one_out_error(monkeypatch):
    """Against fits that really leave one out."""
    monkeypatch.setattr(kernels, "RIDGES", 10.0 ** np.arange(-6, 1, 2))
    monkeypatch.setattr(kernels, "WIDTHS", (0.5, 2.0))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(25, 3))
    z = np.stack([np.sin(2 * x).sum(axis=1), rng.normal(size=25)], axis=1)
    z -= z.mean(axis=0)
    apart = np.linalg.norm(x[:, None] - x, axis=2)
    median = np.median(apart[np.triu_indices(25, 1)])
    errors = {}
    for width in (0.5 * median, 2.0 * median):
        matrix = kernel(KRRSpec(kernel="gaussian"), x, x, width)
        for ridge in kernels.RIDGES * np.linalg.eigvalsh(matrix).max():
            left = np.empty_like(z)
            for i in range(25):
                kept = np.delete(np.arange(25), i)
                block = matrix[np.ix_(kept, kept)] + ridge * np.eye(24)
                left[i] = matrix[i, kept] @ np.linalg.solve(block, z[kept])
            errors[(ridge, width)] = np.linalg.norm(left - z, axis=1).mean()
    chosen = kernels.choose(x, z)
    ridge, width = min(errors, key=errors.__getitem__)
    assert chosen.ridge == pytest.approx(ridge)
    assert chosen.width == pytest.approx(width)


def test_equal_vectors_do_no_harm():
    x, y = np.ones((5, 2)), np.arange(5.0)[:, None]
    fitted = kernels.fit_together(x, y)
    np.testing.assert_allclose(fitted.predict(kernels.vectors(x)), 2.0, atol=1e-6)


def test_the_gradient_is_that_of_the_energy():
    """Along all directions at once, against differences."""
    descent = orbital_free.FittedOrbitalFree(
        OrbitalFreeSpec(neighbours=40), TRAIN, kcal(TRAIN)[:, 0], 40
    )
    constant, slope = descent._potential(TEST.potentials[:1])
    at = descent.known[:1] + 0.1 * (descent.known[1:2] - descent.known[:1])
    gradient = descent._gradient(at, slope)
    step = 0.02  # a hundredth of the reach: shorter ones end in rounding
    for i in range(6):
        ends = np.repeat(at, 2, axis=0)
        ends[:, i] += [step, -step]
        energies = descent._kinetic(ends) + constant + ends @ slope[0]
        difference = (energies[0] - energies[1]) / (2 * step)
        assert gradient[0, i] == pytest.approx(difference, rel=1e-4, abs=0.01)
    whole = potential_energy(descent.basis.densities(at), TEST.potentials[:1])
    assert whole[0] == pytest.approx(float((constant + at @ slope[0])[0]), rel=1e-10)


def test_descents_lead_down_and_stay_near_what_was_learned():
    descent = FITS["orbital_free"](TRAIN, kcal(TRAIN))
    constant, slope = descent._potential(TEST.potentials)
    _, first = descent._start(constant, slope)
    coefficients, last = descent._descend(TEST)
    assert (last <= first).all()
    assert (last < first - 1e-3).any()
    apart = np.linalg.norm(coefficients[:, None] - descent.known, axis=2).min(axis=1)
    assert (apart <= descent.reach * (1 + 1e-12)).all()


def test_a_descent_that_does_not_end_says_so(caplog):
    spec = OrbitalFreeSpec(max_steps=2, directions=2)
    orbital_free.fit(spec, TRAIN, kcal(TRAIN), Start()).predict(TEST)
    assert "of 20 descents still moved after 2 steps" in caplog.text


@pytest.mark.parametrize(("n", "least", "most"), [(9, 1, 1), (40, 1, 6)])
def test_directions_are_chosen_in_the_training_set(n, least, most):
    few = SOLVED.take(range(n))
    chosen = orbital_free.choose_directions(OrbitalFreeSpec(), few, kcal(few)[:, 0])
    assert least <= chosen <= most
    narrow = OrbitalFreeSpec(neighbours=2)
    assert orbital_free.choose_directions(narrow, few, kcal(few)[:, 0]) <= 2


def test_a_learning_curve_falls():
    spec = LearningCurveSpec(train_sizes=(5, 40), test_size=15, redraws=2, seeds=1)
    y = pd.DataFrame({"energy": kcal(SOLVED)[:, 0]}, index=list(SOLVED.ids))
    table = learning_curve(
        lambda inputs, t, seeds: hk_map.fit(HKMapSpec(), inputs, t, Start(seeds)),
        SOLVED,
        y,
        draw(SOLVED.ids, spec, study="wells"),
        spec,
        redraws=range(2),
    )
    errors = (table.y_pred - table.y_true).abs().groupby(table.train_size).mean()
    assert errors[40] < 0.2 * errors[5]
