"""Figures of the diagnostics as matplotlib ``Figure`` objects, and the style of all figures of this package.

matplotlib is imported on the first call. Figures are made without pyplot, so no window, no backend and no
global state are touched. Colours are Okabe & Ito's, and every curve also differs in line style or marker.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol

import numpy as np

from ntkrs._runtime.optional import require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["kernel_spectrum", "spectra", "width_scaling"]

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
    """A quantity of networks of several widths, such as :class:`ntkrs.diagnostics.WidthScaling`."""

    #: The quantity as TeX, for an axis.
    LABEL: ClassVar[str]

    @property
    def widths(self) -> NDArray[np.intp]:
        """Units per hidden layer, (W,)."""

    @property
    def values(self) -> NDArray[np.float64]:
        """The quantity for S networks of each width, (W, S)."""

    @property
    def line(self) -> Callable[[NDArray[Any]], NDArray[np.float64]] | None:
        """The fitted power law: from widths to values, its slope as ``str``."""


class Spectrum(Protocol):
    """Eigenvalues of a kernel, such as :class:`ntkrs.diagnostics.Spectrum`."""

    @property
    def eigenvalues(self) -> NDArray[np.float64]:
        """Descending, (n,)."""

    @property
    def effective_rank_entropy(self) -> float:
        """The exponential of the spectral entropy."""

    @property
    def label_energy(self) -> NDArray[np.float64] | None:
        """Shares of the labels along the eigenvectors, (n,); None without labels."""


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run ``draw`` under `STYLE`, whatever the user's matplotlib configuration says."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with require("matplotlib.style", "matplotlib").context(["default", STYLE]):
            return draw(*args, **kwargs)

    return wrapper


def panels(*widths: float, height: float = 3.4) -> tuple[Figure, Any]:
    figure = require("matplotlib.figure", "matplotlib").Figure(figsize=(sum(widths), height), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    return figure, axes if len(widths) > 1 else axes[0]


@styled
def width_scaling(result: WidthScaling) -> Figure:
    """A quantity of finite networks against width, the fitted line, and the reference n^(-1/2)."""
    figure, ax = panels(5.4, height=3.6)
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
    return figure


def plain_log_ticks(ax: Any, widths: list[int]) -> None:
    """Written-out numbers on both log axes: x at the widths, y at 1, 2 and 5 of every decade."""
    ticker = require("matplotlib.ticker", "matplotlib")
    ax.set_xticks(widths, [str(width) for width in widths])
    ax.set_xticks([], minor=True)
    ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(ticker.NullLocator())


def kernel_spectrum(result: Spectrum) -> Figure:
    """One kernel's :func:`spectra`."""
    return spectra({"kernel": result})


@styled
def spectra(results: Mapping[str, Spectrum]) -> Figure:
    """Eigenvalues on log axes, and, with labels, the share of their energy in the leading eigenvectors."""
    labelled = all(result.label_energy is not None for result in results.values())
    figure, axes = panels(*([3.7, 3.7] if labelled else [3.7, 0.01]))
    left, right = axes
    looks = zip(results.items(), (VERMILION, BLUE, GREEN), ("--", "-", "-."), strict=False)
    for (name, result), color, style in looks:
        share = result.eigenvalues / max(result.eigenvalues.sum(), np.finfo(float).tiny)
        index = np.arange(1, len(share) + 1)
        rank = f"effective rank {result.effective_rank_entropy:.0f}"
        left.plot(index, share, style, color=color, label=f"{name} ({rank})")
        if result.label_energy is not None:
            right.plot(index, 100 * np.cumsum(result.label_energy), style, color=color, label=name)
    left.set(xscale="log", yscale="log", xlabel="index $i$ of eigenvalue", title="(a) spectrum")
    left.set(ylabel=r"$\lambda_i\,/\,\mathrm{trace}$")
    left.legend(loc="lower left")
    if labelled:
        right.set(xscale="log", xlabel="number of leading eigenvectors", ylabel="label energy captured (%)")
        right.set(title="(b) labels in the eigenbasis", ylim=(0, 102))
        right.legend(loc="upper left")
    else:
        right.remove()
    return figure
