"""Warnings and errors: each class is raised, derives from the built-in one, and is used wherever its message is."""

import ast
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Conv, Dense, GlobalAvgPool, Relu, Sequential, convert, diagnostics, errors, mlp, predict

ROOT = Path(ntkrs.__file__).parent
KERNEL = mlp(1, 1, 1).kernel()
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 1))
K = KERNEL(X)
LATE_KINK = Activation(lambda x: np.maximum(x - 2, 0), lambda x: 1.0 * (x > 2))
LATE_KINKS = mlp(1, 1, 1, LATE_KINK)


def read():
    """Return a converted model, whose scales are unknown."""
    return convert.from_keras([np.zeros((2, 1)), np.zeros(1)], "relu")


def compatible_batch():
    from ntkrs.compat.neural_tangents import batch

    batch(print)


#: Calls that warn, the class of the warning, and a part of its message.
WARNINGS = [
    (lambda: LATE_KINKS.kernel()([[1.0]]), "TruncationWarning", "the kernel's series are too short"),
    (lambda: LATE_KINK.dual(1.0, 1.0, 0.5), "TruncationWarning", "the series of Activation"),
    (
        lambda: ntkrs.solve(K, Y, 0.1, method="pcg", rank=1, max_iterations=1),
        "ConvergenceWarning",
        "solve reached a residual",
    ),
    (
        lambda: predict.gradient_descent_mse(K, Y, method="krylov", max_iterations=1)(1e9),
        "ConvergenceWarning",
        "after 1 products",
    ),
    (
        lambda: mlp(1, 4, 1).init(3).train(np.zeros((1, 3)), [1.0], 0.1, 3),
        "StalledTrainingWarning",
        "the gradient has been exactly 0 since step 0",
    ),
    (
        lambda: Sequential(Conv(1, (3, 3)), Relu(), GlobalAvgPool(), Dense(1)).kernel()(np.ones((1, 3, 8, 8))),
        "ChannelOrderWarning",
        "the last axis",
    ),
    (compatible_batch, "NoEffectWarning", "batch does nothing"),
]

#: Calls that fail, the class of the error, and a part of its message.
ERRORS = [
    (lambda: mlp(1, 4, 1).init(3).train(X, Y, 1e9, 1000), "DivergenceError", "training diverged with learning_rate"),
    (
        lambda: predict.gradient_descent_mse(K, Y, 1e6, optimizer="gd")(5),
        "DivergenceError",
        "times the largest that is stable",
    ),
    (
        lambda: predict.gradient_descent(lambda f, y: f - y, K, Y, 1e6, optimizer="gd")(1000),
        "DivergenceError",
        "training diverged at step",
    ),
    (lambda: ntkrs.solve(np.ones((3, 3)), np.arange(3.0)), "SingularKernelError", "Raise diag_reg"),
    (
        lambda: ntkrs.solve(-np.eye(3), np.arange(3.0), 0.1, method="pcg", rank=1),
        "SingularKernelError",
        "Raise diag_reg",
    ),
    (
        lambda: ntkrs.regression.log_marginal_likelihood(np.ones((3, 3)), np.arange(3.0), 0),
        "SingularKernelError",
        "Pass a larger noise",
    ),
    (lambda: diagnostics.spectrum(-np.eye(3)), "IndefiniteKernelError", "k has eigenvalue -1"),
    (lambda: predict.max_learning_rate(-np.eye(3), 3), "IndefiniteKernelError", "eigenvalues up to -1 only"),
    (read().arch.kernel, "UnknownScalesError", "whose sigma_w is unknown"),
    (lambda: read().arch.init(2), "UnknownScalesError", "whose sigma_w is unknown"),
    (lambda: Dense(1, None, None).scales, "UnknownScalesError", "has unknown scales"),
]

#: The built-in classes that each class stands for: the ones raised at the same places before.
BASES = {
    "TruncationWarning": [RuntimeWarning],
    "ConvergenceWarning": [RuntimeWarning],
    "StalledTrainingWarning": [RuntimeWarning],
    "ChannelOrderWarning": [RuntimeWarning],
    "PerformanceWarning": [RuntimeWarning],
    "NoEffectWarning": [UserWarning],
    "DivergenceError": [ValueError],
    "ConvergenceError": [ValueError, RuntimeError],
    "SingularKernelError": [np.linalg.LinAlgError],
    "IndefiniteKernelError": [np.linalg.LinAlgError],
    "UnknownScalesError": [ValueError],
    "DamagedFileError": [OSError, ValueError],
}


@pytest.mark.parametrize(("call", "name", "message"), WARNINGS, ids=[message for _, _, message in WARNINGS])
def test_warnings(call, name, message):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (warning,) = caught
    assert warning.category is getattr(ntkrs, name)
    assert message in str(warning.message)
    assert warning.filename == __file__  # the user's line, not one of the package


@pytest.mark.parametrize(("call", "name", "message"), ERRORS, ids=range(len(ERRORS)))
def test_errors(call, name, message):
    with pytest.raises(getattr(ntkrs, name), match=message) as caught:
        call()
    assert type(caught.value) is getattr(ntkrs, name)


def test_too_many_evaluations():
    def steep(f, y):
        return np.sinh(f - y)

    with pytest.raises(ntkrs.ConvergenceError, match="evaluations of the loss") as caught:
        predict.gradient_descent(steep, K, Y, solver="DOP853")(1e12)
    assert isinstance(caught.value, ValueError)


def test_damaged_files(tmp_path):
    path = tmp_path / "K.npy"
    ntkrs.gram(KERNEL, X, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(ntkrs.DamagedFileError, match="was truncated"):
        ntkrs.open_gram(path)
    path.write_bytes(whole[:-8] + b"\0" * 8)
    with pytest.raises(ntkrs.DamagedFileError, match="do not match their checksum"):
        ntkrs.open_gram(path, verify=True)
    path.write_bytes(whole)
    described = tmp_path / "K.npy.json"
    described.write_text(json.dumps({"identity": 1}), encoding="utf-8")
    with pytest.raises(ntkrs.DamagedFileError, match="does not describe a kernel matrix"):
        ntkrs.open_gram(path)


def test_a_damaged_checkpoint(tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"PK not a checkpoint")
    with pytest.raises(ntkrs.DamagedFileError, match=r"is damaged.*Delete it to start anew"):
        ntkrs.solve(K, Y, 0.1, method="pcg", rank=1, checkpoint=path)


@pytest.mark.parametrize("name", errors.__all__)
def test_classes_derive_from_what_was_raised_before(name):
    found = getattr(ntkrs, name)
    assert found is getattr(errors, name)
    assert list(found.__bases__) == BASES[name]
    one = pickle.loads(pickle.dumps(found("text")))
    assert type(one) is found
    assert str(one) == "text"


SOURCES = {path: path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}


@pytest.mark.parametrize("name", errors.__all__)
def test_no_class_is_idle(name):
    assert any(name in source for path, source in SOURCES.items() if path.name != "errors.py")


def test_all_warnings_have_a_class():
    """No call of ``warn`` passes a built-in class, and no LinAlgError is NumPy's own."""
    for path, source in SOURCES.items():
        assert "raise np.linalg.LinAlgError" not in source, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) == "warn":
                category = ast.unparse(node.args[1])
                assert category.removeprefix("errors.") in {*errors.__all__, "category"}, f"{path}:{node.lineno}"
