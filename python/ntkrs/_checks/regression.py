"""Checks of the arguments of kernel regression: one kernel matrix, its targets, weights and ridges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs._checks import arrays, kernels, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike


#: The smallest weight beside the largest. Rows of weight w_i lose a factor of √(max(w)/w_i) in accuracy.
_LIGHTEST = 1e-10


def kernel_and_labels(k_train_train: ArrayLike, y_train: ArrayLike) -> tuple[Array, NDArray[np.float64]]:
    """Return a kernel (N, N) in its own dtype, and targets (N,) or (N, O) in float64.

    Raises
    ------
    TypeError
        If the kernel is an operator, or an argument does not hold real numbers.
    ValueError
        If the kernel is empty or not (N, N), the targets do not have N rows, or an entry is not finite.
    """
    if kernels.is_operator(k_train_train):
        raise TypeError(
            f"k_train_train is a {type(k_train_train).__name__}, but leave-one-out and evidence need an array (N, N). "
            "Pass the kernel matrix, kernel(X)."
        )
    kernel = kernels.kernel_entries(k_train_train, "k_train_train")
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or not kernel.size:
        raise ValueError(f"k_train_train has shape {kernel.shape}, but (N, N) with N >= 1 is needed")
    y = kernels.targets(y_train)
    if len(y) != len(kernel):
        raise ValueError(f"y_train has shape {y.shape}, but k_train_train has shape {kernel.shape}: N must be the same")
    return kernel, y.astype(np.float64, copy=False)


def sample_weights(values: ArrayLike | None, count: int, rows_of: str = "y_train") -> NDArray[np.float64]:
    """Return ``count`` positive weights, of the rows of the argument ``rows_of``; ones for None.

    Raises
    ------
    TypeError, ValueError
        If they are not ``count`` finite real numbers above 0, or differ by too many orders of magnitude.
    """
    if values is None:
        return np.ones(count)
    weights = arrays.finite_float64(values, "sample_weight")
    if weights.shape != (count,):
        raise ValueError(f"sample_weight has shape {weights.shape}, but ({count},) is needed to match {rows_of}")
    if weights.min() <= 0:
        at = int(weights.argmin())
        raise ValueError(f"sample_weight holds {weights[at]} at {at}, but weights are positive. Drop rows of weight 0.")
    if weights.min() < _LIGHTEST * weights.max():
        at = int(weights.argmin())
        raise ValueError(
            f"sample_weight holds {weights[at]} at {at}, below {_LIGHTEST} times the largest, {weights.max()}: "
            "round-off of heavy rows would outweigh it. Drop the row, which has no influence."
        )
    return weights


def levels(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return a number, or a vector of numbers, all finite and >= 0.

    Raises
    ------
    TypeError, ValueError
        If they are not, or have more than one axis.
    """
    if np.ndim(values) == 0:
        return np.array(numbers.nonnegative(values, name))
    levels = arrays.finite_float64(values, name)
    if levels.ndim != 1:
        raise ValueError(f"{name} has shape {levels.shape}, but a number or (R,) numbers are needed")
    if levels.min(initial=0.0) < 0:
        at = int(levels.argmin())
        raise ValueError(f"{name} holds {levels[at]} at {at}, but must be >= 0")
    return levels


def several(count: int) -> None:
    """Check that a sample can be left out.

    Raises
    ------
    ValueError
        If there is only one.
    """
    if count < 2:
        raise ValueError(
            f"k_train_train has shape ({count}, {count}), but at least 2 samples are needed to leave one out"
        )
