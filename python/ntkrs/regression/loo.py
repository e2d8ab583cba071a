"""Leave-one-out predictions in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ntkrs.regression.model import KernelRegression

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

    Vector = NDArray[np.float64]


def loo(
    k_train_train: ArrayLike,
    y_train: ArrayLike,
    diag_reg: ArrayLike,
    diag_reg_absolute_scale: bool = False,
    *,
    intercept: bool = True,
    sample_weight: ArrayLike | None = None,
) -> Vector:
    """Return the prediction of kernel ridge regression at every row by the model that is fitted without it.

    This is ``KernelRegression(...).loo(...)``; :meth:`KernelRegression.loo` gives the equations.

    Parameters
    ----------
    k_train_train : (N, N) array_like
        Kernel K of the training inputs.
    y_train : (N,) or (N, O) array_like
        Labels.
    diag_reg : float or (R,) array_like
        The ridge, relative to the weighted mean of K's diagonal. 0 stands for the limit of small ridges.
    diag_reg_absolute_scale : bool
        If True, the ridge is ``diag_reg`` itself.
    intercept : bool
        True to fit the targets minus their mean.
    sample_weight : (N,) array_like, optional
        Positive weights; by default 1.

    Returns
    -------
    (N,) or (N, O) or (R, N) or (R, N, O) ndarray

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As for :class:`KernelRegression` and :meth:`KernelRegression.loo`.

    Notes
    -----
    One eigendecomposition in O(N³) time, and O(N² R O) for all ridges.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> K, y = np.eye(3), np.array([1.0, 2.0, 6.0])
    >>> ntkrs.regression.loo(K, y, 0.1)  # rows that have nothing in common: the mean of the others
    array([4. , 3.5, 1.5])
    """
    model = KernelRegression(k_train_train, y_train, intercept=intercept, sample_weight=sample_weight)
    return model.loo(diag_reg, diag_reg_absolute_scale)
