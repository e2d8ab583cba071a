"""A quantity of random networks as a function of their width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ntkrs._checks import arrays, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Report
    from ntkrs.layers import Sequential
    from ntkrs.network import Network


@dataclass(frozen=True)
class Line:
    """A power law in the width, ``log value = intercept + slope · log width``.

    Attributes
    ----------
    slope : float
        The exponent of the width.
    stderr : float or None
        The standard error of the slope, from the spread between seeds; None for a single seed.
    intercept : float
        log value at width 1.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.diagnostics import Line
    >>> Line(slope=-0.5, stderr=None, intercept=0.0)(np.array([4, 16]))
    array([0.5 , 0.25])
    """

    slope: float
    stderr: float | None
    intercept: float

    def __call__(self, widths: NDArray[Any]) -> NDArray[np.float64]:
        """Return the values of the power law at these widths."""
        return np.asarray(np.exp(self.intercept) * np.asarray(widths, dtype=float) ** self.slope)

    def __str__(self) -> str:
        return f"{self.slope:.3f}" + ("" if self.stderr is None else f" ± {self.stderr:.3f}")


@dataclass(frozen=True, eq=False)
class WidthScaling:
    """A quantity of random networks of several widths.

    Attributes
    ----------
    widths : (W,) ndarray of int
        Units per hidden layer.
    values : (W, S) ndarray
        The quantity for S networks of each width.
    line : Line or None
        The least-squares power law; None for a single width, or if a value is 0.
    samples : int
        N, the number of inputs on which the quantity was measured.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> from ntkrs.diagnostics import width_convergence
    >>> found = width_convergence(mlp(1, 1, 1, "relu"), np.eye(3), widths=(16, 64), seeds=5)
    >>> found.widths.tolist(), found.values.shape, found.samples
    ([16, 64], (2, 5), 3)
    """

    widths: NDArray[np.intp]
    values: NDArray[np.float64]
    line: Line | None
    samples: int

    #: The axis label of the quantity, in TeX.
    LABEL: ClassVar[str] = "value"

    def plot(self, ax: Any = None) -> Any:
        """Draw the values against the width, with the fitted line and a reference line of slope −1/2.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw in; by default those of a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is missing; the message says how to install it.
        """
        from ntkrs import plot

        return plot.width_scaling(self, ax)


def fit(widths: NDArray[np.intp], values: NDArray[np.float64]) -> Line | None:
    """Return the least-squares line of log value on log width, or None if there is none.

    Each column of ``values`` is an independent experiment with its own slope. The standard error is that of the mean of
    these slopes, so no model of the noise is needed.
    """
    if len(widths) < 2 or not (values > 0).all():
        return None
    slopes, intercepts = np.polyfit(np.log(widths), np.log(values), 1)
    stderr = float(slopes.std(ddof=1) / len(slopes) ** 0.5) if len(slopes) > 1 else None
    return Line(float(slopes.mean()), stderr, float(intercepts.mean()))


def sizes(widths: Sequence[int], seeds: int) -> tuple[NDArray[np.intp], int]:
    """Return the widths as an array and the number of seeds as an int, after checking both.

    Raises
    ------
    TypeError, ValueError
        If a width or ``seeds`` is not a positive integer, or the widths are empty or repeated.
    """
    checked = [numbers.integer(width, "widths") for width in arrays.sequence(widths, "widths")]
    if not checked or min(checked) < 1 or len(set(checked)) < len(checked):
        raise ValueError(f"widths is {checked}, but distinct numbers of at least 1 are needed")
    count = numbers.integer(seeds, "seeds")
    if count < 1:
        raise ValueError(f"seeds is {count}, but at least 1 network per width is needed")
    return np.asarray(checked, dtype=np.intp), count


def networks(
    arch: Sequential,
    in_features: int,
    widths: NDArray[np.intp],
    seeds: int,
    rng: int,
    measure: Callable[[Network], Any],
    report: Report | None,
) -> list[list[Any]]:
    """Return the results of ``measure`` for each width and seed, on networks drawn with ``[rng, width, seed]``.

    Progress is counted in units of width², the size of a network.
    """
    if len(arch.dense) < 2:
        raise ValueError(f"{arch!r} has no hidden layer, so no width to vary")
    cost = np.square(widths, dtype=np.int64)
    done, total = 0, int(cost.sum()) * seeds
    found = []
    for width, units in zip(widths.tolist(), cost.tolist(), strict=True):
        row = []
        for seed in range(seeds):
            net = arch.with_width(width).init(in_features, rng=np.random.default_rng([rng, width, seed]))
            row.append(measure(net))
            done += units
            if report is not None:
                report(done, total)
        found.append(row)
    return found
