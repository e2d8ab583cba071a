"""Factors of the features: given ones, those of a fitted model's average gradient outer product, and their plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ntkrs._checks import arrays
from ntkrs._checks.advice import shown
from ntkrs._checks.scaling import exponent_of, ldexp, scaled
from ntkrs.regression import agop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.sklearn.conformal import Training

    Vector = NDArray[np.float64]


class Importances:
    """The plot of an estimator's ``feature_scales_``."""

    feature_scales_: Vector

    def plot_importances(self, ax: Any = None) -> Any:
        """Draw the factors of the features as bars, the largest first: at most 30 of them.

        Factors show the importance of features if these have the same scale, as after a StandardScaler.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is missing; the message says how to install it.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKRegressor
        >>> X = np.random.default_rng(0).standard_normal((50, 3))
        >>> figure = NTKRegressor(feature_scales="agop").fit(X, X[:, 1]).plot_importances()
        >>> figure.axes[0].get_yticklabels()[0].get_text()
        'feature 1'
        """
        from ntkrs import plot

        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        return plot.importances(self.feature_scales_, None if names is None else list(names), ax=ax)


def fixed(feature_scales: Any, count: int, learned: str) -> Vector | None:
    """Return the factors of ``count`` features, or None if they are to be learned, as the word ``learned`` asks for.

    Raises
    ------
    TypeError, ValueError
        If ``feature_scales`` is not None, this word, or ``count`` finite numbers >= 0.
    """
    if feature_scales is None:
        return np.ones(count)
    if isinstance(feature_scales, str):
        if feature_scales != learned:
            raise ValueError(
                f"feature_scales is {feature_scales!r}, but must be None, {learned!r}, or a number per feature"
            )
        return None
    factors = arrays.finite_float64(feature_scales, "feature_scales")
    if factors.shape != (count,):
        raise ValueError(
            f"feature_scales has shape {factors.shape}, but ({count},) is needed to match X: a number for each feature"
        )
    if factors.min() < 0:
        raise ValueError(f"feature_scales is {shown(feature_scales)}, but must be >= 0")
    return factors.copy()


def applied(X: Vector, factors: Vector) -> Vector:
    """Return inputs times the factors of their features. The kernel refuses products that are infinite."""
    with np.errstate(over="ignore"):
        return X * factors


def learned(training: Training, coefficients: Vector) -> Vector:
    """Return ``A_kk^¼`` of a model's average gradient outer product A, over their mean; 1 if the model is constant.

    A fourth root lies half-way between no factors and the root mean square of the derivatives, ``A_kk^½``.
    """
    columns, _ = scaled(coefficients)
    columns = ldexp(columns, -max(exponent_of(training.X.array), 0))  # squares of gradients neither overflow nor vanish
    outer = agop(training.kernel, training.X.array, columns, training.get, sample_weight=training.weights)
    squares = outer.diagonal()
    if not squares.max() > 0:
        return np.ones(len(squares))
    roots = squares**0.25
    return np.asarray(roots / roots.mean())
