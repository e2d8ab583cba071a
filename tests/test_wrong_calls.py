"""Wrong calls that newcomers make, coming from a post on the NTK, neural-tangents, torch, or other packages.

Each error names the argument or attribute, says what came and what was expected, and what to do. A part that has no
place in a message (what came, where an attribute is missing) is "".
"""

import importlib
from typing import NamedTuple

import numpy as np
import pytest

import ntkrs

X = np.random.default_rng(0).standard_normal((6, 3))
ARCH = ntkrs.mlp(2, 8, 1, "relu", 2**0.5, 0.1)
KERNEL = ARCH.kernel()
NAMES = {
    **{name: getattr(ntkrs, name) for name in ntkrs.__all__},
    "ntkrs": ntkrs,
    "np": np,
    "X": X,
    "y": X[:, 0],
    "arch": ARCH,
    "kernel": KERNEL,
    "net": ARCH.init(3),
    "K": KERNEL(X),
}


class Wrong(NamedTuple):
    """A wrong call, the class of its error, and the four parts of its message in any order."""

    call: str
    error: type[Exception]
    argument: str
    came: str
    expected: str
    advice: str


NO_ATTRIBUTE = "has no attribute"

#: Readers of the post: they know the equations, and guess the names.
POST = [
    Wrong("arch(X)", TypeError, "an architecture", "", "describes networks and computes nothing", "arch.kernel()(X)"),
    Wrong("arch.ntk(X)", AttributeError, "'ntk'", "a Sequential", NO_ATTRIBUTE, "it is arch.kernel()(X)"),
    Wrong("ntkrs.ntk(X)", AttributeError, "'ntk'", "module 'ntkrs'", NO_ATTRIBUTE, "arch.kernel()(X)"),
    Wrong("mlp([64, 64], 1, 1)", TypeError, "depth", "[64, 64]", "one number is needed", "Build a Sequential"),
    Wrong("mlp(2, 8, 1, np.tanh)", TypeError, "layer 1", "<ufunc 'tanh'>", "an activation is needed", "Activation(fn"),
    Wrong("mlp(2, 8, 1, 'swissh')", ValueError, "activation", "'swissh'", "must be one of 'identity'", "Did you mean"),
    Wrong("mlp(2, 8, 1, None)", TypeError, "layer 1", "None", "an activation is needed", "Pass Identity()"),
    Wrong("mlp(2, 8, 1, Relu)", TypeError, "layer 1", "class 'ntkrs", "is needed", "Did you forget the parentheses?"),
    Wrong("mlp(2, 8, 1, bias=True)", ValueError, "bias", "mlp()", "has no bias", "where sigma_b is above 0"),
    Wrong("arch.init(X)", TypeError, "in_features", "an array of shape (6, 3)", "number is needed", "X.shape[1]"),
    Wrong("arch.init(3, seed=0)", TypeError, "seed", "init()", "has no argument", "called rng"),
    Wrong("net(X[0])", ValueError, "X", "shape (3,)", "(N, n_0) array is needed", "X.reshape(1, -1) for one sample"),
    Wrong("net(X.T)", ValueError, "X", "6 features", "the network has 3", "Did you pass X transposed?"),
    Wrong("net.kernel(X)", AttributeError, "'kernel'", "a Network", NO_ATTRIBUTE, "net.ntk(X)"),
    Wrong("net.fit(X, y)", AttributeError, "'fit'", "a Network", NO_ATTRIBUTE, "net.train(X, y, learning_rate, steps)"),
    Wrong("net.train(X, y, 1e6, 100)", ntkrs.DivergenceError, "learning_rate", "1000000.0", "diverged", "less than"),
    Wrong("kernel(X, 'ntk')", TypeError, "Z", "'ntk'", "an array is needed", "by name, such as get='ntk'"),
    Wrong("kernel(X, get='cntk')", ValueError, "get", "'cntk'", "must be 'ntk', 'nngp'", "or a tuple of them"),
    Wrong("kernel.predict(X)", AttributeError, "'predict'", "a Kernel", NO_ATTRIBUTE, "predict.gp_inference"),
    Wrong("Sequential([Dense(2)])", TypeError, "layer 0", "[Dense(", "a Dense or an activation", "Sequential(*layers)"),
    Wrong(
        "Sequential(Dense(1), Relu())", ValueError, "the last layer", "Relu()", "a Dense is needed", "trainable=False"
    ),
    Wrong("Sequential(Dense(2), Dense(1))", ValueError, "layer 1", "Dense(", "alternate", "Use Identity()"),
    Wrong("Dense(3, activation='relu')", ValueError, "activation", "Dense()", "has no", "Sequential(Dense(64), Relu()"),
    Wrong("Activation(lambda x: max(x, 0))", TypeError, "fn", "a number", "must take an array", "numpy.where"),
    Wrong("mlp(1, 2, 1, Activation(np.tanh)).init(3)(X)", ValueError, "derivative", "None", "need", "fn, derivative)"),
    Wrong("predict.gradient_descent_mse(kernel, y)", TypeError, "k_train_train", "Kernel(", "an array", "kernel(X)"),
    Wrong("diagnostics.spectrum(kernel)", TypeError, "k is", "Kernel(", "an array is needed", "Call it, and pass"),
    Wrong("solve(np.ones((6, 6)), y)", ntkrs.SingularKernelError, "diag_reg", "now 0", "positive definite", "Raise"),
]

