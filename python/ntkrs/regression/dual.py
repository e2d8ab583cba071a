"""The coefficients of a kernel model, one for each training sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]


class Dual(NamedTuple):
    """A fitted model, ``f(x) = intercept + k(x, X) @ coefficients``.

    Attributes
    ----------
    coefficients : (N,) or (N, O) or (R, N) or (R, N, O) ndarray
        One coefficient for each sample and output, and for each ridge if there are several.
    intercept : () or (O,) ndarray
        The weighted mean of the targets, or 0 without an intercept.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.regression import KernelRegression
    >>> dual = KernelRegression(np.eye(2), np.array([3.0, 5.0])).coefficients(diag_reg=1.0)
    >>> dual.coefficients, dual.intercept
    (array([-0.5,  0.5]), array(4.))
    """

    coefficients: Vector
    intercept: Vector
