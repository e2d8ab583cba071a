"""Products of the Jacobian and the kernel with vectors: methods of :class:`ntkrs.Network`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import arrays, memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from ntkrs._typing import Array, ArrayLike, Outputs
    from ntkrs.network import Network

#: How many numbers of a kernel's row block are held at once, where whole blocks are cheaper than vector products.
_BLOCK = 2**25


def jvp(self: Network, X: ArrayLike, v: ArrayLike) -> Array:
    """Return J v, the derivative of the outputs along a direction of the parameters, without the Jacobian.

    ::

        (J v)_im = Σ_p ∂f_m(x_i)/∂θ_p v_p

    Parameters
    ----------
    X : (N, n_0) array_like
        Inputs.
    v : (P,) or (K, P) array_like
        One direction or K of them, laid out as :attr:`parameters`.

    Returns
    -------
    (N, O) or (K, N, O) ndarray

    Raises
    ------
    ValueError, TypeError
        If an argument has another shape, holds NaN or an infinity, or is not made of real numbers.

    Notes
    -----
    (2 + 4 K) N P flops; the activations of a band of samples are held, and K tangents of them.
    """
    x = self._batch(X, "X")
    directions, single = _vectors(self, v, (self.parameters.size,), "v", "(P,)")
    shape = (len(directions), len(x), self.arch.outputs)
    out = arrays.output(None, shape, self.dtype, [], "J v")
    self._core.jvp((x, directions, out))
    return out[0] if single else out


def vjp(self: Network, X: ArrayLike, u: ArrayLike) -> Array:
    """Return Jᵀ u, the gradient of a weighted sum of the outputs, without the Jacobian.

    ::

        (Jᵀ u)_p = Σ_im u_im ∂f_m(x_i)/∂θ_p

    Parameters
    ----------
    X : (N, n_0) array_like
        Inputs.
    u : (N, O) or (K, N, O) array_like
        One set of weights or K of them.

    Returns
    -------
    (P,) or (K, P) ndarray
        Laid out as :attr:`parameters`.

    Raises
    ------
    ValueError, TypeError
        As :meth:`jvp`.

    Notes
    -----
    6 K N P flops. The activations and deltas of all samples are held.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> net = mlp(depth=1, width=8, outputs=2).init(3, rng=0)
    >>> X, u, v = np.eye(3), np.ones((3, 2)), net.parameters
    >>> bool(np.isclose(np.sum(u * net.jvp(X, v)), net.vjp(X, u) @ v))  # ⟨u, J v⟩ = ⟨Jᵀ u, v⟩
    True
    """
    x = self._batch(X, "X")
    weights, single = _vectors(self, u, (len(x), self.arch.outputs), "u", "(N, O)")
    out = arrays.output(None, (len(weights), self.parameters.size), self.dtype, [], "Jᵀ u")
    _require(self, len(x))
    self._core.vjp((x, weights, out))
    return out[0] if single else out


def operator(self: Network, X: ArrayLike, outputs: Outputs = "full") -> Any:
    """Return the empirical NTK on X as a linear operator: Θ v without Θ.

    ::

        Θ v = J (Jᵀ v)

    Parameters
    ----------
    X : (N, n_0) array_like
        Inputs.
    outputs : str or int
        As for :meth:`ntk`. ``"full"`` and ``"diagonal"``, whose outputs do not mix, act on N O numbers, of which
        sample i and output m have index ``i * O + m``; the others on N.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Symmetric. Its ``matmat`` takes vector products or, for many columns, blocks of rows of the kernel, whichever
        is cheaper.

    Raises
    ------
    ValueError, TypeError
        As :meth:`ntk`.

    Notes
    -----
    12 N P flops for each product (O times as many for ``"trace"``, ``"mean"`` and ``"diagonal"``), and no N² memory.

    References
    ----------
    Novak, Sohl-Dickstein, Schoenholz (2022).
    """
    from scipy.sparse.linalg import LinearOperator

    selection = self._selection(outputs)
    x = arrays.finite(self._batch(X, "X").copy(), "X")
    products = _Products(self, x, selection)
    return LinearOperator(
        (products.size, products.size),
        matvec=lambda v: products.times(v.reshape(-1, 1))[:, 0],
        matmat=products.times,
        rmatvec=lambda v: products.times(v.reshape(-1, 1))[:, 0],
        rmatmat=products.times,
        dtype=self.dtype,
    )


def linearize(self: Network) -> Callable[[ArrayLike, ArrayLike], Array]:
    """Return the network's linearization in its parameters, around its own θ_0.

    ::

        f_lin(x; θ) = f(x; θ_0) + J(x) (θ − θ_0)

    Returns
    -------
    callable
        ``(X, theta) -> (N, O) ndarray``, for inputs (N, n_0) and parameters (P,); or (K, P), and then (K, N, O).

    References
    ----------
    Lee, Xiao et al. (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> net = mlp(depth=1, width=8, outputs=2).init(3, rng=0)
    >>> bool(np.array_equal(net.linearize()(np.eye(3), net.parameters), net(np.eye(3))))
    True
    """

    def f_lin(X: ArrayLike, theta: ArrayLike) -> Array:
        values, _ = _vectors(self, theta, (self.parameters.size,), "theta", "(P,)")
        result = self.jvp(X, values - self.parameters)
        result += self(X)
        return result[0] if np.ndim(theta) == 1 else result

    return f_lin


class _Products:
    """Products of one form of the kernel with the columns of a matrix."""

    def __init__(self, net: Network, x: Array, selection: str | int) -> None:
        self._net, self._x, self._selection = net, x, selection
        self._outputs = net.arch.outputs
        self.size = len(x) * (self._outputs if selection in ("full", "diagonal") else 1)

    def times(self, v: Any) -> Any:
        """Return Θ v for v (size, r)."""
        columns = arrays.finite(arrays.converted(arrays.floating(v, "v"), self._net.dtype, "v"), "v")
        if self._by_blocks(columns.shape[1]):
            return self._blocks(columns)
        products = [self._column(column) for column in columns.T]
        return np.stack(products, axis=1) if products else np.zeros_like(columns)

    @property
    def _rows(self) -> int:
        """How many samples the rows of one block belong to."""
        per_sample = self.size // max(1, len(self._x))
        return max(1, _BLOCK // max(1, self.size * per_sample))

    def _by_blocks(self, count: int) -> bool:
        """Whether the kernel itself costs less than vector products."""
        n, parameters, selection = len(self._x), self._net.parameters.size, self._selection
        singles = self._outputs if selection in ("trace", "mean", "diagonal") else 1
        units = self._net.in_features + sum(dense.width for dense in self._net.arch.dense)
        passes = 4 * n * parameters * (self._outputs if selection == "full" else singles)
        products = 2 * n * n * units * (self._outputs**2 if selection == "full" else singles)
        return 12 * n * parameters * singles * count > products + passes * (1 + -(-n // self._rows))

    def _blocks(self, v: Array) -> Any:
        n, out, rows = len(self._x), np.empty_like(v), self._rows
        per_sample = self.size // max(n, 1)
        for start in range(0, n, rows):
            block = self._block(start, rows)
            target = out[start * per_sample : (start + rows) * per_sample]
            if self._selection == "diagonal":
                by_output = v.reshape(n, self._outputs, -1)
                target[:] = np.einsum("ijm,jmr->imr", block, by_output).reshape(target.shape)
            else:
                matrix = block.transpose(0, 2, 1, 3) if self._selection == "full" else block
                np.matmul(matrix.reshape(-1, self.size), v, out=target)
        return out

    def _block(self, start: int, rows: int) -> Any:
        others = None if rows >= len(self._x) else self._x
        selection: Any = self._selection
        return self._net.ntk(self._x[start : start + rows], others, outputs=selection, progress=False)

    def _column(self, v: Array) -> Any:
        """Return J (Jᵀ u) for the weights u of the outputs that make v, and back."""
        n, o, selection = len(self._x), self._outputs, self._selection
        if selection in ("trace", "mean", "diagonal"):
            values: Any = v.reshape(n, o) if selection == "diagonal" else np.tile(v[:, None], o)
            parts = [self._single(values[:, m], m) for m in range(o)]
            if selection == "diagonal":
                return np.stack(parts, axis=1).ravel()
            return sum(parts) / (o if selection == "mean" else 1)
        if isinstance(selection, int):
            return self._single(v, selection)
        if selection == "sum":
            weights: Any = np.tile(v[:, None], o)
            return self._both(weights).sum(1) / o
        return self._both(v.reshape(n, o)).ravel()

    def _single(self, v: Array, m: int) -> Any:
        u: Any = np.zeros((len(self._x), self._outputs), self._net.dtype)
        u[:, m] = v
        return self._both(u)[:, m]

    def _both(self, u: Array) -> Array:
        return self._net.jvp(self._x, self._net.vjp(self._x, u))


def _vectors(net: Network, values: ArrayLike, shape: tuple[int, ...], name: str, letters: str) -> tuple[Array, bool]:
    """One vector of this shape or several, as several; and whether it was one."""
    array = arrays.finite(arrays.converted(arrays.floating(values, name), net.dtype, name), name)
    single = array.ndim == len(shape)
    if array.shape[array.ndim - len(shape) :] != shape or array.ndim not in (len(shape), len(shape) + 1):
        raise ValueError(f"{name} has shape {array.shape}, but {letters} = {shape} is needed, or several of them")
    return (array[None] if single else array), single


def _require(net: Network, samples: int) -> None:
    needed = samples * net._swept() * net.dtype.itemsize  # noqa: SLF001 of a method of it
    memory.require(needed, f"a gradient over {samples} samples", "Sum gradients over blocks of rows of X.")
