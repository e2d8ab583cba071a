"""How far from linear a network is where it starts: Chizat, Oyallon and Bach's κ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs import _arrays, _numbers, predict
from ntkrs.activations import Abs, Elu, LeakyRelu, RectifiedPower, Relu, Selu, Sign
from ntkrs.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike
    from ntkrs.activations import Elementwise

    Vector = NDArray[np.float64]


def kappa(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    rng: int | np.random.Generator = 0,
    starts: int = 8,
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
    starts : int
        How many iterations for ‖D²f‖_op to take the largest end of. One may end far below it.
    rtol : float
        Iterations end when the last one changed the norm by less than this, relatively.
    max_iterations : int
        Of each start.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit, an activation has a kink, or Df is 0.
    RuntimeError
        If the start that leads highest does not converge.

    Notes
    -----
    ‖D²f‖_op by alternating power iteration: u, a and b in turn become the best ones for the other two. It never falls,
    and ends at a local maximum. The largest end of all starts is a lower bound of the norm, and κ one of itself: more
    starts can only raise it. Hessian-vector products are differences of two gradients, exact to some 8 digits; each
    iteration takes two gradients and two products forward, 24 N P flops. λ_max(Θ) as in
    :func:`ntkrs.predict.max_learning_rate`.

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
    kinked = [activation for activation in net.arch.activations if _kinked(activation)]
    if kinked:
        raise ValueError(f"{kinked[0]!r} has no second derivative at 0, but kappa is made of second derivatives")
    tolerance, limit = _numbers.positive(rtol, "rtol"), _numbers.count(max_iterations, "max_iterations")
    count = _numbers.count(starts, "starts")
    net = net.with_parameters(net.parameters.astype(np.float64))
    outputs = net(X)
    residual = outputs - _arrays.targets(y, outputs.shape, "y")
    if not residual.any():
        return 0.0
    rate = predict.max_learning_rate(net.operator(X), 1, loss_scale="sum")  # 2/λ_max
    if rate == np.inf:
        raise ValueError(
            "X gives a kernel that is all 0: the outputs do not move with the parameters, and kappa is 0/0"
        )
    generator = np.random.default_rng(rng)
    ends = [_ascent(net, X, residual.shape, generator, tolerance, limit) for _ in range(count)]
    curvature, settled = max(ends)
    if not settled:
        raise RuntimeError(
            f"the norm of the second derivative did not settle in {limit} iterations. Pass more max_iterations, or a "
            "larger rtol."
        )
    return float(np.linalg.norm(residual) * curvature * rate / 2)


def _kinked(activation: Elementwise) -> bool:
    """Whether φ or φ' jumps at 0."""
    match activation:
        case Relu() | Abs() | Sign() | Selu():
            return True
        case LeakyRelu(slope=one) | Elu(alpha=one):
            return one != 1
        case RectifiedPower(degree=degree):
            return degree < 2
    return False


def _ascent(
    net: Network, X: ArrayLike, shape: tuple[int, ...], rng: np.random.Generator, rtol: float, limit: int
) -> tuple[float, bool]:
    """Return a local maximum of ``⟨u, D²f(a, b)⟩`` over unit vectors, and whether it was reached."""
    if not net.arch.activations:
        return 0.0, True
    h = float(np.finfo(np.float64).eps) ** (1 / 3)  # h² of the differences and ε/h of rounding balance

    def step(a: Vector, b: Vector) -> tuple[float, Vector]:
        """The best partner of a, once u is the best for a and b, and its length."""
        up, down = (net.with_parameters(net.parameters + sign * h * a) for sign in (1, -1))
        second = up.jvp(X, b) - down.jvp(X, b)
        u = second / (np.linalg.norm(second) or 1.0)
        product = (up.vjp(X, u) - down.vjp(X, u)) / (2 * h)
        size = float(np.linalg.norm(product))
        return size, product / (size or 1.0)

    # From directions in which f moves: random ones are nearly orthogonal to all that bends.
    a, b = (start / np.linalg.norm(start) for start in (net.vjp(X, rng.standard_normal(shape)) for _ in range(2)))
    value = 0.0
    for _ in range(limit):
        before = value
        value, best = step(a, b)
        if abs(value - before) <= rtol * value:
            return value, True
        a, b = best, a
    return value, False