#: Users of neural-tangents.
NEURAL_TANGENTS = [
    Wrong("mlp(2, 8, 1, W_std=1.5)", TypeError, "W_std", "mlp()", "has no argument", "called sigma_w"),
    Wrong("Dense(8, 1.5, b_std=0.05)", TypeError, "b_std", "Dense()", "has no argument", "called sigma_b"),
    Wrong(
        "Dense(8, parameterization='standard')", ValueError, "parameterization", "Dense()", "has no", "arch.kernel('"
    ),
    Wrong("kernel(X, None, 'ntk')", TypeError, "Kernel.__call__", "got 3", "at most 2", "by name: get='ntk'"),
    Wrong("kernel(X, parameterization='standard')", ValueError, "parameterization", "", "has no", "arch.kernel('stand"),
    Wrong("arch.kernel_fn(X)", AttributeError, "'kernel_fn'", "a Sequential", NO_ATTRIBUTE, "it is arch.kernel()"),
    Wrong("arch.init(0, (-1, 3))", TypeError, "rng", "(-1, 3), a shape", "a seed is needed", "init(3, 0)"),
    Wrong("net.apply(X)", AttributeError, "'apply'", "a Network", NO_ATTRIBUTE, "its outputs are net(X)"),
    Wrong("ntkrs.stax", AttributeError, "'stax'", "module 'ntkrs'", NO_ATTRIBUTE, "ntkrs.compat.neural_tangents"),
    Wrong("ntkrs.monte_carlo_kernel_fn", AttributeError, "'monte_", "module", NO_ATTRIBUTE, "ntkrs.ensemble_ntk"),
    Wrong(
        "predict.gradient_descent_mse_ensemble(kernel, X, y)(X)",
        ValueError,
        "t ",
        "-0.132",
        "times are >= 0",
        "x_test=",
    ),
    Wrong("predict.gradient_descent_mse(K, y)(1.0, X)", ValueError, "fx_train_0", "(6, 3)", "(6,)", "k_test_train="),
    Wrong("Conv(8, (3, 3), dilation=2)", ValueError, "dilation", "Conv()", "has no", "a larger window"),
]

