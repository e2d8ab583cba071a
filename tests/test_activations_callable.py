"""Activations that are Python functions."""

import pickle
import threading
import warnings

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Dense, Relu, Sequential, mlp
from oracles.hostile import hostile_rows


def tanh_slope(x):
    return 1 / np.cosh(x) ** 2


def swish(x):
    return x / (1 + np.exp(-x))


def swish_slope(x):
    s = 1 / (1 + np.exp(-x))
    return s + x * s * (1 - s)


TANH = Activation(np.tanh, tanh_slope)


@pytest.mark.parametrize(("activation", "name"), [(TANH, "tanh"), (Activation(swish, swish_slope), "silu")])
def test_they_have_the_kernels_of_the_catalogue(activation, name):
    x = np.random.default_rng(0).standard_normal((40, 5))
    x[1] = x[0]
    ours = mlp(3, 1, 1, activation, 1.2, 0.1).kernel()(x, get=("nngp", "ntk"))
    theirs = mlp(3, 1, 1, name, 1.2, 0.1).kernel()(x, get=("nngp", "ntk"))
    for a, b in zip(ours, theirs, strict=True):
        # The same series, from values that differ in their last digits.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * b.max())
    assert np.array_equal(ours.ntk[0], ours.ntk[1])


def test_they_are_values():
    assert Activation(np.tanh, tanh_slope) == TANH != Activation(swish, swish_slope)
    assert pickle.loads(pickle.dumps(mlp(1, 2, 1, TANH))) == mlp(1, 2, 1, TANH)
    assert hash(TANH) == hash(Activation(np.tanh, tanh_slope))


def test_they_mix_with_others_and_bound_their_error():
    arch = Sequential(Dense(1, 1.1), TANH, Dense(1, 1.3), Relu(), Dense(1))
    kernel = arch.kernel()
    x = np.random.default_rng(1).standard_normal((5, 3))
    bound = kernel.error_bound(x)
    assert 0 < bound.ntk < 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the bound, which is not tested here
        diag = kernel.diag(x)
        assert np.array_equal(diag, np.diag(kernel(x)))
        assert np.array_equal(diag[0], kernel(x[:1])[0, 0])


def test_what_they_raise_ends_the_call():
    calm = threading.Event()
    calm.set()

    def moody(x):
        if not calm.is_set():
            raise ZeroDivisionError("not today")
        return np.tanh(x)

    kernel = mlp(1, 1, 1, Activation(moody, tanh_slope)).kernel()
    expected = kernel(np.eye(3))
    calm.clear()
    for call in (kernel, kernel.diag, kernel.error_bound, kernel.scalar):
        with pytest.raises(ZeroDivisionError, match="not today"):
            call(0.5 if call == kernel.scalar else np.eye(3))
    calm.set()
    assert np.array_equal(kernel(np.eye(3)), expected)


def test_what_they_return_is_checked():
    for bad, message in [
        (lambda x: x[:-1], r"fn returned shape \(37,\) and dtype float64 for an array of shape \(38,\)"),
        (lambda x: [str(v) for v in x], r"fn returned shape \(38,\) and dtype <U"),
        (lambda x: x + 1j, r"fn returned .* dtype complex128"),
        (lambda x: np.where(x > 2.9, np.nan, x), r"fn returned nan at 3\.0"),
    ]:
        with pytest.raises(ValueError, match=message):
            Activation(bad, np.ones_like)
    with pytest.raises(ValueError, match=r"derivative gives .* but fn has the slope .* pass the derivative of fn"):
        Activation(np.tanh, np.cosh)
    with pytest.raises(TypeError, match="derivative is 3, but a function of an array is needed"):
        Activation(np.tanh, 3)
    overflowing = Activation(lambda x: np.where(np.abs(x) < 4, x, np.inf), np.ones_like)
    with pytest.raises(ValueError, match="fn returned inf at"):
        mlp(1, 1, 1, overflowing).kernel()(np.eye(2))


