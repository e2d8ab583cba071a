"""Protocols of kernels and networks, for functions that take them without importing their classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike


class KernelFunction(Protocol):
    """A function of two batches of inputs that returns one or more kernel matrices, such as ``arch.kernel()``."""

    def __call__(self, X: ArrayLike, Z: ArrayLike | None = None, /, *, get: Any) -> Any:
        """Return the kernel named ``get``, (N, M), or one kernel for each name in ``get``."""


@runtime_checkable
class PreparingKernel(KernelFunction, Protocol):
    """A kernel that keeps what it computes from inputs alone, such as ``arch.kernel()``.

    Attributes
    ----------
    takes_images : bool
        True if inputs are images (N, H, W, C), False if they are rows (N, n_0).
    """

    @property
    def takes_images(self) -> bool:
        """True if inputs are images."""

    def prepare(self, X: ArrayLike, progress: Any = None) -> Any:
        """Return prepared inputs, which the kernel takes in place of X. Their ``array`` is a read-only copy of X."""


@runtime_checkable
class FiniteNetwork(Protocol):
    """A network with parameters, such as ``arch.init(n_0)``, whose tangent kernel is the empirical NTK."""

    def ntk(self, X: ArrayLike, /) -> Array:
        """Return the empirical NTK."""

    def with_parameters(self, theta: ArrayLike, /) -> Any:
        """Return the network with other parameters."""


@runtime_checkable
class KernelColumns(Protocol):
    """A kernel matrix (N, N) that is read by columns, such as ``kernel.operator(X)`` or a Gram matrix.

    Attributes
    ----------
    shape : (int, int)
        (N, N).
    dtype : dtype
        float32 or float64.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def columns(self, indices: ArrayLike, /) -> Array:
        """Return the columns ``K[:, indices]``, (N, m)."""

    def diagonal(self) -> Array:
        """Return the diagonal, (N,)."""


@runtime_checkable
class KernelProducts(KernelColumns, Protocol):
    """A kernel matrix (N, N) whose products are summed in float64."""

    def product(self, vectors: ArrayLike, /) -> NDArray[np.float64]:
        """Return ``K V`` in float64, (N, r), for V (N, r)."""


@runtime_checkable
class StoredKernel(KernelProducts, Protocol):
    """A kernel matrix (N, N) in memory or in a file, such as ``ntkrs.gram(kernel, X)``.

    Attributes
    ----------
    nbytes : int
        The number of bytes that it takes.
    """

    nbytes: int

    def rows(self, start: int, stop: int, /) -> Array:
        """Return the rows from ``start`` to ``stop``, (stop − start, N)."""

    def __array__(self, *args: Any, **kwargs: Any) -> Array:
        """Return the matrix."""
