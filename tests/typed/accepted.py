"""Calls that type checkers accept, with the types that they find."""

from typing import assert_type

import numpy as np

import ntkrs
from ntkrs.kernel import NngpNtk, NtkNngp, PreparedInputs
from ntkrs.predict import Prediction
from ntkrs.typing import Array, ArrayLike


class Table:
    """An object that NumPy converts, like a data frame."""

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        """Return the values."""
        return np.eye(2)


arch = ntkrs.mlp(depth=1, width=8, outputs=1)
kernel = arch.kernel()
X: ArrayLike = [[1.0, 2], [3, 4.5]]

assert_type(kernel(X), Array)
assert_type(kernel(Table(), get="nngp"), Array)
assert_type(kernel(np.eye(2, dtype=np.float32), [[1, 2]]), Array)
assert_type(kernel([np.ones(2), np.ones(2)]), Array)
assert_type(kernel.prepare(X), PreparedInputs)
assert_type(kernel(X, kernel.prepare(X)), Array)
assert_type(kernel(X, get=("nngp", "ntk"), progress=False), NngpNtk)
assert_type(kernel(X, get=("ntk", "nngp")).ntk, Array)
assert_type(kernel(X, get=("ntk", "nngp")), NtkNngp)

net = arch.init(in_features=2)
assert_type(net(X), Array)
net.ntk(Table(), [[1.0, 2.0]], outputs="trace")

f = ntkrs.predict.gradient_descent_mse(kernel(X), [1.0, 2.0])
assert_type(f(t=None), Array)
assert_type(f([1.0, 2.0], 0.0), Array)
assert_type(f(t=1.0, k_test_train=kernel(X, X)), tuple[Array, Array])
assert_type(f(1.0, 0.0, 0.0, kernel(X, X)), tuple[Array, Array])

posterior = ntkrs.predict.gp_inference(kernel, X, [1.0, 2.0])
assert_type(posterior(X), Prediction)
assert_type(posterior(X, get="nngp").mean, Array)
nngp, ntk = posterior(X, get=("nngp", "ntk"))
assert_type(ntk, Prediction)
assert_type(posterior(X, get=("nngp", "ntkgp")).ntkgp.interval(0.9), tuple[Array, Array])

ensemble = ntkrs.predict.gradient_descent_mse_ensemble(kernel, X, [1.0, 2.0])
assert_type(ensemble([0.0, 1.0], X).variance, Array | None)
assert_type(ensemble(get=("nngp", "ntk"), x_test=X).nngp, Prediction)
