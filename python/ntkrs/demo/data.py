"""The settings and the data of the demo's experiments: two sets that come with scikit-learn, digits and diabetes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import ntkrs
from ntkrs._runtime.optional import require

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Settings:
    """The sizes of the experiments. The defaults are those of ``ntkrs demo``.

    Attributes
    ----------
    samples : int
        The number of digits.
    depth, sigma_w, sigma_b : int, float, float
        The hidden layers and the scales of all networks.
    test_size : float
        The share of the data that is held out.
    folds : int
        Folds of the cross-validation inside the training part.
    ridges : tuple of float
        The ridges to choose from, relative to the mean of the kernel's diagonal.
    labelled : int
        The number of digits with a label in :func:`few_labels`.
    diabetes_splits : int
        Random splits of the diabetes data.
    widths, width_seeds, width_samples : tuple of int, int, int
        For :func:`width_scaling`: the widths, the networks per width, and the number of digits.
    times : int
        The number of training times in :func:`dynamics`.
    trained_widths, trained_samples, trained_steps : tuple of int, int, int
        For :func:`finite_training`: the widths, the number of digits, and the steps of gradient descent.
    lazy_widths, lazy_seeds, lazy_samples, lazy_steps : tuple of int, int, int, int
        For :func:`lazy_training`: the widths, the networks per width, the number of digits, and the steps.
    kappa_seeds : int
        The networks per width whose κ is computed in :func:`lazy_training`.
    line_width, line_seeds, line_steps : int, int, tuple of int
        For :func:`line`: the width, the number of networks, and the steps of gradient descent.

    Examples
    --------
    >>> from ntkrs import demo
    >>> demo.Settings(samples=300).folds
    5
    """

    samples: int = 1797
    depth: int = 3
    sigma_w: float = 2.0**0.5
    sigma_b: float = 0.1
    test_size: float = 1 / 3
    folds: int = 5
    ridges: tuple[float, ...] = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
    labelled: int = 96
    diabetes_splits: int = 10
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    width_seeds: int = 20
    width_samples: int = 24
    times: int = 60
    trained_widths: tuple[int, ...] = (64, 256, 1024)
    trained_samples: int = 200
    trained_steps: int = 256
    lazy_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    lazy_seeds: int = 5
    lazy_samples: int = 40
    lazy_steps: int = 60
    kappa_seeds: int = 2
    line_width: int = 512
    line_seeds: int = 10
    line_steps: tuple[int, ...] = (0, 3, 30, 300)


@dataclass(frozen=True)
class Digits:
    """Images of digits with their labels, and a split into a training and a test part.

    Attributes
    ----------
    x : (N, 64) ndarray
        The pixels. Their mean and their one scale are those of the training part.
    labels : (N,) ndarray of int
        The digits, 0 to 9.
    targets : (N, 10) ndarray
        One-hot labels minus 1/10.
    train, test : ndarray of int
        The rows of the two parts.

    Examples
    --------
    >>> from ntkrs import demo
    >>> digits = demo.load_digits(demo.Settings(samples=150), seed=0)
    >>> digits.x.shape, digits.targets.shape, len(digits.train), len(digits.test)
    ((150, 64), (150, 10), 100, 50)
    """

    x: Array
    labels: Index
    targets: Array
    train: Index
    test: Index


def load_digits(settings: Settings, seed: int) -> Digits:
    """Load the digits that come with scikit-learn, with a stratified split into a training and a test part.

    Parameters
    ----------
    settings : Settings
        ``samples`` and ``test_size``.
    seed : int
        The seed of the choice of samples and of the split.

    Returns
    -------
    Digits

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import demo
    >>> digits = demo.load_digits(demo.Settings(samples=150), seed=0)
    >>> bool(np.allclose(digits.x[digits.train].mean(axis=0), 0))
    True
    """
    bunch = require("sklearn.datasets", "scikit-learn").load_digits()
    split = require("sklearn.model_selection", "scikit-learn").train_test_split
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(bunch.data))[: settings.samples]
    labels = bunch.target[rows].astype(np.intp)
    train, test = split(np.arange(len(rows)), test_size=settings.test_size, stratify=labels, random_state=seed)
    x = bunch.data[rows] - bunch.data[rows[train]].mean(axis=0)
    x /= np.sqrt((x[train] ** 2).mean())
    return Digits(x, labels, np.eye(10)[labels] - 0.1, train, test)


def relu_network(settings: Settings, width: int = 1, outputs: int = 1) -> ntkrs.Sequential:
    """Return the ReLU architecture of all experiments."""
    return ntkrs.mlp(
        depth=settings.depth,
        width=width,
        outputs=outputs,
        activation="relu",
        sigma_w=settings.sigma_w,
        sigma_b=settings.sigma_b,
    )


def half_mean_square(r: Array) -> Array:
    """Return half the mean square of residuals (..., N, O)."""
    return np.asarray((r**2).mean(axis=(-2, -1)) / 2)
