"""The MNIST digits from their four files in IDX format, gzipped, for the other scripts of this folder."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

#: The architecture of all scripts: 3 hidden layers of ReLU, σ_w = √2, σ_b = 0.
DEPTH, SIGMA_W = 3, 2**0.5


class Digits(NamedTuple):
    """Pixels in [0, 1], (N, 784) float32, and labels (N,), of training and test digits."""

    x: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """The labels one-hot, minus 0.1, (N, 10)."""
        return np.eye(10)[self.labels] - 0.1


def load(folder: Path, rows: int | None = None) -> Digits:
    """Read the first ``rows`` training digits, and all test digits."""
    x, x_test = (idx(folder / f"{name}-images-idx3-ubyte.gz") for name in ("train", "t10k"))
    labels, labels_test = (idx(folder / f"{name}-labels-idx1-ubyte.gz") for name in ("train", "t10k"))
    return Digits(_pixels(x[:rows]), labels[:rows], _pixels(x_test), labels_test)


def idx(path: Path) -> np.ndarray:
    """Read an array of bytes in IDX format."""
    with gzip.open(path) as file:
        data = file.read()
    axes = data[3]
    shape = np.frombuffer(data, ">u4", axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _pixels(images: np.ndarray) -> np.ndarray:
    """Return images as rows of numbers in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
