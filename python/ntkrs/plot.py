"""Figures of the diagnostics, and the style of all figures of this package.

Every function returns a matplotlib ``Figure``, and matplotlib is imported on the first call. The figures are made
without pyplot: no window opens, and neither the backend nor any global state changes. The colours are those of Okabe
and Ito, and curves differ in line style or marker as well.

Examples
--------
>>> import numpy as np
>>> from ntkrs import diagnostics, mlp, plot
>>> K = mlp(depth=2, width=1, outputs=1).kernel()(np.eye(4))
>>> figure = plot.kernel_spectrum(diagnostics.spectrum(K))
>>> type(figure).__module__
'matplotlib.figure'
"""

from __future__ import annotations

from functools import partial, wraps
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, cast

import numpy as np

from ntkrs._runtime.optional import require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["kernel_spectrum", "learning_curve", "spectra", "width_scaling"]

P = ParamSpec("P")
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


class WidthScaling(Protocol):
    """A quantity of networks of several widths: the interface of :class:`ntkrs.diagnostics.WidthScaling`."""

    #: The quantity in TeX, the label of an axis.
    LABEL: ClassVar[str]

    @property
    def widths(self) -> NDArray[np.intp]:
        """The units per hidden layer, (W,)."""

    @property
    def values(self) -> NDArray[np.float64]:
        """The quantity for S networks of each width, (W, S)."""

    @property
    def line(self) -> Callable[[NDArray[Any]], NDArray[np.float64]] | None:
        """The fitted power law, from widths to values. Its ``str`` gives the slope. None without a fit."""


class Spectrum(Protocol):
    """The eigenvalues of a kernel: the interface of :class:`ntkrs.diagnostics.Spectrum`."""

    @property
    def eigenvalues(self) -> NDArray[np.float64]:
        """The eigenvalues in descending order, (n,)."""

    @property
    def effective_rank_entropy(self) -> float:
        """The exponential of the spectral entropy."""

    @property
    def label_energy(self) -> NDArray[np.float64] | None:
        """The share of the targets' energy along each eigenvector, (n,); None without targets."""


class LearningCurve(Protocol):
    """Expected errors for several numbers of samples: the interface of :class:`ntkrs.diagnostics.LearningCurve`."""

    @property
    def n(self) -> NDArray[np.intp]:
        """The numbers of samples, () or (S,)."""

    @property
    def unseen(self) -> NDArray[np.float64]:
        """The expected errors at unseen rows, () or (S,)."""

    @property
    def loo(self) -> NDArray[np.float64] | None:
        """The errors of leave-one-out, () or (S,), or None."""


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run ``draw`` in the style of this package, whatever the user's matplotlib configuration says."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with require("matplotlib.style", "matplotlib").context(["default", STYLE]):
            return draw(*args, **kwargs)

    return wrapper


