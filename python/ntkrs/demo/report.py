"""The output of ``ntkrs demo``: figures, ``summary.json``, a self-contained ``report.html``, and a short table."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._runtime.files import replaced
from ntkrs._runtime.optional import require
from ntkrs._runtime.versions import versions
from ntkrs.demo.panels import PANELS, Panel, Results

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ntkrs.demo.scores import Scores
    from ntkrs.diagnostics import Line, WidthConvergence

__all__ = ["PANELS", "Results", "conclusion", "drawing", "html", "render", "summary", "table", "write"]

#: Rows of a table: pairs of a name and a value.
Rows = list[tuple[str, str]]


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
            "parameter_change": {str(width): moved.tolist() for width, moved in r.trained.moved.items()},
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


def _percent(score: Any) -> str:
    """Return an accuracy with its spread, in ASCII."""
    return f"{100 * score.value:.1f} % +/- {100 * score.spread:.1f}"


def _tables(r: Results) -> dict[str, Rows]:
    """Return the headline numbers as three tables, by title, in ASCII."""
    few = f"digits accuracy, {r.images.n_train} labels, NTK of"
    predictions = [(f"digits accuracy, {s.method}", _percent(s)) for s in r.digits.scores]
    predictions += [(f"diabetes R^2, {s.method}", f"{s.value:.3f} +/- {s.spread:.3f}") for s in r.diabetes.scores]
    predictions += [(f"{few} {s.method}", _percent(s)) for s in r.images.scores]
    predictions += [("digits accuracy, trained to t = infinity", f"{100 * r.dynamics.accuracy_inf:.1f} %")]

    linear, infinite = (f"{100 * distance:.1f} %" for distance in _distances(r))
    drift, widths = r.lazy.drift.values.mean(axis=1), r.lazy.drift.widths
    change = f"{drift[0]:.3f} to {drift[-1]:.3f} (width {widths[0]} to {widths[-1]})"
    widest = max(r.trained.trained)
    distance = f"test loss at trained width {widest}, distance from closed forms"
    theory = [
        ("error against width, log-log slope", str(_line(r.width)).replace("±", "+/-") + " (theory -0.5)"),
        (distance, f"{linear} (its own kernel), {infinite} (infinite width)"),
        (f"change of the parameters in training, width {widest}", f"{100 * r.trained.moved[widest][-1]:.1f} %"),
        ("change of the kernel in training", change),
    ]

    n, peak = len(r.data.x), r.gram.peak_megabytes
    memory = "" if peak is None else f", process peak {peak:.0f} MB"
    cost = [
        (f"NNGP and NTK Gram matrices, {n} x {n}", f"{r.gram.seconds:.2f} s, {r.gram.megabytes:.0f} MB{memory}"),
        ("total wall time", f"{sum(r.seconds.values()):.1f} s"),
    ]
    return {"Predictions": predictions, "Theory against real networks": theory, "Cost": cost}


def table(r: Results) -> str:
    """Return the headline numbers as plain text: three tables of two aligned columns."""
    tables = _tables(r)
    width = max(len(name) for rows in tables.values() for name, _ in rows)
    blocks = [[title, *(f"  {name:<{width}}  {value}" for name, value in rows)] for title, rows in tables.items()]
    return "\n\n".join("\n".join(lines) for lines in blocks)


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


#: Pixels per inch of pictures inside the figures, such as the kernel matrices.
DPI = 160
CSS = """
body { max-width: 52rem; margin: 2.5rem auto; padding: 0 1.2rem; color: #1a1a1a; background: #fff;
       font: 1.02rem/1.55 Charter, "Bitstream Charter", Georgia, serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
figure { margin: 2.2rem 0; text-align: center; break-inside: avoid; } img { max-width: 100%; height: auto; }
figcaption { font-size: .92rem; line-height: 1.45; text-align: left; color: #333; margin-top: .5rem; }
table { border-collapse: collapse; border-top: 1.5px solid; border-bottom: 1.5px solid; font-size: .95rem;
        margin-bottom: 1.2rem; }
td, th { padding: .22rem 1rem .22rem 0; text-align: left; vertical-align: top; font-weight: normal; }
sub, sup { line-height: 0; }
tr + tr { border-top: 1px solid #e3e3e3; }
caption { text-align: left; font-weight: bold; padding: .6rem 0 .3rem; }
.formula { text-align: left; margin: .5rem 0 0; font-style: italic; }
details { text-align: left; font-size: .92rem; margin-top: .3rem; } summary { color: #333; cursor: pointer; }
pre { overflow-x: auto; background: #f4f4f4; padding: .6rem .8rem; font-size: .85rem; line-height: 1.4; }
"""


def _html_table(rows: Rows, title: str = "") -> str:
    """Return pairs of name and value as an HTML table."""
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    cells = (f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{caption}{''.join(cells)}</table>"


def _typeset(text: str) -> str:
    """Replace the ASCII of the printed table by mathematical signs."""
    signs = {"^2": "²", "+/-": "±", "-0.": "−0.", " x ": " × ", "= infinity": "= ∞"}
    for ascii_form, sign in signs.items():
        text = text.replace(ascii_form, sign)
    return text


def _plain(text: str) -> str:
    """Return the text of HTML without its tags, with indices as in TeX."""
    for tag, sign in {"<sub>": "_", "<sup>": "^"}.items():
        text = text.replace(tag, sign)
    return re.sub(r"<[^>]+>", "", text)


def _css_width(svg: bytes) -> int:
    """Return the width on screen in CSS pixels.

    All figures have the same pixels per inch, so that their text has one size.
    """
    found = re.search(rb'<svg[^>]* width="([\d.]+)pt"', svg)
    if found is None:
        raise ValueError("the figure is not an SVG that states its width in points")
    return round(float(found[1]) / 72 * 100)


def _figure(panel: Panel, number: int, r: Results, svg: bytes) -> str:
    """Return a figure of the report in HTML: the drawing, the caption, the formula and the code."""
    caption = _typeset(panel.caption(r))
    alt = escape(_plain(caption), quote=True)
    source = base64.b64encode(svg).decode("ascii")
    code = escape(f"import numpy as np, ntkrs\n\n{panel.code}")
    return (
        f"<figure><img alt='{alt}' width='{_css_width(svg)}' src='data:image/svg+xml;base64,{source}'>"
        f"<figcaption><b>Figure {number}.</b> {caption}</figcaption>"
        f"<p class='formula'>{panel.formula}</p>"
        f"<details><summary>Code, for inputs X, labels y, test inputs Z</summary><pre>{code}</pre></details></figure>"
    )


def html(r: Results, images: Mapping[str, bytes]) -> str:
    """Return the report as one HTML document, which contains the SVGs of ``images``, given by stem."""
    drawn = "\n".join(_figure(panel, i, r, images[panel.stem]) for i, panel in enumerate(PANELS, start=1))
    s = r.settings
    typeset = {title: [(_typeset(a), _typeset(b)) for a, b in rows] for title, rows in _tables(r).items()}
    numbers = "\n".join(_html_table(rows, title) for title, rows in typeset.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>ntkrs demo</title><style>{CSS}</style></head><body>
<h1>Neural tangent kernels of wide networks, on real data</h1>
<p>{escape(_typeset(conclusion(r)))}</p>
<h2>Numbers</h2>
{numbers}
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


def drawing(panel: Panel, r: Results) -> bytes:
    """Return one figure as an SVG, whose bytes depend on the results alone."""
    buffer = io.BytesIO()
    with require("matplotlib", "matplotlib").rc_context({"svg.hashsalt": "ntkrs"}):
        panel.draw(r).savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None})
    return buffer.getvalue()


def render(r: Results) -> dict[str, bytes]:
    """Draw every figure, and return the SVGs as bytes, by stem."""
    return {panel.stem: drawing(panel, r) for panel in PANELS}


def write(r: Results, images: Mapping[str, bytes], directory: Path) -> None:
    """Write the SVGs, ``summary.json`` and ``report.html`` to an existing directory."""
    contents = {f"{stem}.svg": image for stem, image in images.items()}
    contents["summary.json"] = f"{json.dumps(summary(r), indent=2, allow_nan=False)}\n".encode()
    contents["report.html"] = html(r, images).encode()
    for name, content in contents.items():
        with replaced(directory / name) as file:
            file.write(content)
