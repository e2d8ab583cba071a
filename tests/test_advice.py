"""Errors where newcomers err: each says what came, what was expected, and what to do."""

import re

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Dense, Relu, Sequential, Sigmoid, Silu, mlp
from ntkrs._checks import advice
from ntkrs.activations import by_name
from ntkrs.diagnostics import spectrum
from ntkrs.predict import gradient_descent_mse

X = np.arange(6.0).reshape(3, 2)
ARCH = mlp(1, 8, 1)
KERNEL = ARCH.kernel()
NET = ARCH.init(2)


class LazyFrame:
    """A table that is computed on request."""

    def collect(self):
        return X


class Table:
    """A table with a column of numbers and a column of categories."""

    def __array__(self, dtype=None, copy=None):
        return np.array([[1.0, "red"], [2.0, "blue"]], dtype=object)


ARRAYS = {
    "complex": (
        X + 1j,
        "X holds complex numbers (dtype complex128), but real numbers are needed. Pass X.real. Or pass both",
    ),
    "text": (np.array([["1.5", "2"]]), "X holds text (dtype <U3), but real numbers are needed. Pass X.astype(float)"),
    "bytes": (np.array([[b"1.5"]]), "X holds text (dtype |S3)"),
    "dates": (np.array([["2020-01-01"]], "M8[D]"), "X holds dates (dtype datetime64[D])"),
    "durations": (np.array([[3]], "m8[s]"), "X holds durations (dtype timedelta64[s]), but real numbers are needed"),
    "fields": (np.zeros((2, 1), [("a", float)]), "X holds named fields"),
    "categories": (Table(), "The first entry that is no number is 'red' at (0, 1). Encode categories"),
    "numbers as objects": (X.astype(object), "All entries are numbers: convert it with astype(float)."),
    "None": (np.array([[1.0, None]], dtype=object), "The first entry that is no number is None at (0, 1)"),
    "lazy": (LazyFrame(), "but an array is needed. Pass X.collect()."),
    "string": ("ntk", "X is 'ntk', but an array is needed. Options are passed by name, such as get='ntk'."),
    "kernel": (KERNEL, "but an array is needed. Call it, and pass the array that it returns, such as kernel(X)."),
    "nothing": (None, "X is None, but an array is needed."),
    "long double": (np.ones((2, 2), np.longdouble), "Convert it first: numpy.asarray(X, dtype=numpy.float64)."),
}


