"""Gaussian predictions, as users get them."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

import numpy as np

from ntkrs._checks import arrays, numbers
from ntkrs._runtime import display
from ntkrs.plot import bands
from ntkrs.predict.modes import square_root

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike


class Variances(NamedTuple):
    """The effect of round-off on the variances of a :class:`Prediction`."""

    #: The number of variances that were negative within round-off, and were set to 0.
    clipped: int = 0
    #: The lowest variance before that; 0 if none was negative.
    lowest: float = 0.0


_EXACT = Variances()


@dataclass(frozen=True, eq=False)
class Prediction:
    """The mean and covariance of predictions.

    Attributes
    ----------
    mean : (..., M) or (..., M, O) ndarray
        The mean, with axes of time, points and outputs.
    covariance : (..., M, M) ndarray or None
        The covariance between points, the same for every output, with ``compute_cov=True``. Different outputs are
        independent.
    variance : (..., M) ndarray or None
        Its diagonal, with ``compute_cov=True`` or ``"diag"``.
    report : Variances
        The number of variances that were negative within round-off, and were set to 0.
    x : (M, n_0) or (M, H, W, C) ndarray or None
        The inputs; None if kernel matrices were given.

    Notes
    -----
    A prediction is not a tuple. Two kernels give two predictions: ``nngp, ntk = f(X_test, get=("nngp", "ntk"))``.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp, predict
    >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
    >>> X, y, X_test = np.eye(2), np.array([1.0, -1.0]), np.ones((1, 2))
    >>> prediction = predict.gp_inference(kernel, X, y)(X_test, get="nngp")
    >>> prediction.mean.shape, prediction.covariance.shape, prediction.variance.shape
    ((1,), (1, 1), (1,))
    >>> bool(prediction.variance < kernel.diag(X_test, get="nngp"))  # data reduce the prior variance
    True
    >>> low, high = prediction.interval(0.95)
    >>> prediction.sample(5, rng=0).shape
    (5, 1)
    """

    mean: Array
    covariance: Array | None = None
    variance: Array | None = None
    report: Variances = _EXACT
    x: Array | None = None

    def _repr_html_(self) -> str:
        """Return a table of shapes and ranges, which notebooks show."""
        deviation = None if self.variance is None else np.sqrt(self.variance)
        rows = [
            [
                name,
                display.shape(one),
                *(["", ""] if one is None or not one.size else map(display.number, (one.min(), one.max()))),
            ]
            for name, one in (("mean", self.mean), ("std", deviation), ("covariance", self.covariance))
        ]
        return display.table("Prediction", ["", "shape", "least", "largest"], rows)

    @property
    def std(self) -> Array:
        """The standard deviation, (..., M), the same for every output.

        Raises
        ------
        ValueError
            If there is no variance.
        """
        return cast("Array", np.sqrt(self._known_variance("std")))

    def interval(self, p: float) -> tuple[Array, Array]:
        """Return the lower and upper end of the central interval that holds f with probability p.

        Parameters
        ----------
        p : float
            The probability, in (0, 1).

        Returns
        -------
        (ndarray, ndarray)
            Arrays of the mean's shape.

        Raises
        ------
        TypeError, ValueError
            If p is not a number between 0 and 1, or if there is no variance.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.predict import Prediction
        >>> low, high = Prediction(np.zeros(1), variance=np.ones(1)).interval(0.95)
        >>> high.round(2)
        array([1.96])
        """
        from scipy.special import ndtri

        probability = numbers.real(p, "p")
        if not 0 < probability < 1:
            raise ValueError(f"p is {probability}, but must lie between 0 and 1")
        variance = self._known_variance("interval")
        spread = float(ndtri((1 + probability) / 2)) * np.sqrt(variance)
        spread = spread.reshape(variance.shape + (1,) * (self.mean.ndim - variance.ndim))
        return cast("Array", self.mean - spread), cast("Array", self.mean + spread)

    def sample(self, n: int, rng: Any) -> Array:
        """Draw functions at the points of the prediction.

        Parameters
        ----------
        n : int
            The number of draws.
        rng : int or numpy.random.Generator
            The seed, or the generator.

        Returns
        -------
        (n, ..., M) or (n, ..., M, O) ndarray
            Independent draws. At different times of one draw, f is not coupled.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid, or if there is no covariance.

        Notes
        -----
        One eigendecomposition of each covariance, O(M³). Its negative eigenvalues, which are round-off, count as 0.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.predict import Prediction
        >>> Prediction(np.zeros(2), covariance=np.ones((2, 2))).sample(3, rng=0).shape  # two equal points
        (3, 2)
        """
        count, generator = numbers.count(n, "n"), numbers.generator(rng)
        if self.covariance is None:
            raise ValueError("sample needs the covariance between points: compute_cov=True")
        leading, points = self.covariance.shape[:-2], self.covariance.shape[-1]
        outputs = self.mean.shape[len(leading) + 1 :]
        noise = generator.standard_normal((count, *leading, points, *(outputs or (1,))))
        matrices = self.covariance.reshape(-1, points, points)
        roots = np.array([square_root(one.astype(np.float64)) for one in matrices]).reshape(self.covariance.shape)
        draws = self.mean + (roots @ noise).reshape((count, *self.mean.shape))
        return cast("Array", draws.astype(self.mean.dtype, copy=False))

    def plot(self, ax: Any = None, x: ArrayLike | None = None) -> Any:
        """Draw the mean and the central interval of 95 % against a one-dimensional input.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw in; by default those of a new figure.
        x : (M,) or (M, 1) array_like, optional
            The inputs, if kernel matrices were given or inputs have several columns.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If x is missing or has a wrong shape, or if the prediction is for several times.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.predict import Prediction
        >>> figure = Prediction(np.zeros(3), variance=np.ones(3)).plot(x=[0.0, 1.0, 2.0])
        >>> len(figure.axes)
        1
        """
        positions = self._positions(x)
        means = self.mean.reshape(len(positions), -1)
        spread = None if self.variance is None else self.interval(0.95)
        band = None if spread is None else tuple(one.reshape(means.shape) for one in spread)
        return bands(positions, means, band, ax)

    def _positions(self, x: ArrayLike | None) -> NDArray[np.float64]:
        """Return the inputs of a plot, (M,)."""
        if self.variance is not None and self.variance.ndim > 1:
            raise ValueError(f"mean has shape {self.mean.shape}, with axes of time: plot the prediction for one time t")
        if x is None and self.x is None:
            raise ValueError("x is not known, because kernel matrices were given: pass x=, one number for each point")
        given = arrays.finite_float64(self.x if x is None else x, "x")
        points = self.mean.shape[0] if self.mean.ndim else 0
        if given.shape not in ((points,), (points, 1)):
            raise ValueError(
                f"x has shape {given.shape}, but one number for each of {points} points is needed: pass x="
            )
        return given.reshape(-1)

    def _known_variance(self, what: str) -> Array:
        """Return the variance, if there is one."""
        if self.variance is None:
            raise ValueError(f"{what} needs a variance: call with compute_cov=True or compute_cov='diag'")
        return self.variance

    def __iter__(self) -> NoReturn:
        raise TypeError(_NO_TUPLE)

    def __getitem__(self, index: object) -> NoReturn:
        raise TypeError(_NO_TUPLE)


_NO_TUPLE = (
    "a Prediction is no tuple: read .mean and .covariance. For the predictions of several kernels pass names, such as "
    "get=('nngp', 'ntk')"
)


if TYPE_CHECKING:

    class Predictions(tuple[Prediction, ...]):
        """Predictions by name, as type checkers see them: there are those that ``get`` names."""

        __slots__ = ()
        nngp: Prediction
        ntk: Prediction
        ntkgp: Prediction


def named(names: tuple[str, ...], predictions: list[Prediction]) -> Predictions:
    """Return predictions as a named tuple."""
    return cast("Predictions", _named_tuple(names)(*predictions))


def _reduced(predictions: Any) -> tuple[Any, ...]:
    """Return the function that makes this named tuple again, and its arguments."""
    return named, (predictions._fields, list(predictions))


@lru_cache
def _named_tuple(names: tuple[str, ...]) -> Any:
    """Return the class of named tuples with these fields."""
    fields = namedtuple("Predictions", names)  # type: ignore[misc]  # noqa: PYI024 one class for each tuple of names
    # Classes made on the fly cannot be found by pickle, but their fields are enough to make them again.
    fields.__reduce__ = _reduced  # type: ignore[method-assign, assignment]
    fields.__doc__ = "Predictions by name."
    return fields