def test_warnings_of_numpy_do_not_come_through():
    """e^(-x) overflows where the sigmoid is 0. Warnings are errors here. What is not finite is refused by name."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def slope(x):
        return np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2

    activation = Activation(sigmoid, slope)
    x = np.random.default_rng(0).standard_normal((4, 3)) * 1e4
    assert np.isfinite(mlp(1, 1, 1, activation).kernel()(x)).all()
    net = mlp(1, 2, 1, activation).init(in_features=3)
    for result in (net(x), net.ntk(x), net.train(x, np.ones((4, 1)), 0.1, steps=2)[1].loss):
        assert np.isfinite(result).all()
    for fn, value in ((np.log, "nan"), (lambda x: 1 / (x - x[0]), "inf")):
        with pytest.raises(ValueError, match=f"fn returned {value} at -3.0, but must be finite there"):
            Activation(fn)


def test_they_can_be_called_from_many_threads():
    kernel = mlp(2, 1, 1, TANH, 1.2).kernel()
    x = np.random.default_rng(2).standard_normal((30, 4))
    expected, results = kernel(x), []
    threads = [threading.Thread(target=lambda: results.append(kernel(x))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(result, expected) for result in results)


def test_they_have_no_default():
    with pytest.raises(ValueError, match="activation is 'activation', but Activation has no default fn"):
        mlp(1, 3, 1, "activation")


#: Functions with the activations that they are: smooth, with a kink at 0, with φ(0) ≠ 0, and fast.
VALUES_ALONE = {
    "tanh": (np.tanh, ntkrs.Tanh()),
    "softplus": (lambda x: np.logaddexp(0, x), ntkrs.Softplus()),
    "elu": (lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0))), ntkrs.Elu(0.7)),
    "relu": (lambda x: np.maximum(x, 0), ntkrs.Relu()),
    "cosine": (lambda x: np.cos(0.9 * x + 0.2), ntkrs.Cos(1.0, 0.9, 0.2)),
    "polynomial": (lambda x: x - x**2 / 2, ntkrs.Polynomial(0.0, 1.0, -0.5)),
}


@pytest.mark.parametrize("name", VALUES_ALONE)
class TestWithoutADerivative:
    """φ alone is enough at infinite width: the derivative follows from its values."""

    def test_kernels_are_those_of_the_activation(self, name):
        function, theirs = VALUES_ALONE[name]
        x = hostile_rows((14, 4), scale=3.0)
        for depth, sigma_b in ((1, 0.0), (3, 0.4)):
            ours, exact = (mlp(depth, 1, 1, phi, 1.2, sigma_b).kernel() for phi in (Activation(function), theirs))
            for get, tolerance in (("nngp", 1e-12), ("ntk", 1e-11)):
                expected = exact(x, get=get)
                scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
                assert (np.abs(ours(x, get=get) - expected) <= tolerance * scale + 1e-300).all()
            bound = ours.error_bound(x)
            assert min(bound) >= 3e-13
            assert max(bound) <= 1e-10  # the limit of warnings

    def test_duals_are_those_of_the_activation(self, name):
        function, theirs = VALUES_ALONE[name]
        q1, q2 = np.meshgrid([0.0, 1e-4, 0.3, 1.0, 5.0], [0.01, 1.0])
        for rho in (-1.0, 0.3, 1 - 1e-12, 1.0):
            ours, exact = (phi.dual(q1, q2, rho * np.sqrt(q1 * q2)) for phi in (Activation(function), theirs))
            scales = [theirs.dual(q1, q1, q1), theirs.dual(q2, q2, q2)]
            for index in (0, 1):
                scale = np.sqrt(scales[0][index] * scales[1][index])
                assert (np.abs(ours[index] - exact[index]) <= 3e-12 * np.maximum(scale, 1)).all()

    def test_gradients_are_those_of_the_activation(self, name):
        function, theirs = VALUES_ALONE[name]
        x = np.random.default_rng(0).standard_normal((6, 3))
        ours, exact = (mlp(1, 1, 1, phi, 1.2, 0.4).kernel().gradient(x) for phi in (Activation(function), theirs))
        np.testing.assert_allclose(ours.sigma_w, exact.sigma_w, rtol=0, atol=1e-9 * abs(exact.sigma_w).max())


def test_functions_that_vary_too_fast_are_known():
    for function in (lambda x: np.abs(x - 1.0), lambda x: np.sin(400 * x)):
        kernel = mlp(1, 1, 1, Activation(function)).kernel()
        with pytest.warns(RuntimeWarning, match="series are too short"):
            kernel(np.eye(2))
        assert min(kernel.error_bound(np.eye(2))) > 1e-6


def test_finite_networks_ask_for_the_derivative():
    arch = mlp(1, 4, 1, Activation(np.tanh))
    message = r"Activation\(.*derivative=None\) has no derivative, which finite networks need: pass Activation\(fn, der"
    with pytest.raises(ValueError, match=message):
        arch.init(3)
    with pytest.raises(ValueError, match=message):
        ntkrs.Network(arch, [np.ones((3, 4)), np.ones((4, 1))])
    with pytest.raises(ValueError, match=message):
        ntkrs.ensemble_ntk(arch, np.eye(3), seeds=2)
    with pytest.raises(ValueError, match="has no derivative, which finite networks need"):
        ntkrs._core.Network(([np.ones((3, 4)), np.ones((4, 1))], [None, None]), [(1.0,) * 4] * 2, [(np.tanh, False)])
    with pytest.raises(TypeError, match="fn is None, but a function of an array is needed"):
        Activation(None)
    with pytest.raises(ValueError, match=r"fn returned nan at"):
        Activation(lambda x: np.where(x > 2.9, np.nan, x))
    assert Activation(np.tanh) == Activation(np.tanh) != Activation(np.sin)
