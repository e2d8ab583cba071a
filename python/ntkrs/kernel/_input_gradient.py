"""Gradients of kernels with respect to their inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ntkrs._checks import arrays, memory
from ntkrs._runtime.progress import reporter
from ntkrs.kernel._error_bound import ErrorBound, warn_of_truncation
from ntkrs.kernel._gram import arrays_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ntkrs._core import InfiniteKernel
    from ntkrs._typing import Array, ArrayLike, Progress
    from ntkrs.kernel._gram import Side


def input_gradients(
    core: Callable[[Side], InfiniteKernel],
    inputs: tuple[Side, Side | None],
    names: Sequence[str],
    weights: ArrayLike,
    progress: Progress,
) -> list[Array]:
    """Return ``Σ_j W_ij ∂₁K(x_i, z_j)`` for each kernel in ``names``: (N, d), or (N, d, O) for weights (M, O).

    ``core`` returns the core's kernel for given inputs.

    Raises
    ------
    ValueError, TypeError, MemoryError
        As :meth:`ntkrs.kernel.Kernel.input_gradient`.
    """
    x, z = arrays_of(inputs)
    factors, of_pairs, shape = _weights(weights, len(x), len(x if z is None else z))
    sizes = (len(x), x.shape[1], *shape)
    # The core sums in float64, and the arrays of both are there at once.
    memory.require(
        len(names) * math.prod(sizes) * (8 + x.dtype.itemsize),
        f"a gradient of shape {sizes} and dtype {x.dtype} for {' and '.join(names)}, with its sums in float64,",
        "Compute it in blocks of rows of X, or of columns of weights.",
    )
    gradients, bound = core(inputs[0]).input_gradient(inputs, (factors, of_pairs), list(names), reporter(progress))
    warn_of_truncation(ErrorBound(*bound), x.dtype)
    return [gradient.reshape(sizes) for gradient in gradients]


def _weights(weights: ArrayLike, rows: int, columns: int) -> tuple[NDArray[np.float64], bool, tuple[int, ...]]:
    """Return the weights as a matrix, True if there is one for each pair, and the shape of their results, () or (O,).

    Raises
    ------
    ValueError
        If the weights are not finite, or have none of the three shapes.
    TypeError
        If they are not real numbers.
    """
    factors = arrays.finite_float64(weights, "weights")
    if factors.shape == (rows, columns):
        return factors, True, ()
    if factors.shape == (columns,):
        return factors.reshape(columns, 1), False, ()
    if factors.ndim == 2 and len(factors) == columns:
        return factors, False, factors.shape[1:]
    raise ValueError(
        f"weights has shape {factors.shape}, but {(rows, columns)} is needed, one for each pair of rows of X and Z, "
        f"or {(columns,)} or ({columns}, O), one for each row of Z"
    )
