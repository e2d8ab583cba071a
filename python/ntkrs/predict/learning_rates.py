"""The largest stable learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs._checks import kernels, numbers
from ntkrs._checks.scaling import ldexp
from ntkrs.errors import IndefiniteKernelError
from ntkrs.predict.operators import Products

if TYPE_CHECKING:
    from ntkrs._typing import ArrayLike, LossScale

#: Up to this order a dense eigensolver is as fast as Lanczos.
_DENSE = 64


def max_learning_rate(
    k_train_train: ArrayLike, y_train_size: int, momentum: float = 0.0, loss_scale: LossScale = "mean"
) -> float:
    """Return the largest learning rate at which gradient descent on the square loss does not diverge.

    ``eta = 2 (1 + momentum) Z / lambda_max(K)``, with ``Z = y_train_size`` for ``loss_scale="mean"``, 1 for ``"sum"``.

    Every smaller rate converges. At the largest, the fastest mode neither grows nor shrinks. For softmax cross-entropy
    averaged over N samples, ``4 N / lambda_max(K)`` is small enough: twice the result for ``y_train_size=N``.

    Parameters
    ----------
    k_train_train : (N, N) or (N, N, O, O) array_like, or LinearOperator
        Tangent kernel on the training inputs.
    y_train_size : int
        N·O, the number of targets.
    momentum : float
        μ of the heavy ball, in [0, 1).
    loss_scale : "mean" or "sum"
        The sum of squares is divided by 2N·O for "mean", and by 2 for "sum".

    Returns
    -------
    float
        The rate; infinity if the kernel is 0.

    Raises
    ------
    ValueError
        If the kernel is not square or not symmetric, or holds NaN or an infinity.
    ntkrs.IndefiniteKernelError
        If the kernel has no positive eigenvalue and is not 0.

    Notes
    -----
    One Lanczos run for the largest eigenvalue: O(N²) time per step, without a copy of the kernel.

    References
    ----------
    Lee, Xiao et al. (2019), section 2.1; Polyak (1964).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> predict.max_learning_rate(np.diag([1.0, 4.0]), 2, loss_scale="sum")
    0.5
    """
    size = numbers.integer(y_train_size, "y_train_size")
    if size < 0:
        raise ValueError(f"y_train_size is {size}, but must be >= 0")
    z = kernels.loss_divisor(loss_scale, size)
    mu = numbers.momentum(momentum)
    products = Products(k_train_train)
    products.check_symmetric()
    if products.size and not size:
        raise ValueError(f"y_train_size is 0, but k_train_train is {products.size} × {products.size}")
    largest = largest_eigenvalue(products)
    if largest < 0:
        raise IndefiniteKernelError(
            f"k_train_train has eigenvalues up to {ldexp(largest, products.exponent):.3g} only: it is not a kernel"
        )
    return float(ldexp(2 * (1 + mu) * z / largest, -products.exponent)) if largest else float("inf")


def largest_eigenvalue(products: Products) -> float:
    """Return λ_max over ``2^exponent``, exactly 0 if the kernel is 0."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = products.size
    if n <= _DENSE:
        return float(np.linalg.eigvalsh(products(np.eye(n))).max()) if n else 0.0
    start = np.random.default_rng(0).standard_normal(n)
    if not products(start[:, None]).any():
        return 0.0
    operator = LinearOperator((n, n), matvec=lambda v: products(v.reshape(n, 1)), dtype=np.float64)
    return float(eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False)[0])
