"""Products of the Jacobian and of the empirical NTK with vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import arrays, chunks, memory, numbers
from ntkrs.activations import Activation
from ntkrs.network._forward import forward
from ntkrs.network._ntk import ntk
from ntkrs.network.second_derivative import SecondDerivative

if TYPE_CHECKING:
    from collections.abc import Callable

    from ntkrs._typing import Array, ArrayLike, Outputs
    from ntkrs.network._state import NetworkState

#: The largest number of entries in a block of rows of the kernel, for products that form the kernel.
_BLOCK = 2**25


def jvp(state: NetworkState, X: ArrayLike, v: ArrayLike) -> Array:
    """Return J v, as :meth:`ntkrs.Network.jvp` describes it."""
    x = state.batch(X, "X")
    directions, single = _vectors(state, v, (state.theta.size,), "v", "(P,)")
    shape = (len(directions), len(x), state.arch.outputs)
    out = arrays.output(None, shape, state.dtype, [], "J v")
    state.core.jvp((x, directions, out))
    return out[0] if single else out


def vjp(state: NetworkState, X: ArrayLike, u: ArrayLike) -> Array:
    """Return Jᵀ u, as :meth:`ntkrs.Network.vjp` describes it."""
    x = state.batch(X, "X")
    weights, single = _vectors(state, u, (len(x), state.arch.outputs), "u", "(N, O)")
    out = arrays.output(None, (len(weights), state.theta.size), state.dtype, [], "Jᵀ u")
    _require(state, len(x))
    state.core.vjp((x, weights, out))
    return out[0] if single else out


def operator(state: NetworkState, X: ArrayLike, outputs: Outputs) -> Any:
    """Return the empirical NTK as a linear operator, as :meth:`ntkrs.Network.operator` describes it."""
    from ntkrs.network._operator import NetworkOperator  # SciPy is slow to import

    selection = numbers.selection(outputs, state.arch.outputs)
    x = arrays.finite(arrays.copied(state.batch(X, "X")), "X")
    products = _Products(state, x, selection)
    return NetworkOperator(state, x, selection, products.times, products.size)


def linearize(state: NetworkState, order: int) -> Callable[[ArrayLike, ArrayLike], Array]:
    """Return the Taylor polynomial around θ, as :meth:`ntkrs.Network.linearize` describes it."""
    if numbers.integer(order, "order") not in (1, 2):
        raise ValueError(f"order is {order}, but must be 1, the linearization, or 2")
    functions = [activation for activation in state.arch.activations if isinstance(activation, Activation)]
    if order == 2 and functions:
        raise ValueError(
            f"{functions[0]!r} has no second derivative, which order=2 needs. Use another class of ntkrs.activations."
        )

    def f_lin(X: ArrayLike, theta: ArrayLike) -> Array:
        values, _ = _vectors(state, theta, (state.theta.size,), "theta", "(P,)")
        directions = chunks.subtracted(values, state.theta)
        result = jvp(state, X, directions)
        result += forward(state, X)
        if order == 2:
            result += _half_curvature(state, X, directions)
        return result[0] if np.ndim(theta) == 1 else result

    return f_lin


def _half_curvature(state: NetworkState, X: ArrayLike, directions: Array) -> Array:
    """Return ½ D²f(d, d) for K directions (K, P), (K, N, O). It is computed in float64."""
    x = arrays.finite(chunks.converted(state.batch(X, "X"), np.float64), "X")
    double = state.with_parameters(chunks.converted(state.theta, np.float64))
    second = SecondDerivative(double, x)
    out = np.empty((len(directions), len(x), state.arch.outputs), state.dtype)
    for direction, target in zip(directions, out, strict=True):
        tangent = second.tangent(chunks.converted(direction, np.float64))
        target[:] = second.outputs(tangent, tangent) / 2
    return out


class _Products:
    """Products of one form of the kernel with the columns of a matrix: Θ v, without Θ or with blocks of its rows."""

    def __init__(self, state: NetworkState, x: Array, selection: str | int) -> None:
        self._state, self._x, self._selection = state, x, selection
        self._outputs = state.arch.outputs
        self.size = len(x) * (self._outputs if selection in ("full", "diagonal") else 1)

    def times(self, v: Any) -> Any:
        """Return Θ v for a matrix v (size, r)."""
        columns = arrays.finite(arrays.converted(arrays.floating(v, "v"), self._state.dtype, "v"), "v")
        if self._by_blocks(columns.shape[1]):
            return self._blocks(columns)
        products = [self._column(column) for column in columns.T]
        return np.stack(products, axis=1) if products else np.zeros_like(columns)

    @property
    def _rows(self) -> int:
        """The number of samples in a block of rows of the kernel."""
        per_sample = self.size // max(1, len(self._x))
        return max(1, _BLOCK // max(1, self.size * per_sample))

    def _by_blocks(self, count: int) -> bool:
        """Return True if forming the kernel costs less than ``count`` vector products."""
        n, parameters, selection = len(self._x), self._state.theta.size, self._selection
        singles = self._outputs if selection in ("trace", "mean", "diagonal") else 1
        units = self._state.in_features + sum(dense.width for dense in self._state.arch.dense)
        passes = 4 * n * parameters * (self._outputs if selection == "full" else singles)
        products = 2 * n * n * units * (self._outputs**2 if selection == "full" else singles)
        return 12 * n * parameters * singles * count > products + passes * (1 + -(-n // self._rows))

    def _blocks(self, v: Array) -> Any:
        """Return Θ v, forming Θ in blocks of rows."""
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
        """Return the rows of the kernel that belong to the samples from ``start`` to ``start + rows``."""
        others = None if rows >= len(self._x) else self._x
        selection: Any = self._selection
        return ntk(self._state, self._x[start : start + rows], others, outputs=selection, progress=False)

    def _column(self, v: Array) -> Any:
        """Return Θ v for one vector v, as products J (Jᵀ u) with weights u of the outputs."""
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
        """Return Θ_mm v for output m."""
        u: Any = np.zeros((len(self._x), self._outputs), self._state.dtype)
        u[:, m] = v
        return self._both(u)[:, m]

    def _both(self, u: Array) -> Array:
        """Return J (Jᵀ u)."""
        return jvp(self._state, self._x, vjp(self._state, self._x, u))


def _vectors(
    state: NetworkState, values: ArrayLike, shape: tuple[int, ...], name: str, letters: str
) -> tuple[Array, bool]:
    """Return K vectors, each of the given shape, and True if ``values`` was a single vector: K = 1."""
    array = arrays.finite(arrays.converted(arrays.floating(values, name), state.dtype, name), name)
    single = array.ndim == len(shape)
    if array.shape[array.ndim - len(shape) :] != shape or array.ndim not in (len(shape), len(shape) + 1):
        raise ValueError(f"{name} has shape {array.shape}, but {letters} = {shape} is needed, or several of them")
    return (array[None] if single else array), single


def _require(state: NetworkState, samples: int) -> None:
    """Raise MemoryError unless the activations and deltas of that many samples fit in memory."""
    needed = samples * state.values_per_sample() * state.dtype.itemsize
    memory.require(needed, f"a gradient over {samples} samples", "Sum gradients over blocks of rows of X.")
