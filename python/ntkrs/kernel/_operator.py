"""Kernels as linear operators: products with a kernel matrix that is never formed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs._checks import arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from scipy.sparse.linalg import LinearOperator

    from ntkrs._typing import Array, ArrayLike, Report, Wanted
    from ntkrs.kernel._gram import Core


def linear_operator(core: Core, x: Array, z: Array | None, wanted: Wanted, report: Report | None) -> LinearOperator:
    """Return ``K(x, z)`` as a SciPy linear operator. It keeps references to both arrays."""
    from scipy.sparse.linalg import LinearOperator

    def times(rows: Array, columns: Array | None) -> Callable[[ArrayLike], Array]:
        def product(vectors: ArrayLike) -> Array:
            values = arrays.finite_float64(vectors, "V")
            inputs, matrix = (rows, columns), values.reshape(len(values), *values.shape[1:] or (1,))
            result = core.multiply(inputs, matrix, wanted, report)
            return narrowed(result.reshape(len(rows), *values.shape[1:]), rows.dtype)

        return product

    forward = times(x, z)
    backward = forward if z is None else times(z, x)
    shape = (len(x), len(x if z is None else z))
    return LinearOperator(shape, matvec=forward, rmatvec=backward, matmat=forward, rmatmat=backward, dtype=x.dtype)


def narrowed(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    """Return float64 values in the dtype of the inputs."""
    with np.errstate(over="ignore"):  # values beyond the range of float32 become infinite, as in the kernel
        return cast("Array", values.astype(dtype, copy=False))
