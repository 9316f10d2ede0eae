"""Kernels against their formulas and scikit-learn's, and the choice of ridge and width."""

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel

from rhoflow.descriptors.base import VectorSet
from rhoflow.models.krr import fit as krr
from rhoflow.models.krr.fit import FittedKRR
from rhoflow.models.krr.spec import KRRSpec

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.stack([np.sin(2 * X).sum(axis=1), 0.3 * X[:, 0] + RNG.normal(scale=0.5, size=40)], axis=1)


def vectors(x):
    return VectorSet(tuple(f"m{i}" for i in range(len(x))), x)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("gaussian", lambda w: rbf_kernel(X[:5], X, gamma=0.5 / w**2)),
        ("laplacian", lambda w: laplacian_kernel(X[:5], X, gamma=1 / w)),
        ("matern", lambda w: Matern(length_scale=w, nu=1.5)(X[:5], X)),
        ("linear", lambda w: X[:5] @ X.T),
    ],
)
def test_kernels_are_those_of_scikit_learn(name, known):
    np.testing.assert_allclose(
        krr.kernel(KRRSpec(kernel=name), X[:5], X, 0.7), known(0.7), rtol=1e-10
    )


@pytest.mark.parametrize("name", ["linear", "gaussian", "matern", "laplacian"])
def test_the_choice_has_the_smallest_leave_one_out_error(name, monkeypatch):
    """Against fits that really leave one structure out, on a smaller grid of candidates."""
    monkeypatch.setattr(krr, "RIDGES", 10.0 ** np.arange(-6, 3, 2))
    monkeypatch.setattr(krr, "WIDTHS", (0.5, 2.0))
    spec = KRRSpec(kernel=name, tuned=True)
    z = (Y - Y.mean(axis=0)) / Y.std(axis=0)
    x = X - X.mean(axis=0) if name == "linear" else X
    choices = krr.tune(spec, x, z, 1.0)
    widths = (1.0,) if name == "linear" else (0.5, 2.0)
    errors = {}
    for width in widths:
        matrix = krr.kernel(spec, x, x, width)
        level = np.linalg.eigvalsh(matrix).max() / len(X)
        for ridge in krr.RIDGES * level:
            left = np.empty_like(z)
            for i in range(len(X)):
                kept = np.delete(np.arange(len(X)), i)
                if name == "linear":  # with an intercept of its own
                    left[i] = Ridge(alpha=ridge).fit(x[kept], z[kept]).predict(x[i : i + 1])[0]
                    continue
                block = matrix[np.ix_(kept, kept)] + ridge * np.eye(len(kept))
                left[i] = matrix[i, kept] @ np.linalg.solve(block, z[kept])
            errors[(ridge, width)] = np.abs(left - z).mean(axis=0)
    for target, choice in enumerate(choices):
        best = min(error[target] for error in errors.values())
        chosen = min(
            errors, key=lambda key: abs(np.log(key[0] / choice.ridge)) + abs(key[1] - choice.width)
        )
        assert errors[chosen][target] == pytest.approx(best, rel=1e-6)


def test_more_numbers_than_structures_do_not_tell_a_structure_from_the_others():
    """What is left of noise when every structure is left out: nothing that a little ridge learns.

    Centred with the structure that is left out, the others would give its target away.
    """
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(30, 200)), rng.normal(size=(30, 1))
    fitted = FittedKRR(KRRSpec(kernel="linear", tuned=True), vectors(x), y)
    level = np.linalg.eigvalsh(fitted.x @ fitted.x.T).max() / len(x)
    assert fitted.choices[0].ridge > level
    new = rng.normal(size=(200, 200))
    predicted = fitted.predict(vectors(new))[0, :, 0]
    assert predicted == pytest.approx(np.full(200, y.mean()), abs=0.5 * y.std())


def test_each_target_has_ridge_and_width_of_its_own():
    """A smooth function wants little ridge, noise wants much."""
    fitted = FittedKRR(KRRSpec(kernel="gaussian", tuned=True), vectors(X), Y)
    smooth, noisy = fitted.choices
    assert noisy.ridge > 10 * smooth.ridge
    alone = FittedKRR(KRRSpec(kernel="gaussian", tuned=True), vectors(X), Y[:, :1])
    np.testing.assert_allclose(
        fitted.predict(vectors(X))[0, :, 0], alone.predict(vectors(X))[0, :, 0], rtol=1e-8
    )


def test_a_tuned_kernel_beats_a_bad_one_on_new_structures():
    new = RNG.normal(size=(60, 3))
    truth = np.sin(2 * new).sum(axis=1)
    errors = [
        np.abs(FittedKRR(spec, vectors(X), Y[:, :1]).predict(vectors(new))[0, :, 0] - truth).mean()
        for spec in (KRRSpec(kernel="gaussian", tuned=True), KRRSpec(kernel="gaussian", ridge=10))
    ]
    assert errors[0] < 0.8 * errors[1]


def test_equal_structures_do_no_harm():
    x = np.ones((5, 2))
    for tuned in (False, True):
        fitted = FittedKRR(KRRSpec(kernel="matern", tuned=tuned), vectors(x), np.ones((5, 1)))
        np.testing.assert_allclose(fitted.predict(vectors(x)), 1.0)


def test_a_linear_kernel_is_ridge_regression_with_an_intercept():
    rng = np.random.default_rng(4)
    x, y = rng.normal(3, 1, (30, 5)), rng.normal(20, 4, (30, 2))
    new = rng.normal(3, 1, (7, 5))
    fitted = FittedKRR(KRRSpec(kernel="linear", ridge=0.7), vectors(x), y)
    # The ridge counts on standardised targets, which changes nothing for a linear model.
    expected = Ridge(alpha=0.7).fit(x, y).predict(new)
    np.testing.assert_allclose(fitted.predict(vectors(new))[0], expected, rtol=1e-10)


def test_sums_of_constants_of_elements_are_learned_exactly():
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 9, (40, 3)).astype(float)
    y = counts @ np.array([[-3.0], [5.0], [11.0]])
    fitted = FittedKRR(KRRSpec(kernel="linear", tuned=True), vectors(counts[:20]), y[:20])
    np.testing.assert_allclose(fitted.predict(vectors(counts[20:]))[0], y[20:], atol=1e-6)
