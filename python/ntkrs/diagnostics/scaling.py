"""A quantity of random networks against their width."""

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
    """``log value = intercept + slope · log width``.

    Attributes
    ----------
    slope : float
        The exponent.
    stderr : float or None
        Its standard error, from the spread between seeds; None for one seed.
    intercept : float
        Of the logarithms.
    """

    slope: float
    stderr: float | None
    intercept: float

    def __call__(self, widths: NDArray[Any]) -> NDArray[np.float64]:
        """The value that the line gives for some widths."""
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
        The least-squares power law; None for a single width, or where a value is 0.
    samples : int
        N, how many inputs it was measured on.
    """

    widths: NDArray[np.intp]
    values: NDArray[np.float64]
    line: Line | None
    samples: int

    #: How the quantity is written on an axis, as TeX.
    LABEL: ClassVar[str] = "value"

    def plot(self) -> Any:
        """Draw the values against the width, with the fitted line and a slope of −1/2.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib is missing; the message says how to install it.
        """
        from ntkrs import plot

        return plot.width_scaling(self)


def fit(widths: NDArray[np.intp], values: NDArray[np.float64]) -> Line | None:
    """Least-squares line of log value on log width.

    Column j of ``values`` is an independent experiment with a slope of its own, so the standard error is that of their
    mean, and no model of the noise is needed.
    """
    if len(widths) < 2 or not (values > 0).all():
        return None
    slopes, intercepts = np.polyfit(np.log(widths), np.log(values), 1)
    stderr = float(slopes.std(ddof=1) / len(slopes) ** 0.5) if len(slopes) > 1 else None
    return Line(float(slopes.mean()), stderr, float(intercepts.mean()))


def sizes(widths: Sequence[int], seeds: int) -> tuple[NDArray[np.intp], int]:
    """Widths and the number of seeds, checked.

    Raises
    ------
    TypeError, ValueError
        If they are no positive integers, or there is no width, or one twice.
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
    """What ``measure`` makes of ``seeds`` networks of each width, drawn from ``[rng, width, seed]``.

    Progress is counted in units of width², the size of the networks.
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