#: Users of torch.
TORCH = [
    Wrong("Sequential(nn.Linear(3, 4))", TypeError, "layer 0", "Linear(", "a Dense or", "ntkrs.convert.from_torch"),
    Wrong(
        "convert.from_torch(nn.DataParallel(model))", TypeError, "module", "DataParallel", "cannot be", "module.module"
    ),
    Wrong(
        "convert.from_torch(Model())", TypeError, "module", "Model", "cannot be read", "from_state_dict(module.state"
    ),
    Wrong("convert.from_torch(Subclass(*model))", TypeError, "module", "Subclass", "cannot", "Sequential(*module)"),
    Wrong("convert.from_torch(nn.Conv2d(1, 2, 3))", TypeError, "module", "Conv2d", "cannot be read", "convert.record"),
    Wrong(
        "convert.from_torch(model.state_dict())", TypeError, "module", "Dict", "cannot be read", "by from_state_dict"
    ),
    Wrong(
        "convert.from_state_dict(model, 'relu')", TypeError, "state", "Sequential", "a mapping", "module.state_dict()"
    ),
    Wrong("convert.from_torch('model.pt')", TypeError, "module", "'model.pt'", "torch.nn.Module is needed", "load it"),
    Wrong("convert.from_torch(model).arch.kernel()", ValueError, "sigma_w", "None", "needs it", "scales='torch'"),
    Wrong("kernel(torch.ones(2, 3, dtype=torch.bfloat16))", TypeError, "X", "BFloat16", "NumPy array", "X.float()"),
    Wrong("kernel(torch.ones(2, 3, requires_grad=True))", TypeError, "X", "requires grad", "NumPy array", ".detach()"),
    Wrong("net.state_dict()", AttributeError, "'state_dict'", "a Network", NO_ATTRIBUTE, "ntkrs.convert.to_state_dict"),
    Wrong("net.backward()", AttributeError, "'backward'", "a Network", NO_ATTRIBUTE, "net.loss_gradient(X, y)"),
    Wrong("net.to('cuda')", AttributeError, "'to'", "a Network", NO_ATTRIBUTE, "computes on the CPU"),
    Wrong("convert.to_torch(arch)", TypeError, "net", "Sequential(", "a Network is needed", "arch.init(in_features)"),
]

#: Users of data and other packages.
PACKAGES = [
    Wrong("kernel(X + 1j)", TypeError, "X", "complex numbers", "real numbers are needed", "Pass X.real"),
    Wrong("kernel(X.astype(str))", TypeError, "X", "text (dtype <U32)", "real numbers are needed", "X.astype(float)"),
    Wrong("kernel(X.astype('M8[s]'))", TypeError, "X", "dates", "real numbers are needed", "numpy.timedelta64(1, 'D')"),
    Wrong("kernel(np.where(X > 0, np.nan, X))", ValueError, "X", "nan at (row", "must be finite", "Impute or drop"),
    Wrong("kernel([[1.0, 2.0], [3.0]])", ValueError, "X", "inhomogeneous", "the same length", "pad or drop"),
    Wrong("kernel('X.npy')", TypeError, "X", "'X.npy'", "an array is needed", "numpy.load('X.npy')"),
    Wrong("kernel(np.ma.masked_array(X, X > 0))", TypeError, "X", "masked", "must be known", "X.filled(value)"),
    Wrong("kernel(X, out=np.empty((3, 3)))", ValueError, "out", "shape (3, 3)", "has shape (6, 6)", ""),
    Wrong("kernel(np.zeros((10**7, 3)))", MemoryError, "the kernel of shape", "needs 8", "are available", "in blocks"),
    Wrong("ntkrs.ReLU", AttributeError, "'ReLU'", "module 'ntkrs'", NO_ATTRIBUTE, "did you mean Relu?"),
    Wrong("ntkrs.NTKRegressor()", AttributeError, "'NTKRegressor'", "module", NO_ATTRIBUTE, "ntkrs.sklearn.NTKReg"),
    Wrong("set_num_threads(0)", ValueError, "n is", "0", "at least 1 thread", ""),
    Wrong("mlp(10**9, 8, 1)", ValueError, "depth", "1000000000", "at most 100000", "Build a Sequential"),
    Wrong("Network.load(3)", TypeError, "path", "3", "the path of a file is needed", ""),
]

