"""The outputs of a finite network, and their Jacobian."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ntkrs._checks import arrays

if TYPE_CHECKING:
    from ntkrs._typing import Array, ArrayLike
    from ntkrs.network._state import NetworkState

#: The number of samples in one forward pass, which holds the activations of all their layers.
_FORWARD_ROWS = 4096


def forward(state: NetworkState, X: ArrayLike) -> Array:
    """Return f(x) for every row x of X, (N, O)."""
    x = state.batch(X, "X")
    out = arrays.output(None, (len(x), state.arch.outputs), state.dtype, [], "the network's output")
    if len(x) > _FORWARD_ROWS:
        x = arrays.finite(arrays.copied(x), "X")  # a copy: other threads may change X between chunks
    for start in range(0, max(len(x), 1), _FORWARD_ROWS):
        rows = slice(start, start + _FORWARD_ROWS)
        state.core.forward((x[rows], out[rows]))
    return out


def jacobian(state: NetworkState, X: ArrayLike) -> Array:
    """Return the derivatives of the outputs with respect to θ, (N, O, P)."""
    x = state.batch(X, "X")
    out = arrays.output(None, (len(x), state.arch.outputs, state.theta.size), state.dtype, [], "the Jacobian")
    state.core.jacobian((x, out))
    return out
