"""Six cases, one for each kind of work. All are short, because a history consists of many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

import ntkrs

if TYPE_CHECKING:
    from collections.abc import Callable

    Work: TypeAlias = Callable[[], object]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2000, 100))
Y = RNG.standard_normal((2000, 1))
IMAGES = RNG.standard_normal((40, 16, 16, 3))


def closed_form() -> Work:
    kernel = ntkrs.mlp(3, 1, 1, "relu", 2**0.5, 0.1).kernel()
    return lambda: kernel(X, get=("nngp", "ntk"))


def series() -> Work:
    kernel = ntkrs.mlp(3, 1, 1, "tanh", 1.5, 0.1).kernel()
    return lambda: kernel(X[:500], get=("nngp", "ntk"))


def images() -> Work:
    layers = ntkrs.Conv(1, 3), ntkrs.Relu(), ntkrs.Conv(1, 3), ntkrs.Relu(), ntkrs.GlobalAvgPool(), ntkrs.Dense(1)
    kernel = ntkrs.Sequential(*layers).kernel()
    return lambda: kernel(IMAGES)


def empirical() -> Work:
    net = ntkrs.mlp(3, 512, 10, "relu").init(in_features=100)
    return lambda: net.ntk(X[:500], outputs="trace")


def training() -> Work:
    net = ntkrs.mlp(3, 256, 1, "relu").init(in_features=100)
    return lambda: net.train(X[:250], Y[:250], learning_rate=0.1, steps=100)


def prediction() -> Work:
    kernel = ntkrs.mlp(3, 1, 1, "relu").kernel()(X[:400])
    return lambda: ntkrs.predict.gradient_descent_mse(kernel, Y[:400])(t=[1.0, 100.0, np.inf])


class Case:
    """The time and the peak memory of each case."""

    params = (closed_form, series, images, empirical, training, prediction)
    param_names = ("case",)

    def setup(self, case: Callable[[], Work]) -> None:
        self.call = case()

    def time_call(self, _case: object) -> None:
        self.call()

    def peakmem_call(self, _case: object) -> None:
        self.call()
