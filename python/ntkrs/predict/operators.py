"""Products with kernels that are arrays or linear operators."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import kernels
from ntkrs._checks.scaling import exponent_of, ldexp, scaled
from ntkrs.predict.modes import kernel_modes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike
    from ntkrs.predict.modes import Modes

#: The number of rows of a float32 kernel that are converted at once.
_ROWS = 1024


class Products:
    """The map ``V ↦ (K + rI) V / 2^exponent`` in float64, where K is an array of either dtype or an operator.

    Attributes
    ----------
    size : int
        Order of the matrix: N, or N·O.
    eps : float
        ε of K's dtype.
    product_eps : float
        ε of the products: ``eps`` for an operator, and ε of float64 for an array.
    exponent : int
        The power of 2 that brings products with vectors of length 1 near 1.
    dtype : dtype
        The dtype of K.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.predict.operators import Products
    >>> products = Products(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> np.ldexp(products(np.array([[1.0], [-1.0]])), products.exponent)
    array([[ 1.],
           [-1.]])
    """

    def __init__(self, kernel: ArrayLike, diag_reg: float = 0.0, *, absolute: bool = False) -> None:
        self._matrix: Any = None
        self._operator: Any = None
        if kernels.is_operator(kernel):
            self._operator = kernel
            shape, self.dtype = kernel.shape, np.dtype(kernel.dtype)
            if len(shape) != 2 or shape[0] != shape[1]:
                raise ValueError(f"k_train_train is an operator of shape {shape}, but a square one is needed")
            if self.dtype.kind != "f" or self.dtype.itemsize > 8:
                raise TypeError(f"k_train_train is an operator of dtype {self.dtype}, but float32 or float64 is needed")
        else:
            entries = kernels.kernel_entries(kernel, "k_train_train")
            kernels.check_square(entries)
            self._matrix = kernels.flatten(entries)
            self.dtype = entries.dtype
        self.size = int((self._matrix if self._operator is None else self._operator).shape[0])
        self.eps = float(np.finfo(self.dtype).eps)
        self.product_eps = self.eps if self._matrix is None else float(np.finfo(np.float64).eps)
        self.exponent = self._scale()
        self._regularizer = self._regularization(diag_reg, absolute=absolute)

    def __call__(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(K + rI) vectors / 2^exponent``."""
        change = self._apply(vectors)
        np.ldexp(change, -self.exponent, out=change)
        return change + self._regularizer * vectors if self._regularizer else change

    @property
    def dense(self) -> bool:
        """True for an array, False for an operator."""
        return self._matrix is not None

    @property
    def operator(self) -> Any:
        """The operator, or None for an array."""
        return self._operator

    @property
    def ridge(self) -> float:
        """r, infinite if it exceeds the range of float64."""
        return float(ldexp(self._regularizer, self.exponent))

    def modes(self) -> Modes:
        """Return the eigenmodes of an array without its regularizer, over the same ``2^exponent``.

        Raises
        ------
        ntkrs.IndefiniteKernelError
            If it has an eigenvalue that is negative beyond round-off.
        """
        modes = kernel_modes(self._matrix.astype(np.float64), self.eps, 0.0, absolute=False)
        shift = modes.exponent - self.exponent
        values, cutoff = np.ldexp(modes.scaled, shift), float(np.ldexp(modes.scaled_cutoff, shift))
        return replace(modes, scaled=values, scaled_cutoff=cutoff, exponent=self.exponent)

    def check_symmetric(self) -> None:
        """Refuse an array that is far from symmetric, by comparing a product with it and one with its transpose.

        Raises
        ------
        ValueError
            If the products differ by more than round-off.
        """
        if self._matrix is None or self.size == 0:
            return
        probe = self._probe()
        image, mirrored = self._apply(probe), apply_rows(self._matrix.T, probe)
        image, mirrored = np.ldexp(image, -self.exponent), np.ldexp(mirrored, -self.exponent)
        if np.linalg.norm(image - mirrored) > 1e3 * self.eps * self.size**0.5 * max(1.0, np.linalg.norm(image)):
            raise ValueError(
                "k_train_train differs from its transpose, but a kernel on the training inputs is symmetric. "
                "Did you pass a test-train kernel?"
            )

    def _apply(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``K vectors``, and refuse an operator whose product is not finite."""
        if self._operator is None:
            return apply_rows(self._matrix, vectors)
        product = np.asarray(self._operator.matmat(vectors)).astype(np.float64)
        if not np.isfinite(product).all():
            raise ValueError("k_train_train, an operator, returned NaN or an infinity for a finite vector")
        return product

    def _probe(self) -> NDArray[np.float64]:
        """Return a random vector of length at most 1, the same in every call."""
        probe = np.random.default_rng(0).standard_normal((self.size, 1))
        return probe / max(float(np.linalg.norm(probe)), 1.0)

    def _scale(self) -> int:
        """Return the exponent of the largest entry, or for an operator that of a product with a random vector."""
        if self._matrix is not None:
            return exponent_of(self._matrix)
        return exponent_of(self._apply(self._probe()) * self.size**0.5)

    def _regularization(self, diag_reg: float, *, absolute: bool) -> float:
        """Return r over ``2^exponent``. An absolute r that exceeds K raises the exponent first."""
        if diag_reg == 0 or self.size == 0:
            return 0.0
        if absolute:
            self.exponent = max(self.exponent, exponent_of(np.array(diag_reg)))
            return float(np.ldexp(diag_reg, -self.exponent))
        kernel = self._operator if self._matrix is None else self._matrix
        if not hasattr(kernel, "diagonal"):
            raise ValueError(
                "diag_reg is relative to the trace, which an operator does not tell. "
                "Pass it times the mean of the diagonal, with diag_reg_absolute_scale=True."
            )
        return diag_reg * float(np.ldexp(kernel.diagonal().astype(np.float64), -self.exponent).mean())


def apply_rows(matrix: NDArray[Any], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``matrix @ vectors`` in float64, without a float64 copy of a float32 matrix."""
    if matrix.dtype == np.float64:
        return np.asarray(matrix @ vectors)
    result = np.empty((len(matrix), vectors.shape[1]))
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        result[rows] = matrix[rows].astype(np.float64) @ vectors
    return result


def operator_blocks(kernel: ArrayLike, size: int, y_train: Array) -> int | None:
    """Check that a kernel of this order and Y fit; return O if it has output blocks."""
    if not kernels.is_operator(kernel):
        return kernels.output_blocks(np.asarray(kernel), y_train)
    if size == len(y_train):
        return None
    if size != y_train.size:
        raise ValueError(
            f"k_train_train is an operator of shape {(size, size)}, but y_train has shape {y_train.shape}: N or N·O "
            "must be the same"
        )
    return int(y_train.shape[1])


def test_rows(k_test_train: ArrayLike, n: int, block: int | None, size: int) -> tuple[Any, float, int]:
    """Return the test-train kernel over ``2^exponent`` as a matrix or operator, ε of its dtype, and the exponent."""
    if kernels.is_operator(k_test_train):
        rows, columns = k_test_train.shape
        if columns != size or rows % (block or 1):
            raise ValueError(
                f"k_test_train is an operator of shape {(rows, columns)}, but (M, {size}) is needed to match "
                "k_train_train"
            )
        return k_test_train, float(np.finfo(k_test_train.dtype).eps), 0
    kernel = kernels.kernel_entries(k_test_train, "k_test_train")
    kernels.test_kernel_shape(kernel.shape, n, block)
    matrix, exponent = scaled(kernels.flatten(kernel).astype(np.float64, copy=False))
    return matrix, float(np.finfo(kernel.dtype).eps), exponent
