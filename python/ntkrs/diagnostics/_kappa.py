"""The distance of a network from linearity before training: the κ of Chizat, Oyallon and Bach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs import predict
from ntkrs._checks import arrays, memory, numbers
from ntkrs.activations import Activation
from ntkrs.errors import ConvergenceError
from ntkrs.network import Network
from ntkrs.network.second_derivative import SecondDerivative, bytes_needed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

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
    """Return κ, the relative scale of the second derivative. Where it is small, training is lazy.

    ::

        κ = ‖f − y‖ · ‖D²f‖_op / ‖Df‖²_op

    Here f and y are vectors of N O numbers, Df = J is the Jacobian with ``‖Df‖²_op = λ_max(Θ)``, and ‖D²f‖_op is the
    largest ``⟨u, D²f(a, b)⟩`` over unit vectors u, a and b.

    Parameters
    ----------
    net : Network
        The network. Its activations must not be Python functions. The computation is in float64.
    X : (N, n_0) array_like
        Inputs.
    y : (N, O) or (N,) array_like
        Targets; (N,) for one output.
    rng : int or numpy.random.Generator
        Seed or generator for the vectors from which the iterations start.
    starts : int
        The number of iterations for ‖D²f‖_op. The largest result is taken, since a single iteration may end far below
        the norm.
    rtol : float
        An iteration stops when a step changes the norm by a smaller fraction than this.
    max_iterations : int
        The largest number of steps from each start.

    Returns
    -------
    float
        A lower bound of κ: more starts can only raise it.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit, an activation is a Python function, or Df is 0.
    ntkrs.ConvergenceError
        If the iteration with the largest result does not converge.
    MemoryError
        If the layers' values and their derivatives do not fit.

    Notes
    -----
    ‖D²f‖_op is computed by alternating power iteration: u, a and b in turn are replaced by the best vector for the
    other two. The value never falls, and it ends at a local maximum. The largest result of all starts is therefore a
    lower bound of the norm. λ_max(Θ) is computed as in :func:`ntkrs.predict.max_learning_rate`.

    The second derivatives are analytic (forward over reverse mode), so they are exact to rounding. A step costs
    20 N P flops. The activations of all samples are kept in memory, with their derivatives along two directions.

    Only trained parameters count in D²f. If an activation has a kink, D²f is the second derivative almost everywhere:
    for ReLU φ'' = 0, and only the mixed terms between layers remain. The effect of a step across a kink is not
    included.

    References
    ----------
    Chizat, Oyallon, Bach (2019), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> from ntkrs.diagnostics import kappa
    >>> X, y = np.eye(3), np.zeros(3)
    >>> kappa(mlp(depth=0, width=1, outputs=1).init(3), X, y)  # a network that is linear in θ
    0.0
    >>> narrow, wide = (kappa(mlp(1, width, 1, "erf").init(3), X, [1.0, 2.0, 3.0]) for width in (8, 512))
    >>> wide < narrow
    True
    """
    if not isinstance(net, Network):
        raise TypeError(f"net is {net!r}, but a Network is needed")
    for activation in net.arch.activations:
        if isinstance(activation, Activation):
            raise ValueError(  # noqa: TRY004 a fine activation, but not for this
                f"{activation!r} has no second derivative, which kappa needs. Use another class of ntkrs.activations."
            )
    tolerance, limit = numbers.positive(rtol, "rtol"), numbers.count(max_iterations, "max_iterations")
    count = numbers.count(starts, "starts")
    samples = len(arrays.batch(X, "X"))
    what, remedy = f"kappa on {samples} samples", "Pass fewer rows of X, or a narrower net."
    with memory.required(bytes_needed(net, samples), what, remedy):
        return _kappa(net, X, y, numbers.generator(rng), count, tolerance, limit)


def _kappa(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    generator: np.random.Generator,
    count: int,
    tolerance: float,
    limit: int,
) -> float:
    """Return κ, with ``count`` iterations of at most ``limit`` steps for the norm of the second derivative."""
    net = net.with_parameters(net.parameters.astype(np.float64))
    outputs = net(X)
    residual = outputs - arrays.targets(y, outputs.shape, "y")
    if not residual.any():
        return 0.0
    rate = predict.max_learning_rate(net.operator(X), 1, loss_scale="sum")  # 2/λ_max
    if rate == np.inf:
        raise ValueError(
            "X gives a kernel that is all 0: the outputs do not move with the parameters, and kappa is 0/0"
        )
    if not net.arch.activations:
        return 0.0
    x = arrays.converted(arrays.batch(X, "X"), net.dtype, "X")
    second = SecondDerivative(net, x)

    def start() -> list[Any]:
        # Start from directions that change f: random directions are nearly orthogonal to all in which f is curved.
        return [net.vjp(x, generator.standard_normal(residual.shape)) for _ in range(2)]

    curvature, settled = max(_ascent(second, start(), tolerance, limit) for _ in range(count))
    if not settled:
        raise ConvergenceError(
            f"the norm of the second derivative did not settle in {limit} iterations. Pass more max_iterations, or a "
            "larger rtol."
        )
    return float(np.linalg.norm(residual) * curvature * rate / 2)


def _ascent(second: SecondDerivative, starts: list[Vector], rtol: float, limit: int) -> tuple[float, bool]:
    """Return a local maximum of ``⟨u, D²f(a, b)⟩`` over unit vectors, and True if the iteration converged."""
    a, b = (second.tangent(_unit(start)[0]) for start in starts)
    value = 0.0
    for _ in range(limit):
        before = value
        u = _unit(second.outputs(a, b))[0]
        best, value = _unit(second.gradient(a, u))
        if abs(value - before) <= rtol * value:
            return value, True
        a, b = second.tangent(best), a
    return value, False


def _unit(vector: Vector) -> tuple[Vector, float]:
    """Return the vector divided by its length, and the length."""
    with np.errstate(over="ignore"):  # told below
        size = float(np.linalg.norm(vector))
    if not np.isfinite(size):
        raise ValueError("X gives a second derivative beyond the largest float64. Scale X down.")
    return vector / (size or 1.0), size