@pytest.mark.parametrize(("values", "message"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_of_anything_but_real_numbers(values, message):
    if isinstance(values, np.ndarray) and values.dtype == np.longdouble and values.dtype.itemsize <= 8:
        pytest.skip("long double is float64 on this machine")
    with pytest.raises(TypeError, match=re.escape(message)):
        KERNEL(values)


OTHERS = {
    "vectors": (
        lambda: KERNEL.operator(X) @ (1j * np.ones(3)),
        "V holds complex numbers (dtype complex128)",
        "V.real.",
    ),
    "times": (
        lambda: gradient_descent_mse(np.eye(2), [1.0, 2.0])([0.0, None]),
        "The first entry that is no number is None at (1,)",
        "The end of training is numpy.inf in an array.",
    ),
    "text": (
        lambda: ntkrs.solve(np.array([["1"]]), [1.0]),
        "K holds text",
        "K.astype(float) if the text spells numbers.",
    ),
    "form of a kernel": (
        lambda: NET.ntk(X, outputs=None),
        "outputs is None",
        "'full', 'trace', 'mean', 'diagonal', 'sum'",
    ),
    "index of an output": (lambda: NET.diag(X, outputs=1.0), "outputs is 1.0", "or an integer"),
}


@pytest.mark.parametrize(("call", "came", "remedy"), OTHERS.values(), ids=OTHERS)
def test_arguments_without_samples_are_not_told_of_features_and_categories(call, came, remedy):
    with pytest.raises(TypeError, match=re.escape(came)) as found:
        call()
    assert remedy in str(found.value)
    assert not re.search("features|categories", str(found.value))


def test_an_infinite_kernel_tells_that_its_inputs_are_too_large():
    big, y = 1e200 * (1 + X), [0.0, 1.0, 2.0]
    told = "k_train_train holds inf at .*, but every entry must be finite. A kernel is infinite where inputs are too"
    for call in (
        lambda: gradient_descent_mse(KERNEL(big), y),
        lambda: ntkrs.regression.loo(KERNEL(big), y, 0.1),
    ):
        with pytest.raises(ValueError, match=told):
            call()
    with pytest.raises(ValueError, match=r"K holds inf at \(0, 0\).*: scale them or sigma_w down"):
        ntkrs.solve(KERNEL(big), y)
    with pytest.raises(ValueError, match=r"y_train holds inf at \(0,\), but every entry must be finite\.$"):
        gradient_descent_mse(KERNEL(X), np.full(3, np.inf))


CALLS = {
    "spectrum of a kernel": (lambda: spectrum(KERNEL), TypeError, "Call it, and pass the array that it returns"),
    "dynamics of a kernel": (lambda: gradient_descent_mse(KERNEL, X[:, 0]), TypeError, "Call it, and pass the array"),
    "positional get": (
        lambda: KERNEL(X, X, "nngp"),
        TypeError,
        "2 arguments by position, but got 3. Pass options by name: get='nngp'.",
    ),
    "get as Z": (lambda: KERNEL(X, "nngp"), TypeError, "Z is 'nngp', but an array is needed. Options are passed by"),
    "positional outputs": (lambda: NET.ntk(X, None, "trace"), TypeError, "Pass options by name: outputs='trace'."),
    "W_std": (lambda: mlp(1, 8, 1, W_std=1.5), TypeError, "mlp() has no argument W_std. Here it is called sigma_w."),
    "b_std": (lambda: Dense(8, b_std=0.1), TypeError, "Dense() has no argument b_std. Here it is called sigma_b."),
    "list of layers": (lambda: Sequential([Dense(8)]), TypeError, "Pass the layers one by one: Sequential(*layers)."),
    "name as a layer": (lambda: Sequential(Dense(8), "relu", Dense(1)), TypeError, "Pass an activation object"),
    "class as a layer": (lambda: Sequential(Dense(8), Relu, Dense(1)), TypeError, "forget the parentheses?"),
    "activation at the end": (lambda: Sequential(Dense(8), Relu()), ValueError, "add Dense(1, trainable=False)"),
    "architecture of inputs": (lambda: ARCH(X), TypeError, "Call its kernel, arch.kernel()(X), or a network"),
    "kernel of a network": (
        lambda: NET.kernel,
        AttributeError,
        "its empirical NTK is net.ntk(X), and the kernel at infinite width is net.arch.kernel()",
    ),
    "no such attribute": (lambda: NET.colour, AttributeError, "a Network has no attribute 'colour'"),
    "inputs for their number": (
        lambda: ARCH.init(X),
        TypeError,
        "in_features is an array of shape (3, 2) and dtype float64, but their number is needed: X.shape[1]",
    ),
    "similar name": (lambda: mlp(1, 8, 1, "sigmiod"), ValueError, "Did you mean 'sigmoid'?"),
    "no similar name": (lambda: mlp(1, 8, 1, "maxout"), ValueError, "must be one of 'identity'"),
    "scalar function": (
        lambda: Activation(lambda x: x if x > 0 else 0.0, np.ones_like),
        TypeError,
        "fn takes a number, but must take an array. Write its cases with numpy.where, or pass numpy.vectorize(fn).",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), CALLS.values(), ids=CALLS)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_other_errors_of_a_function_come_through():
    with pytest.raises(ValueError, match=r"^mine$"):
        Activation(raises, np.ones_like)


def raises(_):
    raise ValueError("mine")


@pytest.mark.parametrize(
    ("name", "activation"),
    [("ReLU", Relu()), ("relu", Relu()), ("SiLU", Silu()), ("swish", Silu()), ("logistic", Sigmoid()),
     ("LeakyReLU", ntkrs.LeakyRelu()), ("leaky-relu", ntkrs.LeakyRelu()), ("linear", ntkrs.Identity())],
)  # fmt: skip
def test_names_of_other_libraries(name, activation):
    assert by_name(name) == activation


def test_a_network_that_ends_with_its_activation():
    # Σ = T and Θ = Ṫ Σ^1, at ρ = 1 of ReLU: q/2 and q/2 for q = |x|²/n_0.
    kernel = Sequential(Dense(8), Relu(), Dense(1, trainable=False)).kernel()
    sigma, theta = kernel([[3.0, 1.0]], get=("nngp", "ntk"))
    assert sigma[0, 0] == pytest.approx(2.5, rel=1e-15)
    assert theta[0, 0] == pytest.approx(2.5, rel=1e-15)


def test_values_in_messages_are_short():
    assert advice.shown(1.5) == "1.5"
    assert advice.shown(X) == "an array of shape (3, 2) and dtype float64"
    assert advice.shown(np.float64(2)) == repr(np.float64(2))
    assert advice.shown("a" * 500).endswith(" ...")
    assert len(advice.shown("a" * 500)) <= 80
    assert "\n" not in advice.shown("a\nb\n")


def test_signatures_are_those_of_the_functions():
    import inspect

    assert list(inspect.signature(Dense).parameters)[:3] == ["width", "sigma_w", "sigma_b"]
    assert list(inspect.signature(mlp).parameters)[:3] == ["depth", "width", "outputs"]
    assert list(inspect.signature(ntkrs.Kernel.__call__).parameters)[:4] == ["self", "X", "Z", "get"]
