"""Few labelled images: the tangent kernel of a multilayer perceptron beside those of convolutional networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs._runtime.optional import require
from ntkrs.demo.data import relu_network
from ntkrs.demo.scores import Score, Scores, kernel_ridge
from ntkrs.layers import Conv, Dense, Flatten, GlobalAvgPool, Sequential

if TYPE_CHECKING:
    from ntkrs._architecture import Layer
    from ntkrs.demo.data import Array, Digits, Index, Settings

#: The ridge of all methods, relative to the mean of the kernel's diagonal.
_RIDGE = 1e-6

#: The rows and columns of a digit.
_SIDE = 8


def convolutional_network(settings: Settings, head: Flatten | GlobalAvgPool) -> Sequential:
    """Return the network with convolutions of 3 × 3 pixels in place of the dense layers before the last.

    Examples
    --------
    >>> from ntkrs import GlobalAvgPool, demo
    >>> demo.convolutional_network(demo.Settings(depth=1), GlobalAvgPool()).layers[2:]
    (GlobalAvgPool(), Dense(width=1, sigma_w=1.4142135623730951, sigma_b=0.1))
    """
    layers: list[Layer] = []
    for activation in relu_network(settings).activations:
        layers += [Conv(1, 3, sigma_w=settings.sigma_w, sigma_b=settings.sigma_b), activation]
    return Sequential(*layers, head, Dense(1, settings.sigma_w, settings.sigma_b))


def few_labels(data: Digits, settings: Settings, seed: int) -> Scores:
    """Return the accuracy of three tangent kernels on the digits, of which ``settings.labelled`` have a label.

    The kernels are those of a multilayer perceptron, and of convolutional networks that end with Flatten and with
    GlobalAvgPool, all with the same depth and scales. The spread is the binomial standard error.

    Parameters
    ----------
    data : Digits
        The digits. Its split is not used: the labelled ones are drawn from all, each digit as often as any other.
    settings : Settings
        ``labelled``, and the architecture.
    seed : int
        The seed of the choice of labelled digits.

    Returns
    -------
    Scores

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> from ntkrs import demo
    >>> settings = demo.Settings(samples=150, labelled=50, depth=1)
    >>> found = demo.few_labels(demo.load_digits(settings, seed=0), settings, seed=0)
    >>> [score.method for score in found.scores]
    ['MLP', 'convolutions and Flatten', 'convolutions and GlobalAvgPool']
    """
    split = require("sklearn.model_selection", "scikit-learn").train_test_split
    rows = np.arange(len(data.x))
    train, test = split(rows, train_size=settings.labelled, stratify=data.labels, random_state=seed)
    images = data.x.reshape(-1, _SIDE, _SIDE, 1)
    found = []
    for method, arch, inputs in (
        ("MLP", relu_network(settings), data.x),
        ("convolutions and Flatten", convolutional_network(settings, Flatten()), images),
        ("convolutions and GlobalAvgPool", convolutional_network(settings, GlobalAvgPool()), images),
    ):
        order = np.concatenate([train, test])
        k = np.empty((len(order), len(train)))
        arch.kernel()(inputs[order], inputs[train], out=k, progress=False)
        accuracy = _accuracy(k, data, train, test)
        error = float(np.sqrt(accuracy * (1 - accuracy) / len(test)))
        found.append(Score(method, accuracy, error, f"ridge {_RIDGE:g}"))
    return Scores(tuple(found), len(train), len(test), 1)


def _accuracy(k: Array, data: Digits, train: Index, test: Index) -> float:
    """Return the share of test rows that are recognised, given the kernel of labelled and test rows, (N + M, N)."""
    n = len(train)
    y = data.targets[np.concatenate([train, test])]
    f = kernel_ridge(k, y, np.arange(n), np.arange(n, len(k)), _RIDGE)
    return float(np.mean(f.argmax(axis=1) == data.labels[test]))
