"""The pieces of work that are measured: ours, and the same by hand in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import ntkrs
from ntkrs import _core
from ntkrs._checks import arrays
from ntkrs.bench import rival_numpy as rival

if TYPE_CHECKING:
    from ntkrs.bench.measure import Prepared

#: Makes the arguments of a benchmark, and returns what is timed.
Setup: TypeAlias = Callable[[np.dtype[Any]], Callable[[], object]]

#: The sides that run where they are installed; each has a module ``rival_{side}``.
OPTIONAL = ("jax", "torch")


@dataclass(frozen=True)
class Case:
    """A piece of work, done by all sides.

    Attributes
    ----------
    name : str
        What it is.
    flops : float
        What its products need, a symmetric half counted once.
    items : float
        How many numbers its result holds.
    ours, numpy : callable
        From a dtype to a function to be timed.
    work : str
        The function of ``rival_jax`` and ``rival_torch`` that prepares the same; empty if there is none.
    arguments : callable
        From a dtype to its arguments.
    """

    name: str
    flops: float
    items: float
    ours: Setup
    numpy: Setup
    work: str = ""
    arguments: Callable[[np.dtype[Any]], tuple[Any, ...]] = lambda _: ()

    def prepare(self, side: str, dtype: np.dtype[Any]) -> Prepared:
        """What is timed of one side, and what makes arrays of its result."""
        if side in OPTIONAL:
            prepared: Prepared = getattr(import_module(f"ntkrs.bench.rival_{side}"), self.work)(*self.arguments(dtype))
            return prepared
        return (self.ours if side == "ntkrs" else self.numpy)(dtype), lambda result: result


def inputs(n: int, d: int, dtype: np.dtype[Any]) -> Any:
    """Random inputs, (n, d)."""
    return np.random.default_rng(0).standard_normal((n, d)).astype(dtype)


def linear(n: int, d: int) -> Case:
    """The Gram matrix X Xᵀ."""

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)

        def call() -> object:
            out = arrays.empty((n, 1, n, 1), dtype)
            _core.linear_gram((x, [out]))
            return out[:, 0, :, 0]

        return call

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)
        return lambda: x @ x.T

    name = f"linear Gram, N={n} d={d}"
    return Case(name, n * (n + 1.0) * d, float(n * n), ours, numpy, "linear", lambda dtype: (inputs(n, d, dtype),))


def infinite(n: int, d: int, depth: int, activation: str = "relu", sigma_b: float = 0.1) -> Case:
    """NNGP and NTK of an infinitely wide network."""
    kernel = ntkrs.mlp(depth, 1, 1, activation, 2**0.5, sigma_b).kernel()
    by_hand = {"relu": rival.infinite_relu, "erf": rival.infinite_erf, "gelu": rival.infinite_gelu}[activation]

    def arguments(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        return inputs(n, d, dtype), depth, 2**0.5, sigma_b

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        x = inputs(n, d, dtype)
        return lambda: kernel(x, get=("nngp", "ntk"))

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        return partial(by_hand, *arguments(dtype))

    label = {"relu": "ReLU", "gelu": "GELU"}.get(activation, activation)
    biases = "" if sigma_b else ", no biases"
    name = f"infinite NNGP+NTK, {label}, {depth} hidden{biases}, N={n} d={d}"
    flops, items = n * (n + 1.0) * d, 2.0 * n * n
    work = "" if activation == "gelu" else "infinite"
    return Case(name, flops, items, ours, numpy, work, lambda dtype: (*arguments(dtype), activation))


def test_train(m: int, n: int, d: int, depth: int) -> Case:
    """NNGP and NTK of an infinitely wide ReLU network between m test and n training inputs."""
    kernel = ntkrs.mlp(depth, 1, 1, "relu", 2**0.5, 0.1).kernel()

    def batches(dtype: np.dtype[Any]) -> tuple[Any, Any]:
        x = inputs(m + n, d, dtype)
        return x[:m], x[m:]

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        test, train = batches(dtype)
        return lambda: kernel(test, train, get=("nngp", "ntk"))

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        test, train = batches(dtype)
        return partial(rival.infinite_relu, test, depth, 2**0.5, 0.1, train)

    name = f"infinite NNGP+NTK, ReLU, {depth} hidden, {m} × {n} d={d}"
    return Case(name, 2.0 * m * n * d, 2.0 * m * n, ours, numpy)


def _finite(
    n: int, d: int, width: int, outputs: int, dtype: np.dtype[Any]
) -> tuple[ntkrs.Network, tuple[Any, Any, float, float, Any]]:
    """A ReLU network with three hidden layers, and the same with inputs as the rivals take it."""
    net = ntkrs.mlp(3, width, outputs, "relu", 2**0.5, 0.1).init(d, rng=0, dtype=dtype)
    return net, (net.weights, net.biases, 2**0.5, 0.1, inputs(n, d, dtype))


def empirical(n: int, d: int, width: int, outputs: int, form: str) -> Case:
    """The empirical NTK of a finite ReLU network with three hidden layers."""
    sizes = [d, width, width, width, outputs]
    forward = 2.0 * n * sum(a * b for a, b in pairwise(sizes))
    backward = 2.0 * n * outputs * sum(a * b for a, b in pairwise(sizes[1:4]))
    rows = n * outputs if form == "full" else n
    # The trace collapses at the last hidden layer.
    deltas = sum(sizes[1:4]) if form == "full" else outputs * sum(sizes[1:3]) + sizes[3]
    gram = n * (n + 1.0) * sum(sizes[:4]) + rows * (rows + 1.0) * deltas

    def arguments(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        return *_finite(n, d, width, outputs, dtype)[1], form

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, (*_, x) = _finite(n, d, width, outputs, dtype)
        return lambda: net.ntk(x, outputs=form)  # type: ignore[arg-type]  # "full" or "trace"

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        return partial(rival.empirical_relu, *arguments(dtype))

    name = f"empirical NTK, {form}, {d}-{width}³-{outputs}, N={n}"
    return Case(name, forward + backward + gram, float(rows * rows), ours, numpy, "empirical", arguments)


def jacobian(n: int, d: int, width: int, outputs: int) -> Case:
    """Per-sample Jacobians of a finite ReLU network with three hidden layers."""

    def arguments(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        return _finite(n, d, width, outputs, dtype)[1]

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, (*_, x) = _finite(n, d, width, outputs, dtype)
        return lambda: net.jacobian(x)

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        return partial(rival.jacobian_relu, *arguments(dtype))

    items = float(n * outputs * _parameters(d, width, outputs))
    return Case(f"Jacobian, {d}-{width}³-{outputs}, N={n}", items, items, ours, numpy, "jacobian", arguments)


def train(n: int, d: int, width: int, outputs: int, steps: int) -> Case:
    """Full-batch gradient descent of a finite ReLU network with three hidden layers."""
    rate = 0.1

    def arguments(dtype: np.dtype[Any]) -> tuple[Any, ...]:
        y = np.random.default_rng(1).standard_normal((n, outputs)).astype(dtype)
        return *_finite(n, d, width, outputs, dtype)[1], y, rate, steps

    def ours(dtype: np.dtype[Any]) -> Callable[[], object]:
        net, *_ = _finite(n, d, width, outputs, dtype)
        *_, x, y, _, _ = arguments(dtype)
        return lambda: net.train(x, y, rate, steps)[0].parameters

    def numpy(dtype: np.dtype[Any]) -> Callable[[], object]:
        return partial(rival.train_relu, *arguments(dtype))

    items = float(_parameters(d, width, outputs))
    name = f"training, {steps} steps, {d}-{width}³-{outputs}, N={n}"
    return Case(name, 6.0 * n * items * steps, items, ours, numpy, "train", arguments)


def _parameters(d: int, width: int, outputs: int) -> int:
    return sum((a + 1) * b for a, b in pairwise([d, width, width, width, outputs]))


def benchmarks(*, quick: bool) -> list[Case]:
    """All benchmarks; with ``quick`` small enough for a few seconds in all."""
    if quick:
        return [
            linear(500, 100),
            infinite(500, 100, 3),
            infinite(500, 100, 3, "erf"),
            test_train(50, 500, 100, 3),
            empirical(200, 50, 64, 1, "trace"),
            empirical(50, 50, 64, 3, "full"),
            jacobian(20, 50, 64, 2),
            train(30, 50, 64, 2, 10),
        ]
    return [
        linear(8000, 784),
        infinite(8000, 784, 3),
        test_train(1000, 8000, 784, 3),
        infinite(8000, 784, 20),
        infinite(8000, 784, 20, sigma_b=0.0),
        infinite(8000, 784, 3, "erf"),
        infinite(8000, 784, 3, "gelu"),
        empirical(2000, 784, 1024, 1, "trace"),
        empirical(1000, 784, 512, 1, "trace"),
        empirical(500, 784, 512, 10, "full"),
        empirical(500, 784, 512, 10, "trace"),
        jacobian(64, 784, 512, 10),
        train(256, 784, 512, 1, 1000),
    ]
