"""The average gradient outer product of a kernel model: the directions of its inputs that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from ntkrs._architecture import check_dense
from ntkrs._checks import arrays, memory, numbers
from ntkrs._checks import regression as checks
from ntkrs._checks.scaling import ldexp, scaled
from ntkrs.kernel import Kernel
from ntkrs.regression.dual import Dual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike, KernelName

    Vector = NDArray[np.float64]

#: Derivatives that are held at once: some 32 MiB, and a few arrays of the size.
_BLOCK = 1 << 22


def agop(
    kernel: Kernel,
    X: ArrayLike,
    dual: Dual | ArrayLike,
    get: KernelName = "ntk",
    *,
    sample_weight: ArrayLike | None = None,
) -> Vector:
    """Return the average gradient outer product of a kernel model over its training inputs.

    ::

        A = 1/N Σ_i Σ_o ∇f_o(x_i) ∇f_o(x_i)ᵀ,    f_o(x) = m_o + Σ_j k(x, x_j) α_jo

    Its diagonal shows how much f changes with each feature, and its leading eigenvectors are the directions that f
    depends on most. Features can only be compared if they have the same scale.

    Parameters
    ----------
    kernel : Kernel
        The kernel of an infinitely wide network, ``arch.kernel()``.
    X : (N, d) array_like
        Training inputs, at least one. The computation is in float64, also for float32.
    dual : Dual, or (N,) or (N, O) array_like
        The coefficients α of the rows of X, such as those of :meth:`KernelRegression.coefficients` for one ridge.
    get : {"ntk", "nngp"}
        The kernel that the model was fitted with.
    sample_weight : (N,) array_like, optional
        Positive weights, those of the model: the average is weighted by them.

    Returns
    -------
    (d, d) ndarray
        Symmetric and positive semidefinite up to round-off.

    Raises
    ------
    TypeError
        If ``kernel`` is not a :class:`~ntkrs.kernel.Kernel`, or an argument does not hold real numbers.
    ValueError
        If a value is not finite, a shape does not match, a gradient is beyond the range of numbers, or the network has
        a Conv.
    MemoryError
        If the result does not fit in memory.

    Notes
    -----
    :meth:`Kernel.input_gradient` in blocks of rows of X: the time of two to five kernels, and O(N² d O) products. An
    activation with a kink gives Θ a cusp at every training row, where the mean of both derivatives counts.

    References
    ----------
    Hristache, Juditsky, Polzehl, Spokoiny (2001) for the outer product; Radhakrishnan, Beaglehole, Pandit, Belkin
    (2024) for kernels that learn features by it.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> y = np.sin(X[:, 2])  # one feature of four matters
    >>> kernel = ntkrs.mlp(depth=1, width=1, outputs=1, activation="erf", sigma_b=0.5).kernel()
    >>> dual = ntkrs.regression.KernelRegression(kernel(X), y).coefficients(1e-3)
    >>> relevance = ntkrs.regression.agop(kernel, X, dual).diagonal()
    >>> int(relevance.argmax()), bool(relevance[2] > 0.9 * relevance.sum())
    (2, True)
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(
            f"kernel is a {type(kernel).__name__}, but the kernel of an infinitely wide network is needed, such as "
            "arch.kernel(), because others have no derivatives."
        )
    check_dense(kernel.arch, "agop", "Kernels of networks with Conv have no derivatives.")
    name = cast("KernelName", numbers.choice(get, "get", ("ntk", "nngp")))
    x = arrays.finite_float64(X, "X")
    if x.ndim != 2 or not x.size:
        raise ValueError(f"X has shape {x.shape}, but (N, d) with at least one row and one feature is needed")
    columns, scale = scaled(_coefficients(dual, len(x)))
    weights = checks.sample_weights(sample_weight, len(x), "X")
    size = x.shape[1]
    memory.require(24 * size**2, f"an average gradient outer product of {size} features", "Use fewer features.")
    total, exponent = np.zeros((size, size)), 0
    for gradients in _gradients(kernel, x, columns, np.sqrt(weights / weights.sum()), name):
        # Squares are over the power of two of the largest gradient so far, so that they do not overflow.
        values, power = scaled(gradients)
        highest = max(power, exponent) if total.any() else power
        total = ldexp(total, 2 * (exponent - highest)) + ldexp(values.T @ values, 2 * (power - highest))
        exponent = highest
    return ldexp(total, 2 * (exponent + scale))


def _coefficients(dual: Dual | ArrayLike, count: int) -> Vector:
    """Return the coefficients of ``count`` rows as a matrix, (N, O).

    Raises
    ------
    TypeError, ValueError
        If they are not finite numbers, or have another shape.
    """
    alpha = arrays.finite_float64(dual.coefficients if isinstance(dual, Dual) else dual, "dual")
    if alpha.ndim not in {1, 2} or len(alpha) != count or not alpha.size:
        raise ValueError(
            f"dual has shape {alpha.shape}, but {(count,)} or ({count}, O) is needed: a coefficient for each row of X, "
            "of one ridge"
        )
    return alpha.reshape(count, -1)


def _gradients(kernel: Kernel, x: Vector, columns: Vector, roots: Vector, name: KernelName) -> Iterator[Vector]:
    """Yield the gradients of all outputs at blocks of rows of x, times ``roots`` of the rows, (rows · O, d)."""
    count, outputs = columns.shape
    step, fixed = max(1, _BLOCK // (x.shape[1] * outputs)), kernel.prepare(x, progress=False)
    if outputs == count:
        step = min(step, max(1, count - 1))  # a square array of all rows would be the weights of pairs
    for first in range(0, count, step):
        rows = slice(first, first + step)
        found = kernel.input_gradient(x[rows], fixed, get=name, weights=columns, progress=False)
        # The weights of a single row and output are those of a pair, of the same value without the last axis.
        gradients = found.reshape(-1, x.shape[1], outputs) * roots[rows, None, None]
        yield np.moveaxis(gradients, 1, 2).reshape(-1, x.shape[1])
