"""The figures of the demo that no other part of the package draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs.plot import BLUE, GREEN, GREY, VERMILION, panels, plain_log_ticks, styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from ntkrs.demo.data import Digits
    from ntkrs.demo.finite import FiniteTraining
    from ntkrs.demo.infinite import Circle, Dynamics, Gram
    from ntkrs.demo.line import Line
    from ntkrs.demo.scores import Scores
    from ntkrs.plot import WidthScaling


@styled
def gram(k: Gram, data: Digits) -> Figure:
    """Draw the cosine-normalised NNGP and NTK, with the samples sorted by digit."""
    figure, axes = panels(3.6, 3.6, height=3.1)
    order = np.argsort(data.labels, kind="stable")
    edges = np.searchsorted(data.labels[order], np.arange(11))
    for ax, name, matrix in zip(axes, ("NNGP", "NTK"), (k.nngp, k.ntk), strict=True):
        scale = np.sqrt(np.diag(matrix))[order]
        normal = matrix[np.ix_(order, order)] / np.outer(scale, scale)
        image = ax.imshow(normal, cmap="cividis", vmin=np.quantile(normal, 0.001), vmax=np.quantile(normal, 0.98))
        ax.set(title=f"({'ab'[name == 'NTK']}) {name}", xlabel="digit", xticks=(edges[:-1] + edges[1:]) / 2)
        ax.set(ylabel="digit", yticks=(edges[:-1] + edges[1:]) / 2, xticklabels=range(10), yticklabels=range(10))
        ax.tick_params(length=0)
        figure.colorbar(image, ax=ax, shrink=0.8, extend="both", label="cosine-normalised kernel")
    return figure


@styled
def scores(digits: Scores, diabetes: Scores) -> Figure:
    """Draw held-out scores, accuracy on digits and R² on diabetes: a dot for each method, with bars of one spread."""
    figure, axes = panels(4.1, 4.1, height=2.6)
    for ax, result, scale in zip(axes, (digits, diabetes), (100, 1), strict=True):
        rows = np.arange(len(result.scores))[::-1]
        for row, score in zip(rows, result.scores, strict=True):
            ours = score.method.startswith(("NTK", "NNGP"))
            ax.errorbar(
                scale * score.value,
                row,
                xerr=scale * score.spread,
                fmt="o" if ours else "s",
                color=BLUE if ours else GREY,
                capsize=3,
            )
        ax.set(yticks=rows, yticklabels=[score.method for score in result.scores], ylim=(-0.6, len(rows) - 0.4))
        ax.grid(axis="x", color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)
    axes[0].set(title=f"(a) digits, {digits.n_test} held out", xlabel="test accuracy (%), ± standard error")
    axes[1].set(
        title=f"(b) diabetes, {diabetes.n_test} held out",
        xlabel=f"test $R^2$, ± s.d. over {diabetes.splits} splits",
    )
    return figure


@styled
def training_dynamics(result: Dynamics) -> Figure:
    """Draw losses and test accuracy against training time. Dotted lines are their limits at t = ∞."""
    figure, (left, right) = panels(3.8, 3.6)
    left.plot(result.times, result.train_loss, "--", color=GREY, label="training loss (falls to 0)")
    left.plot(result.times, result.test_loss, "-", color=BLUE, label="test loss")
    left.axhline(result.test_loss_inf, color=BLUE, linestyle=":", linewidth=1.2, label=r"test loss at $t=\infty$")
    floor = 0.02 * min(result.test_loss.min(), result.test_loss_inf)
    left.set(xscale="log", yscale="log", ylim=(floor, 2 * result.test_loss.max()), title="(a) loss")
    left.set(xlabel=r"training time $\eta t$ (dimensionless)", ylabel="half mean square error")
    left.legend(loc="lower left")
    right.plot(result.times, 100 * result.accuracy, "-", color=BLUE, label="test accuracy")
    right.axhline(
        100 * result.accuracy_inf,
        color=BLUE,
        linestyle=":",
        linewidth=1.2,
        label=r"test accuracy at $t=\infty$",
    )
    right.set(xscale="log", xlabel=r"training time $\eta t$ (dimensionless)", ylabel="test accuracy (%)")
    right.set_title("(b) accuracy")
    right.legend(loc="lower right")
    return figure


@styled
def circle(result: Circle) -> Figure:
    """Draw predictions on the unit circle at several training times, and the training points."""
    figure, ax = panels(6.0, height=3.4)
    last = len(result.times) - 1
    styles = [("0.75", "-"), (GREEN, "-."), (VERMILION, "--"), (BLUE, "-")][-len(result.times) :]
    for i, (time, curve) in enumerate(zip(result.times, result.curves, strict=True)):
        color, style = styles[i]
        label = r"$\eta t=\infty$" if i == last else rf"$\eta t={time:g}$"
        ax.plot(np.degrees(result.angles), curve, style, color=color, label=label)
    ax.plot(np.degrees(result.train_angles), result.train_targets, "ko", markersize=6, label="training points")
    ax.set(xlabel=r"angle of $x=(\cos\gamma,\sin\gamma)$ (degrees)", ylabel="prediction $f_t(x)$")
    ax.set(xticks=range(-180, 181, 60), xlim=(-180, 180), ylim=(-1.1, 1.1))
    ax.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def line(result: Line) -> Figure:
    """Draw random networks, trained ones, and one while it learns, each with the closed form of infinite width."""
    figure, (before, after, during) = panels(3.3, 3.3, 3.3, height=3.0)
    bands = (np.zeros_like(result.mean), result.prior_std), (result.mean, result.std)
    for ax, outputs, (mean, std) in zip((before, after), (result.prior, result.trained), bands, strict=True):
        ax.fill_between(result.x, mean - 2 * std, mean + 2 * std, color=BLUE, alpha=0.2, linewidth=0)
        ax.plot(result.x, mean, color=BLUE, label="infinite width")
        ax.plot(result.x, outputs.T, color=GREY, linewidth=0.8)
        ax.plot([], [], color=GREY, linewidth=0.8, label=f"width {result.width}")
    colors = ("0.75", GREEN, VERMILION, BLUE)[-len(result.steps) :]
    for count, network, theory, color in zip(result.steps, result.learning, result.predicted, colors, strict=True):
        during.plot(result.x, network, color=color, label=f"{count} steps")
        during.plot(result.x[::5], theory[::5], "o", color=color, markersize=3)
    titles = ("(a) before training", "(b) after training", "(c) one network")
    for ax, title in zip((before, after, during), titles, strict=True):
        ax.set(title=title, xlabel="$x$", xlim=(-1.2, 1.2))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8.5)
    for ax in (after, during):
        ax.plot(result.train_x, result.train_y, "ko", markersize=5, zorder=5)
    before.set_ylabel("$f(x)$")
    return figure


@styled
def finite_training(result: FiniteTraining) -> Figure:
    """Draw the losses of trained finite networks, and of the closed forms for comparison."""
    figure, axes = panels(3.8, 3.8)
    looks = [("0.6", "-."), (GREEN, "--"), (VERMILION, "-")]
    widest = max(result.trained)
    for row, (ax, title) in enumerate(zip(axes, ("(a) training loss", "(b) test loss"), strict=True)):
        for (width, loss), (color, style) in zip(result.trained.items(), looks[-len(result.trained) :], strict=True):
            ax.plot(result.steps, loss[row], style, color=color, label=f"trained, width {width}")
        look = {"color": "black", "markersize": 4, "markerfacecolor": "none"}
        ax.plot(result.steps, result.linear[row], "s", label=f"closed form, kernel of width {widest}", **look)
        ax.plot(result.steps, result.infinite[row], "o", color=BLUE, markersize=4, label="closed form, infinite width")
        ax.set(xscale="log", yscale="log", xlabel="steps of gradient descent", ylabel="half mean square error")
        ax.set_title(title)
    axes[0].legend(loc="lower left", fontsize=8.5)
    return figure


@styled
def parameters(result: FiniteTraining) -> Figure:
    """Draw the training loss of finite networks, and how far their parameters have moved."""
    figure, (left, right) = panels(3.8, 3.8)
    looks = [("0.6", "-."), (GREEN, "--"), (VERMILION, "-")]
    for (width, loss), (color, style) in zip(result.trained.items(), looks[-len(result.trained) :], strict=True):
        left.plot(result.steps, loss[0], style, color=color, label=f"width {width}")
        right.plot(result.steps, result.moved[width], style, color=color, label=f"width {width}")
    left.set(title="(a) the loss falls", ylabel="training loss")
    right.set(title=r"(b) $\theta$ hardly moves", ylabel=r"$\|\theta_t-\theta_0\|\,/\,\|\theta_0\|$")
    for ax in (left, right):
        ax.set(xscale="log", yscale="log", xlabel="steps of gradient descent")
    left.legend(loc="lower left")
    return figure


@styled
def lazy_training(results: Mapping[str, WidthScaling]) -> Figure:
    """Draw measures of lazy training against width, one panel for each, given by title."""
    figure, axes = panels(*[3.3] * len(results))
    for ax, (title, result) in zip(axes, results.items(), strict=True):
        widths, values = result.widths.astype(float), result.values
        ax.plot(np.broadcast_to(widths[:, None], values.shape).ravel(), values.ravel(), ".", color="0.7", markersize=4)
        if result.line is not None:
            ax.plot(widths, result.line(widths), "-", color=BLUE, label=f"fit: slope {result.line}")
        reference = 1.6 * values.max() * np.sqrt(widths[0] / widths)
        ax.plot(widths, reference, "--", color=VERMILION, label=r"reference $\propto n^{-1/2}$")
        ax.set(xscale="log", yscale="log", xlabel="hidden width $n$", ylabel=result.LABEL, title=title)
        plain_log_ticks(ax, result.widths.tolist())
        ax.set_ylim(0.4 * values.min(), 1.6 * reference[0])
        ax.legend(loc="lower left", fontsize=8.5)
    return figure
