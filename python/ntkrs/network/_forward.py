"""The outputs of a finite network, their Jacobians, and the values of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ntkrs._checks import arrays, memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ntkrs._typing import Array, ArrayLike
    from ntkrs.network._state import NetworkState

#: The number of samples in one forward pass, which holds the activations of all their layers. With backward passes, it
#: is the number of samples times the number of outputs.
_FORWARD_ROWS = 4096


def forward(state: NetworkState, X: ArrayLike) -> Array:
    """Return f(x) for every row x of X, (N, O)."""
    x = state.batch(X, "X")
    out = arrays.output(None, (len(x), state.arch.outputs), state.dtype, [], "the network's output")
    for rows, part in _parts(x, _FORWARD_ROWS):
        state.core.forward((part, out[rows]))
    return out


def layers(state: NetworkState, X: ArrayLike) -> tuple[tuple[Array, Array], ...]:
    """Return the pre-activations and activations of every hidden layer, each (N, n_l)."""
    x = state.batch(X, "X")
    widths = [dense.width for dense in state.arch.dense[:-1]]
    what = f"the pre-activations and activations of {sum(widths)} hidden units on {len(x)} samples"
    memory.require(2 * len(x) * sum(widths) * state.dtype.itemsize, what, "Pass fewer rows of X.")
    pre, post = ([arrays.empty((len(x), width), state.dtype) for width in widths] for _ in range(2))
    for rows, part in _parts(x, _FORWARD_ROWS):
        state.core.layers((part, [values[rows] for values in pre], [values[rows] for values in post]))
    return tuple(zip(pre, post, strict=True))


def input_jacobian(state: NetworkState, X: ArrayLike) -> Array:
    """Return the derivatives of the outputs with respect to the inputs, (N, O, n_0)."""
    x = state.batch(X, "X")
    shape = (len(x), state.arch.outputs, state.in_features)
    out = arrays.output(None, shape, state.dtype, [], "the Jacobian with respect to the inputs")
    for rows, part in _parts(x, max(1, _FORWARD_ROWS // state.arch.outputs)):
        state.core.input_jacobian((part, out[rows]))
    return out


def _parts(x: Array, size: int) -> Iterator[tuple[slice, Array]]:
    """Yield ``size`` rows at a time, and their places. There is one part if there are no rows."""
    if len(x) > size:
        x = arrays.finite(arrays.copied(x), "X")  # a copy: other threads may change X between parts
    for start in range(0, max(len(x), 1), size):
        rows = slice(start, start + size)
        yield rows, x[rows]


def jacobian(state: NetworkState, X: ArrayLike) -> Array:
    """Return the derivatives of the outputs with respect to θ, (N, O, P)."""
    x = state.batch(X, "X")
    out = arrays.output(None, (len(x), state.arch.outputs, state.theta.size), state.dtype, [], "the Jacobian")
    state.core.jacobian((x, out))
    return out
