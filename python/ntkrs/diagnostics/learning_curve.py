"""The expected test error of kernel regression, from the spectrum of the kernel and the targets alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import arrays, numbers
from ntkrs._checks.scaling import exponent_of, ldexp
from ntkrs.diagnostics._matrices import kernel_matrix, label_columns
from ntkrs.predict.modes import decompose
from ntkrs.regression import KernelRegression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

    Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """The result of :func:`learning_curve`.

    Attributes
    ----------
    n : () or (S,) ndarray of int
        The numbers of training samples.
    all : () or (S,) ndarray
        The expected mean squared error over all N rows, those of the training set included.
    unseen : () or (S,) ndarray
        The expected mean squared error over the N − n rows that are not in the training set.
    kappa : () or (S,) ndarray
        κ, in units of K/N: modes with eigenvalues above κ are learned.
    eigenvalues : (N,) ndarray
        The eigenvalues of K/N in descending order.
    learnability : (N,) or (S, N) ndarray
        The learned share of each mode, ``λ_i/(λ_i + κ)``, with sum n without a ridge.
    loo : () or (S,) ndarray or None
        The measured mean squared error of exact leave-one-out of n random rows, with ``draws``.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.diagnostics import learning_curve
    >>> found = learning_curve(np.eye(8), np.ones(8), 2)  # rows that have nothing in common
    >>> bool(np.allclose(found.learnability, 2 / 8)) and bool(np.isclose(found.unseen, 1))
    True
    """

    n: NDArray[np.intp]
    all: Vector
    unseen: Vector
    kappa: Vector
    eigenvalues: Vector
    learnability: Vector
    loo: Vector | None = None

    def plot(self, ax: Any = None) -> Any:
        """Draw the expected error at unseen rows, and that of leave-one-out, against the number of samples.

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
        """
        from ntkrs import plot

        return plot.learning_curve(self, ax=ax)


def learning_curve(
    K: ArrayLike,
    y: ArrayLike,
    n: ArrayLike,
    diag_reg: float = 0.0,
    *,
    draws: int = 0,
    rng: int | np.random.Generator = 0,
) -> LearningCurve:
    """Return the expected error of kernel regression on n random rows of N, from the spectrum and the targets.

    ::

        Σ_i λ_i/(λ_i + κ) + δ/κ = n
        E = Σ_i (κ/(λ_i + κ))² v_i² / (1 − Σ_i (λ_i/(λ_i + κ))²/n)

    with the eigenvalues λ_i of K/N, ``v_i² = (u_iᵀ y)²/N`` and the ridge δ. E is the mean over all rows. With the error
    ``(δ/(nκ))² E`` at the n training rows, that at the others is ``(E − n/N (δ/(nκ))² E)/(1 − n/N)``.

    This estimate is omniscient: it knows the spectrum of all N rows. Leave-one-out of n rows knows these rows alone.
    With ``draws`` it stands beside the estimate, as a check from the data.

    Parameters
    ----------
    K : (N, N) array_like
        Kernel matrix.
    y : (N,) or (N, O) array_like
        Labels. Subtract their mean first if the regression does. Errors are means over outputs.
    n : int or (S,) array_like of int
        Numbers of training samples, from 1 to N − 1.
    diag_reg : float
        The ridge δ is ``diag_reg`` times the mean of K's diagonal.
    draws : int
        The number of random sets of n rows for leave-one-out, by default none.
    rng : int or numpy.random.Generator
        Draws these rows.

    Returns
    -------
    LearningCurve
        Its ``plot()`` draws the errors.

    Raises
    ------
    TypeError, ValueError
        If the kernel is not (N, N), symmetric and finite, the targets do not fit or are all 0, n is not a whole number
        from 1 to N − 1, or ``diag_reg`` is negative. With ``draws``, if n is 1.
    ntkrs.IndefiniteKernelError
        If an eigenvalue is negative beyond round-off: 32·ε·trace, and in float32 this over √N.

    Notes
    -----
    One eigendecomposition, and one of n rows for each draw. The mean of leave-one-out over draws is the expected error
    at an unseen row after n − 1 others, without any theory; a single draw varies as any test error does.

    The theory takes the rows of the eigenvectors for random ones. With many features and n up to N/4 it is within some
    15 % of measured errors. Equal rows and few features break it: copies of training rows are not unseen rows, and
    measured errors are then lower, by a fifth in sets of 4 and 9 features.

    Without a ridge, κ is 0 if at most n eigenvalues are nonzero, and with exactly n of them the error is infinite.

    References
    ----------
    Bordelon, Canatar, Pehlevan (2020); Simon, Dickens, Karkada, DeWeese (2021). Wei, Hu, Steinhardt (2022) compare the
    omniscient estimate with those from the training rows.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> X = np.random.default_rng(0).standard_normal((300, 10))
    >>> K = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu").kernel()(X)
    >>> found = ntkrs.diagnostics.learning_curve(K, X[:, 0], [10, 30, 75], diag_reg=1e-3)
    >>> bool((np.diff(found.unseen) < 0).all())  # more samples, smaller errors
    True
    """
    matrix, eps = kernel_matrix(K, "K")
    size = len(matrix)
    if np.ndim(K) != 2 or np.shape(y)[:1] != (size,):
        raise ValueError(f"K has shape {np.shape(K)} and y has shape {np.shape(y)}, but (N, N) and N rows are needed")
    counts = _counts(n, size)
    ridge = numbers.nonnegative(diag_reg, "diag_reg") * float(np.trace(matrix)) / size
    labels = label_columns(y, size)
    exponent, powers = exponent_of(arrays.finite_float64(K, "K")), 2 * exponent_of(arrays.finite_float64(y, "y"))
    repeats = numbers.integer(draws, "draws")
    loo = _left_out(matrix, labels, (counts, ridge), repeats, numbers.generator(rng)) if repeats else None
    modes = decompose(matrix, 0, eps, "K")
    values = ldexp(modes.scaled[::-1], modes.exponent) / size
    energy = (modes.components(labels)[::-1] ** 2).mean(axis=1) / size
    kappa = np.array([_kappa(values, ridge, count) for count in counts.reshape(-1).tolist()])
    errors = np.reshape(
        [
            _errors(values, energy, ridge, *pair)
            for pair in zip(kappa.tolist(), counts.reshape(-1).tolist(), strict=True)
        ],
        (-1, 2),
    )
    errors = ldexp(errors, powers).reshape(*counts.shape, 2)
    return LearningCurve(
        n=counts,
        all=errors[..., 0],
        unseen=errors[..., 1],
        kappa=ldexp(kappa, exponent).reshape(counts.shape),
        eigenvalues=ldexp(values, exponent),
        learnability=_learnability(values, kappa[:, None]).reshape(*counts.shape, size),
        loo=None if loo is None else ldexp(loo, powers),
    )


def _left_out(
    matrix: Vector,
    labels: Vector,
    setting: tuple[NDArray[np.intp], float],
    draws: int,
    rng: np.random.Generator,
) -> Vector:
    """Return the mean squared error of leave-one-out for each number of samples, over random rows.

    Raises
    ------
    ValueError
        If a number of samples is 1, or that of draws is negative.
    """
    counts, ridge = setting
    if draws < 0:
        raise ValueError(f"draws is {draws}, but must be >= 0")
    if counts.min(initial=2) < 2:
        raise ValueError("n holds 1, but draws of at least 2 rows are needed to leave one out")
    sums = np.zeros(counts.size)
    for _ in range(draws):
        order = rng.permutation(len(matrix))
        for at, count in enumerate(counts.reshape(-1).tolist()):
            rows = order[:count]
            model = KernelRegression(matrix[np.ix_(rows, rows)], labels[rows], intercept=False)
            sums[at] += np.square(model.loo(ridge, diag_reg_absolute_scale=True) - labels[rows]).mean()
    return (sums / draws).reshape(counts.shape)


def _counts(n: ArrayLike, size: int) -> NDArray[np.intp]:
    """Return numbers of samples from 1 to ``size − 1``, () or (S,)."""
    counts = arrays.finite_float64(n, "n")
    bad = (counts < 1) | (counts >= size) | (counts != np.floor(counts))
    if counts.ndim > 1 or bad.any():
        shown = f"has shape {counts.shape}" if counts.ndim > 1 else f"holds {counts[bad].flat[0]:g}"
        raise ValueError(f"n {shown}, but whole numbers from 1 to {size - 1} are needed, K having {size} rows")
    return counts.astype(np.intp)


def _kappa(values: Vector, ridge: float, count: int) -> float:
    """Return the κ at which ``Σ λ/(λ + κ) + δ/κ`` is ``count``; 0 without a ridge and without that many λ > 0."""
    from scipy.optimize import brentq

    lower = max(ridge, float(values[count])) / count  # the largest count + 1 eigenvalues alone sum to count there
    if lower == 0:
        return 0.0
    upper = (float(values.sum()) + ridge) / count
    root = brentq(
        lambda log: float((values / (values + np.exp(log))).sum()) + ridge / np.exp(log) - count,
        np.log(lower) - 1,
        np.log(upper) + 1,
        xtol=1e-14,
        rtol=8 * float(np.finfo(np.float64).eps),
    )
    return float(np.exp(root))


def _learnability(values: Vector, kappa: Vector) -> Vector:
    """Return ``λ/(λ + κ)``, which is 0 for λ = 0."""
    return np.divide(
        values, values + kappa, out=np.zeros(np.broadcast_shapes(values.shape, kappa.shape)), where=values > 0
    )


def _errors(values: Vector, energy: Vector, ridge: float, kappa: float, count: int) -> tuple[float, float]:
    """Return the expected errors at all rows and at unseen rows."""
    learned = _learnability(values, np.array(kappa))
    missing, rest = float((1 - learned) ** 2 @ energy), 1 - float((learned**2).sum()) / count
    if rest <= 0:  # without a ridge, and with as many positive eigenvalues as samples
        return (np.inf, np.inf) if missing > 0 else (0.0, 0.0)
    whole, share = missing / rest, count / len(values)
    trained = (ridge / (count * kappa)) ** 2 * whole if kappa else 0.0
    return whole, (whole - share * trained) / (1 - share)