def panels(*widths: float, height: float = 3.4) -> tuple[Figure, Any]:
    """Return a figure with one row of panels of these widths in inches, and its axes: an array, or a single one."""
    figure = require("matplotlib.figure", "matplotlib").Figure(figsize=(sum(widths), height), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    figure._repr_png_ = partial(_png, figure)  # a notebook shows the figure, also without pyplot
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    return figure, axes if len(widths) > 1 else axes[0]


def _png(figure: Figure) -> bytes:
    """Return the figure as a picture."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    return picture.getvalue()


@styled
def width_scaling(result: WidthScaling, ax: Any = None) -> Figure:
    """Draw a quantity of finite networks against width, with its fitted power law and the reference n^(-1/2).

    Parameters
    ----------
    result : WidthScaling
        The quantity, as the functions of :mod:`ntkrs.diagnostics` return it.
    ax : matplotlib.axes.Axes, optional
        The axes to draw in; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure of the axes. Without a power law they are linear, otherwise logarithmic.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import diagnostics, mlp, plot
    >>> found = diagnostics.width_convergence(mlp(1, 1, 1, "relu"), np.eye(3), widths=(16, 64), seeds=3)
    >>> figure = plot.width_scaling(found)
    >>> figure.axes[0].get_xscale()
    'log'
    """
    if ax is None:
        _, ax = panels(5.4, height=3.6)
    widths, values = result.widths.astype(float), result.values
    seeds = np.broadcast_to(widths[:, None], values.shape)
    label = f"one network ({values.shape[1]} seeds per width)"
    ax.plot(seeds.ravel(), values.ravel(), ".", color="0.7", markersize=4, label=label)
    ax.set(xlabel="hidden width $n$ (units per layer)", ylabel=result.LABEL)
    if result.line is None:
        ax.plot(widths, values.mean(axis=1), "o", color=BLUE, label="mean over seeds")
    else:
        ax.plot(widths, result.line(widths), "-", color=BLUE, label=f"fit: slope {result.line}")
        typical = np.exp(np.log(values).mean(axis=1))
        ax.plot(widths, typical, "o", color=BLUE, label="geometric mean over seeds")
        reference = 2.2 * typical[0] * np.sqrt(widths[0] / widths)
        ax.plot(widths, reference, "--", color=VERMILION, label=r"reference $\propto n^{-1/2}$ (shifted up)")
        ax.set(xscale="log", yscale="log")
        plain_log_ticks(ax, result.widths.tolist())
        ax.set_ylim(top=2.2 * reference[0])
    ax.legend(loc="upper right", fontsize=8.5)
    return cast("Figure", ax.figure)


def plain_log_ticks(ax: Any, numbers: list[int]) -> None:
    """Label both log axes with plain numbers: x at these ones, y at 1, 2 and 5 of every decade."""
    ticker = require("matplotlib.ticker", "matplotlib")
    ax.set_xticks(numbers, [str(number) for number in numbers])
    ax.set_xticks([], minor=True)
    ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_locator(ticker.NullLocator())


@styled
def learning_curve(result: LearningCurve, ax: Any = None) -> Figure:
    """Draw the expected error of kernel regression against the number of samples, on log axes.

    Parameters
    ----------
    result : LearningCurve
        The errors, as :func:`ntkrs.diagnostics.learning_curve` returns them.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure of the axes.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import diagnostics, plot
    >>> found = diagnostics.learning_curve(np.eye(9), np.ones(9), [1, 2, 4])
    >>> figure = plot.learning_curve(found)
    >>> figure.axes[0].get_xscale()
    'log'
    """
    if ax is None:
        _, ax = panels(5.4)
    ax.plot(np.atleast_1d(result.n), np.atleast_1d(result.unseen), "o-", color=BLUE, markersize=4, label="expected")
    if result.loo is not None:
        ax.plot(np.atleast_1d(result.n), np.atleast_1d(result.loo), "s--", color=VERMILION, label="leave-one-out")
    ax.set(xscale="log", yscale="log", xlabel="training samples $n$", ylabel="mean squared error, unseen rows")
    plain_log_ticks(ax, np.unique(result.n).tolist())
    ax.legend(loc="upper right")
    return ax.figure  # type: ignore[no-any-return]  # axes are Any


def kernel_spectrum(result: Spectrum, ax: Any = None) -> Figure:
    """Draw the spectrum of one kernel, as :func:`spectra` does.

    Parameters
    ----------
    result : Spectrum
        The eigenvalues, as :func:`ntkrs.diagnostics.spectrum` returns them.
    ax : matplotlib.axes.Axes, or a pair of them, optional
        As for :func:`spectra`.

    Returns
    -------
    matplotlib.figure.Figure
        One panel, or two if there are targets.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import diagnostics, plot
    >>> figure = plot.kernel_spectrum(diagnostics.spectrum(np.diag([3.0, 1.0])))
    >>> figure.axes[0].get_title(loc="left")
    '(a) spectrum'
    """
    return spectra({"kernel": result}, ax)


@styled
def spectra(results: Mapping[str, Spectrum], ax: Any = None) -> Figure:
    """Draw the eigenvalues of kernels on log axes, and the share of the targets' energy in the leading eigenvectors.

    Parameters
    ----------
    results : mapping of str to Spectrum
        The eigenvalues of up to three kernels, by name, as :func:`ntkrs.diagnostics.spectrum` returns them.
    ax : matplotlib.axes.Axes, or a pair of them, optional
        The axes to draw in: one for the eigenvalues alone, a pair for both panels. By default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The panel of the eigenvalues, and the panel of the targets if all results have targets.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import diagnostics, mlp, plot
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> both = mlp(depth=2, width=1, outputs=1).kernel()(X, get=("nngp", "ntk"))
    >>> found = {"NNGP": diagnostics.spectrum(both.nngp, y), "NTK": diagnostics.spectrum(both.ntk, y)}
    >>> figure = plot.spectra(found)
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['(a) spectrum', '(b) labels in the eigenbasis']
    """
    labelled = all(result.label_energy is not None for result in results.values())
    if ax is None:
        ax = panels(*([3.7, 3.7] if labelled else [3.7]))[1]
    left, right = (*np.atleast_1d(ax), None)[:2]
    looks = zip(results.items(), (VERMILION, BLUE, GREEN), ("--", "-", "-."), strict=False)
    for (name, result), color, style in looks:
        share = result.eigenvalues / max(result.eigenvalues.sum(), np.finfo(float).tiny)
        index = np.arange(1, len(share) + 1)
        rank = f"effective rank {result.effective_rank_entropy:.0f}"
        left.plot(index, share, style, color=color, label=f"{name} ({rank})")
        if labelled and right is not None and result.label_energy is not None:
            right.plot(index, 100 * np.cumsum(result.label_energy), style, color=color, label=name)
    left.set(xscale="log", yscale="log", xlabel="index $i$ of eigenvalue", title="(a) spectrum")
    left.set(ylabel=r"$\lambda_i\,/\,\mathrm{trace}$")
    left.legend(loc="lower left")
    if labelled and right is not None:
        right.set(xscale="log", xlabel="number of leading eigenvectors", ylabel="label energy captured (%)")
        right.set(title="(b) labels in the eigenbasis", ylim=(0, 102))
        right.legend(loc="upper left")
    return cast("Figure", left.figure)


@styled
def importances(scales: NDArray[np.float64], names: list[str] | None = None, ax: Any = None) -> Figure:
    """Draw one bar for each feature, the largest at the top, at most 30 of them.

    Parameters
    ----------
    scales : (n_0,) ndarray
        The factor of each feature.
    names : list of str, optional
        The name of each feature.
    ax : matplotlib.axes.Axes, optional
        The axes to draw in; by default those of a new figure.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.plot import importances
    >>> figure = importances(np.array([0.2, 1.5]), ["age", "dose"])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['dose', 'age']
    """
    shown = np.argsort(-scales, kind="stable")[:30]
    if ax is None:
        _, ax = panels(5.4, height=0.9 + 0.2 * len(shown))
    ax.barh(np.arange(len(shown)), scales[shown], color=BLUE)
    ax.set_yticks(np.arange(len(shown)), [f"feature {at}" if names is None else names[at] for at in shown.tolist()])
    ax.set(xlabel="factor of the feature")
    ax.invert_yaxis()
    return cast("Figure", ax.figure)


@styled
def bands(
    x: NDArray[np.float64],
    means: NDArray[Any],
    limits: tuple[NDArray[Any], ...] | None,
    ax: Any = None,
) -> Figure:
    """Draw curves of one input, each with a band between two limits.

    Parameters
    ----------
    x : (M,) ndarray
        The inputs, in any order.
    means : (M, O) ndarray
        One curve for each column.
    limits : ((M, O) ndarray, (M, O) ndarray) or None
        The lower and upper limits of the bands.
    ax : matplotlib.axes.Axes, optional
        The axes to draw in; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure of the axes.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.plot import bands
    >>> figure = bands(np.array([0.0, 1.0]), np.zeros((2, 1)), (-np.ones((2, 1)), np.ones((2, 1))))
    >>> len(figure.axes[0].lines)
    1
    """
    if ax is None:
        _, ax = panels(5.4)
    order = np.argsort(x, kind="stable")
    colours, styles = (BLUE, VERMILION, GREEN, GREY), ("-", "--", "-.", ":")
    for o in range(means.shape[1]):
        colour = colours[o % len(colours)]
        ax.plot(x[order], means[order, o], styles[o % len(styles)], color=colour, label=f"output {o}")
        if limits is not None:
            ax.fill_between(x[order], *(limit[order, o] for limit in limits), color=colour, alpha=0.2, linewidth=0)
    ax.set(xlabel="$x$", ylabel="$f(x)$")
    if means.shape[1] > 1:
        ax.legend()
    return cast("Figure", ax.figure)
