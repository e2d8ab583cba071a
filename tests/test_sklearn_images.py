"""Estimators see rows as images where their architecture starts with a convolution."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from ntkrs import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Relu, Sequential, mlp
from ntkrs.sklearn import NTKClassifier, NTKKernel, NTKRegressor

SHAPE = (4, 5, 2)
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((30, *SHAPE))
X, X_TEST = IMAGES.reshape(30, -1)[:20], IMAGES.reshape(30, -1)[20:]
Y = IMAGES.mean(axis=(1, 2, 3))[:20]
ARCH = Sequential(Conv(1, 3, sigma_w=2**0.5, sigma_b=0.1), Relu(), GlobalAvgPool(), Dense(1))


def test_the_regression_is_that_of_the_kernel_of_images():
    model = NTKRegressor(architecture=ARCH, input_shape=SHAPE, diag_reg=1e-3).fit(X, Y)
    kernel = ARCH.kernel()
    k = kernel(IMAGES[:20])
    mean = Y.mean()
    dual = np.linalg.solve(k + 1e-3 * np.trace(k) / 20 * np.eye(20), Y - mean)
    expected = kernel(IMAGES[20:], IMAGES[:20]) @ dual + mean
    assert np.allclose(model.predict(X_TEST), expected, rtol=1e-9)
    assert model.kernel_ == kernel
    assert model.depth_ == 1
    assert model.X_fit_.shape == (20, 40)
    assert model.n_features_in_ == 40


def test_pools_between_convolutions_are_seen_too():
    conv = Conv(1, 3, sigma_w=2**0.5, sigma_b=0.1)
    arch = Sequential(conv, Relu(), AvgPool(2), conv, Relu(), AvgPool((1, 2)), conv, Relu(), Flatten(), Dense(1))
    model = NTKRegressor(architecture=arch, input_shape=SHAPE, diag_reg=1e-3).fit(X, Y)
    k, kernel = arch.kernel()(IMAGES[:20]), arch.kernel()
    dual = np.linalg.solve(k + 1e-3 * np.trace(k) / 20 * np.eye(20), Y - Y.mean())
    assert np.allclose(model.predict(X_TEST), kernel(IMAGES[20:], IMAGES[:20]) @ dual + Y.mean(), rtol=1e-9)
    labels = np.where(np.median(Y) < Y, "high", "low")
    assert NTKClassifier(architecture=arch, input_shape=SHAPE).fit(X, labels).predict(X).tolist() == labels.tolist()


def test_intervals_and_leave_one_out_see_images_too():
    model = NTKRegressor(architecture=ARCH, input_shape=SHAPE, diag_reg=1e-3).fit(X, Y)
    left_out = [
        NTKRegressor(architecture=ARCH, input_shape=SHAPE, diag_reg=1e-3).fit(np.delete(X, i, 0), np.delete(Y, i))
        for i in range(3)
    ]
    scale = np.abs(Y).max()
    for i, one in enumerate(left_out):
        # the ridge of a refit is relative to the kernel of 19 rows
        assert abs(one.predict(X[i : i + 1])[0] - model.loo_prediction_[i]) < 1e-2 * scale
    ends = model.predict_interval(X_TEST, coverage=0.8)
    assert ends.shape == (10, 2)
    assert (ends[:, 0] <= ends[:, 1]).all()


def test_the_classifier_sees_images():
    labels = np.where(np.median(Y) < Y, "high", "low")
    model = NTKClassifier(architecture=ARCH, input_shape=list(SHAPE)).fit(X, labels)
    assert model.predict(X).tolist() == labels.tolist()
    assert model.predict_proba(X_TEST).shape == model.predict_set(X_TEST).shape == (10, 2)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.decision_function(X_TEST), model.decision_function(X_TEST))


def test_searches_clone_the_shape():
    model = NTKRegressor(architecture=ARCH, input_shape=SHAPE)
    assert clone(model).get_params()["input_shape"] == SHAPE
    assert cross_val_score(model, X, Y, cv=2).shape == (2,)


def test_weights_count_copies_of_images():
    weights = np.array([2.0, 0.0] + [1.0] * 18)
    weighted = NTKRegressor(architecture=ARCH, input_shape=SHAPE, diag_reg=1e-3).fit(X, Y, weights)
    copies = NTKRegressor(architecture=ARCH, input_shape=SHAPE, diag_reg=1e-3)
    copies.fit(np.vstack([X[:1], X[:1], X[2:]]), np.append(Y[:1], np.append(Y[:1], Y[2:])))
    assert np.allclose(weighted.predict(X_TEST), copies.predict(X_TEST), rtol=1e-9)
    assert len(weighted.loo_prediction_) == 20


def test_dense_architectures_ignore_the_shape():
    dense = mlp(1, 1, 1, "relu", 2**0.5)
    with_shape = NTKRegressor(architecture=dense, input_shape=SHAPE).fit(X, Y).predict(X_TEST)
    assert np.array_equal(with_shape, NTKRegressor(architecture=dense).fit(X, Y).predict(X_TEST))


REFUSED = {
    "no shape": ({}, ValueError, r"input_shape is None, but architecture starts with Conv.*\(H, W, C\) of the 40"),
    "two sides": ({"input_shape": (8, 5)}, ValueError, r"input_shape is \(8, 5\).*height, width and channels"),
    "a number": ({"input_shape": 40}, ValueError, "input_shape is 40.*height, width and channels are needed"),
    "another size": (
        {"input_shape": (4, 5, 3)},
        ValueError,
        r"input_shape is \(4, 5, 3\), of 60 numbers, .*40 features",
    ),
    "a fraction": ({"input_shape": (4, 5, 2.0)}, TypeError, "input_shape is 2.0, but an integer"),
    "no pixels": ({"input_shape": (0, 5, 2)}, ValueError, "input_shape is 0, but at least 1"),
    "learned factors": (
        {"input_shape": SHAPE, "feature_scales": "agop"},
        ValueError,
        "layer 0 is Conv.*feature_scales='agop' needs a network of Dense.*feature_scales=None",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_shapes_that_mean_nothing_are_refused(name):
    options, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        NTKRegressor(architecture=ARCH, **options).fit(X, Y)


def test_rows_of_another_length_are_refused():
    model = NTKRegressor(architecture=ARCH, input_shape=SHAPE).fit(X, Y)
    with pytest.raises(ValueError, match=r"38 features.*expecting 40"):
        model.predict(X_TEST[:, :38])


def test_windows_that_do_not_fit_are_refused():
    arch = Sequential(Conv(1, 5, padding="valid"), Relu(), Flatten(), Dense(1))
    with pytest.raises(ValueError, match=r"layer 0 is Conv.*4 rows and 5 columns: its window does not fit"):
        NTKRegressor(architecture=arch, input_shape=SHAPE).fit(X, Y)


def test_kernel_objects_are_dense():
    with pytest.raises(ValueError, match=r"layer 0 is Conv.*from_architecture needs .*input_shape=\(H, W, C\)"):
        NTKKernel.from_architecture(ARCH)
