"""Checks of kernel matrices, and of the arguments passed with them: targets, times, operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

import numpy as np

from ntkrs._checks import arrays, numbers
from ntkrs._checks.protocols import FiniteNetwork
from ntkrs._checks.scaling import ldexp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._checks.protocols import KernelFunction
    from ntkrs._typing import Array, ArrayLike

_Matrix = TypeVar("_Matrix", bound="NDArray[Any]")

#: The order of the tiles in which a matrix is compared with its transpose.
_TILE = 256


def kernel_function(kernel: KernelFunction) -> KernelFunction:
    """Return ``kernel`` if it can be called on inputs.

    Raises
    ------
    TypeError
        If it is a finite network, or not callable.
    """
    if isinstance(kernel, FiniteNetwork):
        raise TypeError(
            f"kernel is a {type(kernel).__name__}, but the kernel of an infinitely wide network is needed: "
            "arch.kernel(). For a kernel matrix, such as net.ntk(X), use gradient_descent_mse."
        )
    if not callable(kernel):
        raise TypeError(
            f"kernel is a {type(kernel).__name__}, but a callable kernel(X, Z, get=...) is needed, such as "
            "arch.kernel(). For kernel matrices use gradient_descent_mse."
        )
    return kernel


def kernel_entries(values: ArrayLike, name: str) -> Array:
    """Return a kernel as a finite float32 or float64 array."""
    return arrays.finite(arrays.floating(values, name), name)


def targets(y_train: ArrayLike) -> Array:
    """Return targets as a finite array, (N,) or (N, O)."""
    y = arrays.finite(arrays.floating(y_train, "y_train"), "y_train")
    if y.ndim not in (1, 2):
        raise ValueError(f"y_train has shape {y.shape}, but (N,) or (N, O) is needed")
    if y.shape[1:] == (0,):
        raise ValueError(f"y_train has shape {y.shape}, but at least 1 output is needed")
    return y


def check_square(kernel: Array, name: str = "k_train_train") -> None:
    """Check that a kernel has shape (N, N) or (N, N, O, O)."""
    if not (kernel.ndim in (2, 4) and kernel.shape[0] == kernel.shape[1] and len(set(kernel.shape[2:])) <= 1):
        raise ValueError(f"{name} has shape {kernel.shape}, but (N, N) or (N, N, O, O) is needed")


def output_blocks(kernel: Array, y_train: Array) -> int | None:
    """Check that K and Y have matching shapes. Return O if K has output blocks, otherwise None."""
    check_square(kernel)
    if kernel.shape[0] != y_train.shape[0]:
        raise ValueError(
            f"k_train_train has shape {kernel.shape}, but y_train has shape {y_train.shape}: N must be the same"
        )
    if kernel.ndim == 2:
        return None
    outputs = y_train.shape[1] if y_train.ndim == 2 else 1
    if kernel.shape[2] != outputs:
        raise ValueError(
            f"k_train_train has shape {kernel.shape}, but y_train has shape {y_train.shape}: O must be the same"
        )
    return outputs


def flatten(kernel: Array) -> Array:
    """Return a kernel as a matrix: (N, M) as it is, (N, M, O, O) as (N·O, M·O), sample by sample."""
    if kernel.ndim == 4:
        n, m, o, _ = kernel.shape
        kernel = cast("Array", kernel.transpose(0, 2, 1, 3).reshape(n * o, m * o))
    return kernel


def columns(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return values (N,) or (N, O) as right-hand sides for a matrix of order ``size``.

    These are (N, O), or (N·O, 1) if the matrix has output blocks.
    """
    if values.ndim == 2 and size == len(values):
        return values
    return values.reshape(size, 1)


