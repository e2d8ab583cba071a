"""How far from linear a network is where it starts: Chizat, Oyallon and Bach's κ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ntkrs import _numbers
from ntkrs.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

    Vector = NDArray[np.float64]

State = TypeVar("State")

#: Activations without a second derivative somewhere.
_KINKED = frozenset({"relu", "leaky_relu", "abs", "sign", "elu"})


def kappa(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    rng: int | np.random.Generator = 0,
    rtol: float = 1e-3,
    max_iterations: int = 200,
) -> float:
    """Return κ, the relative scale of the second derivative: where it is small, training is lazy.

    ::

        κ = ‖f − y‖ · ‖D²f‖_op / ‖Df‖²_op

    with f and y as vectors of N O numbers, Df = J and ‖Df‖²_op = λ_max(Θ), and ‖D²f‖_op the largest ``⟨u, D²f(a, b)⟩``
    over unit vectors u, a and b.

    Parameters
    ----------
    net : Network
        The network, whose activations have second derivatives. It is taken in float64.
    X : (N, n_0) array_like
        Inputs.
    y : (N, O) or (N,) array_like
        Targets; (N,) for one output.
    rng : int or numpy.random.Generator
        For the vectors that the iterations start from.
    rtol : float
        Iterations end when the last one changed the norm by less than this, relatively.
    max_iterations : int
        Of each power iteration.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit, or an activation has a kink.
    RuntimeError
        If an iteration does not converge.

    Notes
    -----
    ‖D²f‖_op by alternating power iteration: u, a and b in turn become the best ones for the other two. It never falls,
    and ends at a local maximum: a lower bound. Hessian-vector products are differences of two gradients, exact to some
    8 digits; each iteration takes two gradients and two products forward, 24 N P flops.

    References
    ----------
    Chizat, Oyallon, Bach (2019), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> X, y = np.eye(3), np.zeros(3)
    >>> kappa(mlp(depth=0, width=1, outputs=1).init(3), X, y)  # linear in θ
    0.0
    """
    if not isinstance(net, Network):
        raise TypeError(f"net is {net!r}, but a Network is needed")
    kinked = [activation for activation in net.arch.activations if activation.name in _KINKED]
    if kinked:
        raise ValueError(f"{kinked[0]!r} has no second derivative at its kink, but kappa is made of second derivatives")
    tolerance, limit = _numbers.positive(rtol, "rtol"), _numbers.integer(max_iterations, "max_iterations")
    net = net.with_parameters(net.parameters.astype(np.float64))
    residual = net(X) - _targets(y, net(X).shape)
    if not residual.any():
        return 0.0
    generator = np.random.default_rng(rng)
    largest = _largest_slope(net, X, generator, tolerance, limit)
    curvature = _curvature(net, X, residual.shape, generator, tolerance, limit)
    return float(np.linalg.norm(residual) * curvature / largest)


def _targets(y: ArrayLike, shape: tuple[int, ...]) -> Any:
    values = np.asarray(y, np.float64)
    if values.shape == shape[:1] and shape[1] == 1:
        values = values[:, None]
    if values.shape != shape:
        raise ValueError(f"y has shape {values.shape}, but the network's outputs have shape {shape}")
    if not np.isfinite(values).all():
        raise ValueError("y holds NaN or an infinity, but every entry must be finite")
    return values


def _largest_slope(net: Network, X: ArrayLike, rng: np.random.Generator, rtol: float, limit: int) -> float:
    """Return λ_max(J Jᵀ)."""
    operator = net.operator(X)

    def step(u: Vector) -> tuple[float, Vector]:
        product: Vector = operator @ u
        size = float(np.linalg.norm(product))
        return size, product / (size or 1.0)

    u = rng.standard_normal(operator.shape[0])
    return _iterate(step, u / np.linalg.norm(u), rtol, limit, "the largest eigenvalue of the kernel")


def _curvature(
    net: Network, X: ArrayLike, shape: tuple[int, ...], rng: np.random.Generator, rtol: float, limit: int
) -> float:
    """Return ‖D²f‖_op."""
    if not net.arch.activations:
        return 0.0
    h = float(np.finfo(np.float64).eps) ** (1 / 3)  # h² of the differences and ε/h of rounding balance

    def step(pair: tuple[Any, Any]) -> tuple[float, tuple[Any, Any]]:
        a, b = pair
        up, down = (net.with_parameters(net.parameters + sign * h * a) for sign in (1, -1))
        second = up.jvp(X, b) - down.jvp(X, b)
        u: Any = second / (np.linalg.norm(second) or 1.0)
        product = (up.vjp(X, u) - down.vjp(X, u)) / (2 * h)
        size = float(np.linalg.norm(product))
        return size, (product / (size or 1.0), a)

    # From directions in which f moves: random ones are nearly orthogonal to all that bends.
    starts = [net.vjp(X, rng.standard_normal(shape)) for _ in range(2)]
    a, b = (start / np.linalg.norm(start) for start in starts)
    return _iterate(step, (a, b), rtol, limit, "the norm of the second derivative")


def _iterate(step: Callable[[State], tuple[float, State]], state: State, rtol: float, limit: int, what: str) -> float:
    before = 0.0
    for _ in range(limit):
        value, state = step(state)
        if abs(value - before) <= rtol * value:
            return value
        before = value
    raise RuntimeError(f"{what} did not settle in {limit} iterations. Pass more max_iterations, or a larger rtol.")
