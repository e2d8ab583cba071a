"""The output of ``ntkrs demo``: PNGs, ``summary.json``, a self-contained ``report.html``, and a short table."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs import plot
from ntkrs._runtime.versions import versions
from ntkrs.demo import figures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from ntkrs.demo.data import Digits, Settings
    from ntkrs.demo.finite import FiniteTraining, Lazy
    from ntkrs.demo.infinite import Circle, Dynamics, Gram
    from ntkrs.demo.line import Line as Functions
    from ntkrs.demo.scores import Scores
    from ntkrs.diagnostics import Line, Spectrum, WidthConvergence


@dataclass(frozen=True)
class Results:
    """The results of one run of the demo, with the wall time of each stage in seconds."""

    settings: Settings
    seed: int
    data: Digits
    gram: Gram
    digits: Scores
    diabetes: Scores
    images: Scores
    width: WidthConvergence
    dynamics: Dynamics
    circle: Circle
    line: Functions
    spectrum: Mapping[str, Spectrum]
    trained: FiniteTraining
    lazy: Lazy
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Panel:
    """A figure of the report: the stem of its file, the function that draws it, and its caption in HTML."""

    stem: str
    draw: Callable[[Results], Figure]
    caption: Callable[[Results], str]


def _caption_scores(r: Results) -> str:
    """Return the caption of the held-out scores."""
    return (
        f"Scores on held-out data. (a) Digits: accuracy on {r.digits.n_test} images after training on "
        f"{r.digits.n_train}, one split for all methods; bars: binomial standard error. (b) Diabetes: "
        f"R² on {r.diabetes.n_test} patients after training on {r.diabetes.n_train}, mean over "
        f"{r.diabetes.splits} random splits, the same for all methods; bars: standard deviation over splits. "
        "Ridge, bandwidth and C are chosen by cross-validation inside the training part."
    )


def _caption_width(r: Results) -> str:
    """Return the caption of the convergence with width."""
    w = r.width
    return (
        f"Random finite networks approach the limit of infinite width. Relative error of the empirical NTKs of "
        f"networks with {r.settings.depth} hidden ReLU layers on {w.samples} digits, compared with the exact "
        f"infinite-width kernel; {w.values.shape[1]} independent networks per width. The least-squares line through "
        f"all points has slope {w.line} (standard error over seeds); theory says −1/2."
    )


def _caption_dynamics(r: Results) -> str:
    """Return the caption of training at infinite width."""
    d = r.dynamics
    return (
        "Training an infinitely wide network on the digits by gradient flow on the square loss, in closed "
        "form: f<sub>t</sub>(x) = k(x,X) K<sup>−1</sup> (I − e<sup>−ηKt/Z</sup>) Y, starting from "
        "f<sub>0</sub> = 0 (the mean over random initialisations), with Z = N·O (training images times "
        "outputs). No training steps are taken: each time is computed directly. (a) Half the mean square error. "
        f"(b) Accuracy on the {r.digits.n_test} held-out images; at t = ∞ it is {100 * d.accuracy_inf:.1f} %."
    )


def _caption_trained(r: Results) -> str:
    """Return the caption of training at finite width."""
    widest = max(r.trained.trained)
    return (
        "Finite networks with all parameters trained by full-batch gradient descent on "
        f"{r.trained.samples} digits, compared with closed forms, which take no step: f<sub>k</sub>(x) = k(x,X) "
        f"K<sup>−1</sup> (I − (I − ηK/Z)<sup>k</sup>) Y, with the kernel of the network of width {widest} before "
        "training, and with that of the infinitely wide one. All start from 0 with the same learning rate. (b) shows "
        f"the {len(r.data.test)} held-out images."
    )


def _caption_line(r: Results) -> str:
    """Return the caption of functions of one variable."""
    line = r.line
    return (
        f"Functions of one variable: {len(line.prior)} networks with two hidden layers of {line.width} erf units. "
        "(a) Before training. The band has two standard deviations at infinite width. (b) The same networks after "
        f"{line.steps[-1]} steps of gradient descent on the black dots. The band is that of infinitely wide networks "
        f"after as many steps, and {100 * line.coverage:.0f} % of the outputs lie in it. (c) The first network while "
        "it learns (lines), and the closed form from its kernel and outputs before training (small dots)."
    )


def _caption_lazy(r: Results) -> str:
    """Return the caption of the measures of lazy training."""
    drift, s = r.lazy.drift, r.settings
    return (
        f"Wide networks are lazy. Networks with {s.depth} hidden ReLU layers learn to tell even from odd digits on "
        f"{drift.samples} images for {s.lazy_steps} steps; {s.lazy_seeds} networks per width. (a) Change of the "
        "empirical NTK. (b) Largest distance of the outputs from those of the linearization at the start, trained in "
        "the same way in closed form. Theory bounds both by n<sup>−1/2</sup>; (a) may fall as fast as 1/n. (c) κ, "
        f"which predicts both from the second derivative before training, for {s.kappa_seeds} networks per width "
        "with the smooth activation erf, because ReLU has no second derivative."
    )


PANELS = (
    Panel(
        "gram",
        lambda r: figures.gram(r.gram, r.data),
        lambda r: (
            f"Infinite-width kernels of all {len(r.data.x)} digits, sorted by class: "
            "K(x,x′) / √(K(x,x) K(x′,x′)). The bright blocks on the diagonal show that images of the same digit are "
            "similar to each other. The colour scale is clipped at the 0.1 % and 98 % quantiles."
        ),
    ),
    Panel("scores", lambda r: figures.scores(r.digits, r.diabetes), _caption_scores),
    Panel("width_scaling", lambda r: plot.width_scaling(r.width), _caption_width),
    Panel("training_dynamics", lambda r: figures.training_dynamics(r.dynamics), _caption_dynamics),
    Panel(
        "circle",
        lambda r: figures.circle(r.circle),
        lambda r: (
            "Predictions of infinitely wide networks on the unit circle, averaged over random initialisations, at "
            f"several training times. There are {len(r.circle.train_angles)} training points, and at t = ∞ the "
            "prediction passes through all of them."
        ),
    ),
    Panel("line", lambda r: figures.line(r.line), _caption_line),
    Panel(
        "spectrum",
        lambda r: plot.spectra(r.spectrum),
        lambda r: (
            f"(a) Eigenvalues of the {len(r.data.x)} × {len(r.data.x)} kernels as shares of the trace. The "
            "first belongs to a nearly constant function. The effective rank is the exponential of the spectral "
            "entropy. (b) Share of the centred labels' energy in the leading eigenvectors. Directions with "
            "large eigenvalues are learned first."
        ),
    ),
    Panel("finite_training", lambda r: figures.finite_training(r.trained), _caption_trained),
    Panel(
        "lazy_training",
        lambda r: figures.lazy_training(
            {"(a) kernel": r.lazy.drift, "(b) outputs": r.lazy.gap, "(c) before training": r.lazy.kappa}
        ),
        _caption_lazy,
    ),
)


def _line(w: WidthConvergence) -> Line:
    """Return the fitted power law of the width scaling."""
    if w.line is None:
        raise ValueError("the demo needs at least two widths, to fit a line to")
    return w.line


def _distances(r: Results) -> tuple[float, float]:
    """Return the largest relative distances of the widest network's test loss from those of two closed forms.

    The first is its linearization, the second is infinite width.
    """
    trained = r.trained.trained[max(r.trained.trained)]
    linear, infinite = (np.abs(trained[1] / loss[1] - 1).max() for loss in (r.trained.linear, r.trained.infinite))
    return float(linear), float(infinite)


def _scores_summary(s: Scores) -> dict[str, Any]:
    """Return scores, ready for JSON."""
    rows = {x.method: {"score": x.value, "spread": x.spread, "chosen": x.chosen} for x in s.scores}
    return {"n_train": s.n_train, "n_test": s.n_test, "splits": s.splits, "methods": rows}


def summary(r: Results) -> dict[str, Any]:
    """Return all numbers of a run, ready for JSON.

    Scores are fractions, times are in seconds, and memory is in MB (1e6 bytes).
    """
    w, d = r.width, r.dynamics
    return {
        "versions": versions(),
        "seed": r.seed,
        "settings": asdict(r.settings),
        "gram": {
            "samples": len(r.data.x),
            "features": r.data.x.shape[1],
            "seconds": r.gram.seconds,
            "megabytes": r.gram.megabytes,
            "peak_megabytes": r.gram.peak_megabytes,
        },
        "digits_accuracy": _scores_summary(r.digits),
        "diabetes_r2": _scores_summary(r.diabetes),
        "few_labels_accuracy": _scores_summary(r.images),
        "width_scaling": {
            "slope": _line(w).slope,
            "slope_stderr": _line(w).stderr,
            "slope_theory": -0.5,
            "relative_error_rms": dict(zip(map(str, w.widths), np.sqrt((w.values**2).mean(axis=1)), strict=True)),
            "relative_errors": dict(zip(map(str, w.widths), w.values.tolist(), strict=True)),
            "samples": w.samples,
            "seeds": w.values.shape[1],
        },
        "dynamics": {
            "test_accuracy_at_infinity": d.accuracy_inf,
            "test_loss_at_infinity": d.test_loss_inf,
            "train_loss_at_infinity": d.train_loss_inf,
            "test_accuracy_best": float(d.accuracy.max()),
            "time_of_lowest_test_loss": float(d.times[np.argmin(d.test_loss)]),
        },
        "line": {"width": r.line.width, "networks": len(r.line.prior), "coverage_of_two_std": r.line.coverage},
        "effective_rank": {name: found.effective_rank_entropy for name, found in r.spectrum.items()},
        "finite_training": {
            "steps": r.trained.steps.tolist(),
            "trained": {str(width): losses.tolist() for width, losses in r.trained.trained.items()},
            "linear": r.trained.linear.tolist(),
            "infinite": r.trained.infinite.tolist(),
        },
        "lazy_training": {
            "widths": r.lazy.drift.widths.tolist(),
            "kernel_drift": r.lazy.drift.values.mean(axis=1).tolist(),
            "linearization_gap": r.lazy.gap.values.mean(axis=1).tolist(),
            "kappa": r.lazy.kappa.values.mean(axis=1).tolist(),
        },
        "seconds": {**r.seconds, "total": sum(r.seconds.values())},
    }


def _rows(r: Results) -> list[tuple[str, str]]:
    """Return the headline numbers as pairs of name and value, in ASCII."""
    peak = "" if r.gram.peak_megabytes is None else f", process peak {r.gram.peak_megabytes:.0f} MB"
    n = len(r.data.x)
    size = f"{r.gram.seconds:.2f} s, {r.gram.megabytes:.0f} MB{peak}"
    rows = [(f"NNGP and NTK Gram matrices, {n} x {n}", size)]
    rows += [
        (f"digits accuracy, {s.method}", f"{100 * s.value:.1f} % +/- {100 * s.spread:.1f}") for s in r.digits.scores
    ]
    rows += [(f"diabetes R^2, {s.method}", f"{s.value:.3f} +/- {s.spread:.3f}") for s in r.diabetes.scores]
    rows += [
        (
            f"digits accuracy, {r.images.n_train} labels, NTK of {s.method}",
            f"{100 * s.value:.1f} % +/- {100 * s.spread:.1f}",
        )
        for s in r.images.scores
    ]
    slope = str(_line(r.width)).replace("±", "+/-") + " (theory -0.5)"
    rows.append(("error against width, log-log slope", slope))
    linear, infinite = (f"{100 * distance:.1f} %" for distance in _distances(r))
    what = f"test loss at trained width {max(r.trained.trained)}, distance from closed forms"
    rows.append((what, f"{linear} (its own kernel), {infinite} (infinite width)"))
    drift = r.lazy.drift.values.mean(axis=1)
    change = f"{drift[0]:.3f} to {drift[-1]:.3f} (width {r.lazy.drift.widths[0]} to {r.lazy.drift.widths[-1]})"
    rows.append(("change of the kernel in training", change))
    rows.append(("digits accuracy, trained to t = infinity", f"{100 * r.dynamics.accuracy_inf:.1f} %"))
    rows.append(("total wall time", f"{sum(r.seconds.values()):.1f} s"))
    return rows


def table(r: Results) -> str:
    """Return the headline numbers as two aligned plain-text columns."""
    rows = _rows(r)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def conclusion(r: Results) -> str:
    """Return the result of this run in three plain sentences."""
    digits = {s.method: f"{100 * s.value:.1f} %" for s in r.digits.scores}
    diabetes = {s.method: f"{s.value:.2f}" for s in r.diabetes.scores}
    return (
        f"The tangent kernel of an infinitely wide network recognised {digits['NTK regression']} of "
        f"{r.digits.n_test} unseen digits (RBF kernel {digits['RBF kernel ridge']}, logistic regression "
        f"{digits['logistic regression']}), and reached R^2 {diabetes['NTK regression']} on diabetes (linear "
        f"ridge {diabetes['linear ridge']}). The error of random finite networks fell as width to the power "
        f"{_line(r.width).slope:.2f} (theory: -0.5). Training at infinite width was followed in closed form, without "
        f"taking a step, to {100 * r.dynamics.accuracy_inf:.1f} % accuracy."
    )


DPI = 160
CSS = """
body { max-width: 52rem; margin: 2.5rem auto; padding: 0 1.2rem; color: #1a1a1a; background: #fff;
       font: 1.02rem/1.55 Charter, "Bitstream Charter", Georgia, serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
figure { margin: 2.2rem 0; text-align: center; break-inside: avoid; } img { max-width: 100%; height: auto; }
figcaption { font-size: .92rem; line-height: 1.45; text-align: left; color: #333; margin-top: .5rem; }
table { border-collapse: collapse; border-top: 1.5px solid; border-bottom: 1.5px solid; font-size: .95rem; }
td, th { padding: .22rem 1rem .22rem 0; text-align: left; vertical-align: top; font-weight: normal; }
sub, sup { line-height: 0; }
tr + tr { border-top: 1px solid #e3e3e3; }
"""


def _html_table(rows: list[tuple[str, str]]) -> str:
    """Return pairs of name and value as an HTML table."""
    cells = (f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _typeset(text: str) -> str:
    """Replace the ASCII of the printed table by mathematical signs."""
    signs = {"^2": "²", "+/-": "±", "-0.": "−0.", " x ": " × ", "= infinity": "= ∞"}
    for ascii_form, sign in signs.items():
        text = text.replace(ascii_form, sign)
    return text


def _css_width(png: bytes) -> int:
    """Return the width on screen in CSS pixels.

    All figures have the same pixels per inch, so that their text has one size.
    """
    return int.from_bytes(png[16:20], "big") * 100 // DPI


def html(r: Results, images: Mapping[str, bytes]) -> str:
    """Return the report as one HTML document, which contains the PNGs of ``images``, given by stem."""
    drawn = "\n".join(
        f"<figure><img alt='{panel.stem}' width='{_css_width(images[panel.stem])}' "
        f"src='data:image/png;base64,{base64.b64encode(images[panel.stem]).decode('ascii')}'>"
        f"<figcaption><b>Figure {i}.</b> {_typeset(panel.caption(r))}</figcaption></figure>"
        for i, panel in enumerate(PANELS, start=1)
    )
    s = r.settings
    numbers = [(_typeset(name), _typeset(value)) for name, value in _rows(r)]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>ntkrs demo</title><style>{CSS}</style></head><body>
<h1>Neural tangent kernels of wide networks, on real data</h1>
<p>{escape(_typeset(conclusion(r)))}</p>
<h2>Numbers</h2>
{_html_table(numbers)}
<h2>Setting</h2>
<p>Fully connected networks with {s.depth} hidden ReLU layers in the NTK parameterization, weight scale
σ<sub>w</sub> = {s.sigma_w:.4g} and bias scale σ<sub>b</sub> = {s.sigma_b:g}. Digits: the 8 × 8 images of
scikit-learn, with pixels centred and divided by one number; the mean and this number are those of the training part.
The networks with convolutions of 3 × 3 pixels have the same depth and scales, and see the digits as images.
Diabetes: the ten features of scikit-learn's data, scaled to unit variance. Kernel regression solves
(K + rI) α = y with r relative to trace(K)/N. Seed {r.seed}.</p>
<h2>Figures</h2>
{drawn}
<h2>Wall time and versions</h2>
{_html_table([(name, f"{seconds:.2f} s") for name, seconds in r.seconds.items()])}
<p>{escape(", ".join(f"{name} {version}" for name, version in versions().items()))}</p>
</body></html>
"""


def render(r: Results) -> dict[str, bytes]:
    """Draw every figure, and return the PNGs as bytes, by stem."""
    images = {}
    for panel in PANELS:
        buffer = io.BytesIO()
        panel.draw(r).savefig(buffer, format="png", dpi=DPI)
        images[panel.stem] = buffer.getvalue()
    return images


def write(r: Results, images: Mapping[str, bytes], directory: Path) -> None:
    """Write the PNGs, ``summary.json`` and ``report.html`` to an existing directory."""
    for stem, image in images.items():
        (directory / f"{stem}.png").write_bytes(image)
    (directory / "summary.json").write_text(json.dumps(summary(r), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (directory / "report.html").write_text(html(r, images), encoding="utf-8")