def symmetric(matrix: _Matrix, exponent: int, eps: float, name: str = "k_train_train") -> _Matrix:
    """Return a matrix that is symmetric up to round-off, made exactly symmetric.

    Parameters
    ----------
    matrix : (n, n) ndarray
        The user's matrix over ``2^exponent``.
    exponent : int
        The power of two.
    eps : float
        The ε of the dtype in which the matrix was passed.
    name : str
        Its name in messages.

    Raises
    ------
    ValueError
        If it differs from its transpose by more than 1000 ε times its largest entry.
    """
    if _is_symmetric(matrix):  # always so for kernels of this package
        return matrix
    largest = max(matrix.max(initial=0.0), -matrix.min(initial=0.0))
    with np.errstate(over="ignore"):
        difference = matrix - matrix.T  # antisymmetric: its largest entry is its largest magnitude
    asymmetry = difference.max(initial=0.0)
    if asymmetry > 1e3 * eps * largest:
        single = asymmetry <= 1e3 * np.finfo(np.float32).eps * largest
        hint = (
            "Was it computed in float32? Then pass it as float32, or symmetrise it."
            if single
            else "Did you pass a test-train kernel?"
        )
        raise ValueError(
            f"{name} differs from its transpose by up to {ldexp(asymmetry, exponent):.3g}, its entries being "
            f"up to {ldexp(largest, exponent):.3g}, but a kernel on the training inputs is symmetric. {hint}"
        )
    difference *= -0.5
    difference += matrix
    return cast("_Matrix", difference)


def _is_symmetric(matrix: NDArray[Any]) -> bool:
    """Return True if a square matrix equals its transpose. Tiles of both fit into the cache together."""
    n = len(matrix)
    return all(
        np.array_equal(matrix[i : i + _TILE, j : j + _TILE], matrix[j : j + _TILE, i : i + _TILE].T)
        for i in range(0, n, _TILE)
        for j in range(i, n, _TILE)
    )


def test_kernel_shape(shape: tuple[int, ...], n: int, block: int | None) -> None:
    """Check that a test-train kernel of this shape matches the training kernel, of order n with these output blocks."""
    tail = (n,) if block is None else (n, block, block)
    if len(shape) != 1 + len(tail) or shape[1:] != tail:
        expected = ", ".join(["M", *map(str, tail)])
        raise ValueError(f"k_test_train has shape {shape}, but ({expected}) is needed to match k_train_train")


def times(t: ArrayLike | None) -> NDArray[np.float64]:
    """Return times >= 0 as float64. None stands for infinity."""
    if t is None:
        return np.array(np.inf)
    values = arrays.floating(t, "t").astype(np.float64, copy=False)
    if np.isnan(values).any() or (values < 0).any():
        bad = values[np.isnan(values) | (values < 0)].flat[0]
        hint = " Test inputs are passed by name: x_test=." if values.ndim > 1 else ""
        raise ValueError(f"t holds {bad}, but times are >= 0 (None or infinity: the end of training).{hint}")
    return values


def steps(t: ArrayLike | None) -> NDArray[np.float64]:
    """Return whole numbers of steps as float64. None stands for infinity."""
    values = times(t)
    whole = np.isinf(values) | (np.floor(values) == values)
    if not whole.all():
        raise ValueError(f"t holds {values[~whole].flat[0]}, but optimizer='gd' takes whole numbers of steps")
    return values


def broadcast(values: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    """Return a number, or an array of this shape, as an array of this shape. (N,) and (N, 1) count as the same."""
    array = arrays.finite_float64(values, name)
    if array.ndim and _in_columns(array.shape) != _in_columns(shape):
        hint = ": the outputs before training. For test inputs pass k_test_train=." if name == "fx_train_0" else ""
        raise ValueError(f"{name} has shape {array.shape}, but a number or an array of shape {shape} is needed{hint}")
    return array.reshape(shape) if array.ndim else np.broadcast_to(array, shape)


def _in_columns(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (N,) as (N, 1), which a network with one output returns. Other shapes stay as they are."""
    return (*shape, 1) if len(shape) == 1 else shape


def loss_divisor(loss_scale: str, size: int) -> int:
    """Return Z of the square loss ``1/(2Z) Σ (f − y)²``."""
    return max(size, 1) if numbers.choice(loss_scale, "loss_scale", ("mean", "sum")) == "mean" else 1


def is_operator(values: object) -> TypeGuard[Any]:
    """Return True for a SciPy ``LinearOperator`` or an object with the same interface, False for an array."""
    return hasattr(values, "matmat") and hasattr(values, "shape") and not isinstance(values, np.ndarray)
