"""Estimators, predictions and features prepare their training inputs once, and keep that out of pickles."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="estimators need the extra ntkrs[sklearn]")

from sklearn.base import clone

from ntkrs import Activation, Conv, Dense, Flatten, Relu, Sequential, features, predict, regression
from ntkrs.sklearn import NTKClassifier, NTKGaussianProcessRegressor, NTKRegressor, selection

RNG = np.random.default_rng(0)
X, NEW = RNG.standard_normal((60, 4)), RNG.standard_normal((7, 4))
Y = np.sin(X[:, 0])


def tanh(x):
    """Count the points: one call for each row of each layer that is prepared, and those that describe a kernel."""
    tanh.points += len(x)
    return np.tanh(x)


tanh.points = 0


def slope(x):
    return 1 - np.tanh(x) ** 2


ARCHITECTURE = Sequential(Dense(1), Activation(tanh, slope, label="counted"), Dense(1))


def points(call):
    """Return the number of points at which a call evaluates φ."""
    before = tanh.points
    call()
    return tanh.points - before


#: The points of the kernel of new inputs alone.
OWN = points(lambda: ARCHITECTURE.kernel().diag(NEW)) - points(ARCHITECTURE.kernel)


def beyond_memory(monkeypatch):
    """Leave memory for a stored kernel, but not for its eigendecomposition."""
    monkeypatch.setattr(selection.memory, "available", lambda: 16 * len(X) ** 2)
    monkeypatch.setattr(selection.memory, "_SMALL", 0)


def predictors(monkeypatch):
    """Yield functions of new inputs that keep training inputs, by name."""
    options = {"architecture": ARCHITECTURE, "diag_reg": 1e-3}
    kernel = ARCHITECTURE.kernel()
    yield "regressor", NTKRegressor(**options).fit(X, Y).predict
    yield "intervals", NTKRegressor(**options).fit(X, Y).predict_interval
    yield "classifier", NTKClassifier(**options).fit(X, X[:, 0] > 0).predict_proba
    inference = predict.gp_inference(kernel, X, Y)
    yield "gp_inference", lambda x: inference(x, compute_cov=False).mean
    ensemble = predict.gradient_descent_mse_ensemble(kernel, X, Y)
    yield "ensemble", lambda x: ensemble(1.0, x, compute_cov=False).mean
    yield "features", features.nystrom(kernel, X, rank=30).transform
    beyond_memory(monkeypatch)
    yield "solved", NTKRegressor(**options).fit(X, Y).predict


def test_training_inputs_are_prepared_once(monkeypatch):
    for name, predictor in predictors(monkeypatch):
        first = predictor(NEW)
        assert points(lambda predictor=predictor: predictor(NEW)) == OWN, name
        assert np.array_equal(predictor(NEW), first), name


def estimators():
    images = Sequential(Conv(1, (2, 2)), Relu(), Flatten(), Dense(1))
    fixed = {"sigma_w_bounds": "fixed", "sigma_b_bounds": "fixed", "noise_bounds": "fixed"}
    return [
        NTKRegressor(depth=2, diag_reg=1e-2),
        NTKRegressor(feature_scales="agop", depth=1, diag_reg=1e-2),
        NTKRegressor(architecture=images, input_shape=(2, 2, 1), diag_reg=1e-2),
        NTKClassifier(depth=1, diag_reg=1e-2),
        NTKGaussianProcessRegressor(activation="erf", **fixed),
    ]


@pytest.mark.parametrize(
    ("model", "solved"),
    [(NTKGaussianProcessRegressor(depth=1), False), *product(estimators(), [False, True])],
    ids=repr,
)
def test_copies_and_pickles_predict_the_same(model, solved, monkeypatch):
    if solved:
        beyond_memory(monkeypatch)
    target = Y > 0 if isinstance(model, NTKClassifier) else Y
    before = model.get_params()
    expected = model.fit(X, target).predict(NEW)
    assert model.get_params() == before
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert np.array_equal(other.predict(NEW), expected)
        assert np.array_equal(other.predict(NEW), expected)
    assert set(vars(clone(model))) == set(before)
    with ThreadPoolExecutor(4) as executor:
        other = pickle.loads(pickle.dumps(model))  # whose inputs are prepared by the first of them
        assert all(np.array_equal(found, expected) for found in executor.map(other.predict, [NEW] * 8))


def test_pickles_hold_the_inputs_once():
    many = RNG.standard_normal((40, 5000))
    model = NTKRegressor(depth=1, diag_reg=1e-2).fit(many, many[:, 0])
    assert len(pickle.dumps(model)) < 1.1 * many.nbytes
    inference = predict.gp_inference(model.kernel_, many, many[:, 0])
    inference(many[:2])
    assert len(pickle.dumps(inference)) < 1.3 * many.nbytes  # with K and its factor, 40 × 40 each


def test_training_inputs_cannot_change():
    model = NTKRegressor(depth=1).fit(X, Y)
    with pytest.raises(ValueError, match="read-only"):
        model.X_fit_[0] = 1


def test_a_wider_dtype_of_new_inputs_is_that_of_their_kernel():
    kernel, narrow = ARCHITECTURE.kernel(), X.astype(np.float32)
    inference = predict.gp_inference(kernel, narrow, Y, diag_reg=1e-2)
    expected = kernel(NEW, narrow) @ np.linalg.solve(
        kernel(narrow).astype(float) + 1e-2 * np.diag(np.full(60, kernel.diag(narrow).astype(float).mean())), Y
    )
    found = inference(NEW, compute_cov=False).mean
    # The system is solved in float64, with the entries of a float32 kernel.
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_blocks_of_agop_share_the_inputs(monkeypatch):
    kernel, alpha = ARCHITECTURE.kernel(), np.ones(60)
    whole = points(lambda: regression.agop(kernel, X, alpha))
    monkeypatch.setattr(sys.modules["ntkrs.regression.agop"], "_BLOCK", 24)  # six rows of four features
    # Ten blocks prepare rows of their own. Without sharing, they would take ten times as many points as one.
    assert points(lambda: regression.agop(kernel, X, alpha)) < 6 * whole
