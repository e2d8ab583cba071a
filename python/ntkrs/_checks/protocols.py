"""Kernels and networks as the functions that take them know them: by what they can do, not by their class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ntkrs._typing import Array, ArrayLike


class KernelFunction(Protocol):
    """A function of two batches of inputs, such as ``arch.kernel()``, that returns one kernel matrix or several."""

    def __call__(self, X: ArrayLike, Z: ArrayLike | None = None, /, *, get: Any) -> Any:
        """Return the kernel named ``get``, (N, M), or one for each of its names."""


@runtime_checkable
class FiniteNetwork(Protocol):
    """A network with parameters, whose tangent kernel is an array and not a function of ``get``."""

    def ntk(self, X: ArrayLike, /) -> Array:
        """Return the empirical NTK."""

    def with_parameters(self, theta: ArrayLike, /) -> Any:
        """Return the network with other parameters."""
