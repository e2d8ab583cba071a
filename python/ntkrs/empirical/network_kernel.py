"""The empirical NTK of a network as a function of two batches of inputs, with the calls of :class:`ntkrs.Kernel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ntkrs._checks import numbers
from ntkrs._checks.advice import shown

if TYPE_CHECKING:
    import numpy as np

    from ntkrs._typing import Array, ArrayLike
    from ntkrs.network import Network


class NetworkKernel:
    """One number for each pair of rows: a form of the empirical NTK, with the calls of :class:`ntkrs.Kernel`.

    Parameters
    ----------
    network : Network
        The network. It computes in its own dtype.
    get : str
        "ntk", the only kernel of a network.
    outputs : "mean", "trace", "sum" or int, optional
        The form, by default "mean".

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> from ntkrs.empirical.network_kernel import NetworkKernel
    >>> net, X = ntkrs.mlp(depth=1, width=8, outputs=2).init(3, rng=0), np.eye(3)
    >>> np.array_equal(NetworkKernel(net, "ntk", None)(X), net.ntk(X, outputs="mean"))
    True
    """

    def __init__(self, network: Network, get: str, outputs: str | int | None) -> None:
        self.network, self.outputs = network, form(network, get, outputs)
        self.dtype: np.dtype[Any] = network.dtype

    def __repr__(self) -> str:
        return f"NetworkKernel({self.network!r}, outputs={self.outputs!r})"

    def __dask_tokenize__(self) -> Any:
        """Return a token for Dask that equal networks share."""
        from dask.base import normalize_token

        return normalize_token((type(self), self.network, self.outputs))

    def __call__(self, X: ArrayLike, Z: ArrayLike | None = None, *, get: Any = "ntk", progress: Any = False) -> Array:  # noqa: ARG002
        """Return the kernel between rows of X and of Z, (N, M)."""
        return self.network.ntk(X, Z, outputs=cast("Any", self.outputs), progress=progress)

    def prepare(self, X: Array, progress: Any = False) -> Array:  # noqa: ARG002
        """Return X: a network keeps nothing that depends on inputs alone."""
        return X

    def diag(self, X: ArrayLike, get: Any = "ntk") -> Array:  # noqa: ARG002
        """Return the diagonal of the kernel on X, (N,)."""
        return self.network.diag(X, outputs=cast("Any", self.outputs))

    def operator(self, X: ArrayLike, *, get: Any = "ntk", progress: Any = False) -> Any:  # noqa: ARG002
        """Return the kernel on X as a linear operator, with columns and the diagonal."""
        return self.network.operator(X, outputs=cast("Any", self.outputs))


def form(network: Any, get: str, outputs: str | int | None) -> str | int:
    """Return the form of a network's kernel, "mean" by default.

    Raises
    ------
    TypeError, ValueError
        If ``get`` is not "ntk", or the form is unknown or more than one number for each pair of rows.
    """
    if get != "ntk":
        raise ValueError(f"get is {shown(get)}, but a network has its tangent kernel alone. Choose one by outputs=.")
    selection = numbers.selection("mean" if outputs is None else outputs, network.arch.outputs)
    if selection in ("full", "diagonal"):
        raise ValueError(
            f"outputs is {selection!r}, but one (N, N) matrix is needed: 'mean', 'trace', 'sum', or an integer"
        )
    return selection


def no_form(outputs: str | int | None) -> None:
    """Refuse ``outputs`` for the kernel of an infinitely wide network.

    Raises
    ------
    TypeError
        If it is given.
    """
    if outputs is not None:
        raise TypeError(f"outputs is {shown(outputs)}, but that is for networks: a kernel takes get=")