CALLS = POST + NEURAL_TANGENTS + PACKAGES


def check(wrong, names):
    """Check the class of the error of a call, and that its message has all parts."""
    with pytest.raises(wrong.error) as caught:
        eval(wrong.call, names)  # noqa: S307 it is ours
    message = str(caught.value)
    missing = [part for part in wrong[2:] if part not in message]
    assert not missing, f"{missing} are not in the message: {message}"


@pytest.mark.parametrize("wrong", CALLS, ids=[wrong.call for wrong in CALLS])
def test_the_message_helps(wrong):
    check(wrong, dict(NAMES))


@pytest.fixture(scope="module")
def torch_names():
    """Return the names for calls with torch, or skip the test if it is absent."""
    torch = pytest.importorskip("torch", reason="torch is absent: wrong calls with its modules are not tested here")
    nn = importlib.import_module("torch.nn")

    class Subclass(nn.Sequential):
        """A Sequential with a name of its own."""

    class Model(nn.Module):
        """A model as tutorials write it."""

        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(3, 4), nn.Linear(4, 1)

    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    return {**NAMES, "torch": torch, "nn": nn, "model": model, "Model": Model, "Subclass": Subclass}


@pytest.mark.parametrize("wrong", TORCH, ids=[wrong.call for wrong in TORCH])
def test_the_message_helps_users_of_torch(wrong, torch_names):
    check(wrong, dict(torch_names))


def test_all_four_kinds_of_newcomers_are_there():
    assert len({wrong.call for wrong in CALLS + TORCH}) == len(CALLS + TORCH) >= 57


#: Hints beside those of the calls above: a name, where it is looked for, and a part of the message.
HINTS = [
    *(("apply_fn", ARCH, "arch.init(X.shape[1])"), ("fit", ARCH, "ntkrs.predict"), ("add", ARCH, "*arch.layers")),
    *(("nngp", KERNEL, 'get="nngp"'), ("spectrum", KERNEL, "ntkrs.diagnostics.spectrum(kernel(X))")),
    *(("eval", NAMES["net"], "immutable"), ("load_state_dict", NAMES["net"], "ntkrs.convert.from_state_dict")),
    *(("load", ntkrs, "ntkrs.Network.load"), ("linearize", ntkrs, "net.linearize()"), ("MLP", ntkrs, "mean mlp?")),
    *(("LeakyReLu", ntkrs, "did you mean LeakyRelu?"), ("Densee", ntkrs, "did you mean Dense?")),
]


@pytest.mark.parametrize(("name", "where", "message"), HINTS, ids=[name for name, _, _ in HINTS])
def test_names_that_are_elsewhere(name, where, message):
    with pytest.raises(AttributeError) as caught:
        getattr(where, name)
    assert message in str(caught.value)
    assert caught.value.name == name


def test_names_that_are_like_no_other_have_no_hint():
    for where in (ntkrs, ARCH, KERNEL, NAMES["net"]):
        with pytest.raises(AttributeError, match=r"has no attribute 'qwertz'$"):
            getattr(where, "qwertz")  # noqa: B009 an access alone is a useless expression
        with pytest.raises(AttributeError, match=r"has no attribute '__wrapped__'$"):
            getattr(where, "__wrapped__")  # noqa: B009


def test_every_hint_names_what_is_there():
    """A hint at ``ntkrs.module.name`` can be followed."""
    from ntkrs._checks import elsewhere

    for hint in elsewhere.PACKAGE.values():
        path = hint.removeprefix(": it is ntkrs.").partition("(")[0]
        if not hint.startswith(": it is ntkrs.") or path.startswith("sklearn"):  # that one may be absent
            continue
        found = ntkrs
        for name in path.split("."):
            found = getattr(found, name)
