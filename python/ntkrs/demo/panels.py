"""The figures of the report, each with its caption, its formula, and the lines of code that compute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ntkrs import plot
from ntkrs.demo import figures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure

    from ntkrs.demo.data import Digits, Settings
    from ntkrs.demo.finite import FiniteTraining, Lazy
    from ntkrs.demo.infinite import Circle, Dynamics, Gram
    from ntkrs.demo.line import Line as Functions
    from ntkrs.demo.scores import Scores
    from ntkrs.diagnostics import Spectrum, WidthConvergence


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
    """A figure of the report: its file, its drawing, its caption, and what it shows as a formula and as code.

    Attributes
    ----------
    stem : str
        The name of the figure's file, without an ending.
    draw : callable
        Draws the figure.
    caption : callable
        Returns the caption, in HTML.
    formula : str
        The formula behind the figure, in HTML.
    code : str
        The lines that compute it, for inputs X, labels y and test inputs Z of your own.
    """

    stem: str
    draw: Callable[[Results], Figure]
    caption: Callable[[Results], str]
    formula: str
    code: str


def _caption_scores(r: Results) -> str:
    """Return the caption of the held-out scores."""
    return (
        f"Scores on held-out data. (a) Digits: accuracy on {r.digits.n_test} images after training on "
        f"{r.digits.n_train}, one split for all methods; bars: binomial standard error. (b) Diabetes: "
        f"R² on {r.diabetes.n_test} patients after training on {r.diabetes.n_train}, mean over "
        f"{r.diabetes.splits} random splits, the same for all methods; bars: standard deviation over splits. "
        "Ridge, bandwidth and C are chosen inside the training part: by exact leave-one-out for the NNGP and the NTK, "
        "which are estimators of ntkrs.sklearn, and by cross-validation for all others."
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
        "(a) Before training. The band is the mean ± two standard deviations at infinite width. "
        f"(b) The same networks after {line.steps[-1]} steps of gradient descent on the black dots. The band is that "
        f"of infinitely wide networks after as many steps, and {100 * line.coverage:.0f} % of the outputs lie in it. "
        "(c) The first network while it learns (lines), and the closed form from its kernel and outputs before "
        "training (small dots)."
    )


def _caption_gram(r: Results) -> str:
    """Return the caption of the kernel matrices."""
    return (
        f"Infinite-width kernels of all {len(r.data.x)} digits, sorted by class: "
        "K(x,x′) / √(K(x,x) K(x′,x′)). The bright blocks on the diagonal show that images of the same digit are "
        "similar to each other. The colour scale is clipped at the 0.1 % and 98 % quantiles."
    )


def _caption_circle(r: Results) -> str:
    """Return the caption of predictions on the circle."""
    return (
        "Predictions of infinitely wide networks on the unit circle, averaged over random initialisations, at "
        f"several training times. There are {len(r.circle.train_angles)} training points, and at t = ∞ the "
        "prediction passes through all of them."
    )


def _caption_spectrum(r: Results) -> str:
    """Return the caption of the spectra."""
    return (
        f"(a) Eigenvalues of the {len(r.data.x)} × {len(r.data.x)} kernels as shares of the trace. The "
        "first belongs to a nearly constant function. The effective rank is the exponential of the spectral "
        "entropy. (b) Share of the centred labels' energy in the leading eigenvectors. Directions with "
        "large eigenvalues are learned first."
    )


def _caption_parameters(r: Results) -> str:
    """Return the caption of the loss beside the distance of the parameters."""
    t = r.trained
    change = 100 * t.moved[max(t.moved)][-1]
    return (
        f"The loss falls, and θ hardly moves: networks trained on {t.samples} digits for {t.steps[-1]} steps. (a) The "
        "training loss, as in the next figure. (b) The parameters go a distance that does not depend on the "
        f"width, while ‖θ<sub>0</sub>‖ ≈ √P grows with it. Those of width {max(t.moved)} end {change:.1f} % away from "
        "their start, so the network stays where its Taylor expansion in θ is good."
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


SETUP = """kernel = ntkrs.mlp(3, 1, 1, "relu", sigma_w=2**0.5, sigma_b=0.1).kernel()"""
CLOSED_FORM = "f<sub>t</sub>(x) = k(x, X) K<sup>−1</sup> (I − e<sup>−ηKt/Z</sup>) Y"

PANELS = (
    Panel(
        "gram",
        lambda r: figures.gram(r.gram, r.data),
        _caption_gram,
        "Σ′ = σ<sub>w</sub>² E[φ(u) φ(v)] + σ<sub>b</sub>²,  Θ′ = Σ′ + σ<sub>w</sub>² E[φ′(u) φ′(v)] Θ,  "
        "(u, v) ~ N(0, Σ)",
        f'{SETUP}\nK = kernel(X, get=("nngp", "ntk"))',
    ),
    Panel(
        "scores",
        lambda r: figures.scores(r.digits, r.diabetes),
        _caption_scores,
        "f(x) = k(x, X) (K + rI)<sup>−1</sup> Y",
        f"{SETUP}\nf = ntkrs.predict.gradient_descent_mse(kernel(X), y, diag_reg=1e-3)\n"
        "_, prediction = f(t=None, k_test_train=kernel(Z, X))",
    ),
    Panel(
        "width_scaling",
        lambda r: plot.width_scaling(r.width),
        _caption_width,
        "‖Θ̂ − Θ‖<sub>F</sub> / ‖Θ‖<sub>F</sub> ∝ n<sup>−1/2</sup>",
        'arch = ntkrs.mlp(3, 1, 1, "relu", sigma_w=2**0.5, sigma_b=0.1)\n'
        "found = ntkrs.diagnostics.width_convergence(arch, X, widths=(64, 256), seeds=5)\nprint(found.line)",
    ),
    Panel(
        "training_dynamics",
        lambda r: figures.training_dynamics(r.dynamics),
        _caption_dynamics,
        CLOSED_FORM,
        f"{SETUP}\nf = ntkrs.predict.gradient_descent_mse(kernel(X), y)\n"
        "on_train, on_test = f(t=[1, 10, 100, np.inf], k_test_train=kernel(Z, X))",
    ),
    Panel(
        "circle",
        lambda r: figures.circle(r.circle),
        _caption_circle,
        CLOSED_FORM,
        f"{SETUP}\nangle = np.linspace(0, 2 * np.pi, 64)\ncircle = np.stack([np.cos(angle), np.sin(angle)], axis=1)\n"
        "f = ntkrs.predict.gradient_descent_mse(kernel(circle[::8]), np.sin(2 * angle[::8]))\n"
        "_, curves = f(t=[1, 100, np.inf], k_test_train=kernel(circle, circle[::8]))",
    ),
    Panel(
        "line",
        lambda r: figures.line(r.line),
        _caption_line,
        "E f<sub>t</sub>(x) = B<sub>t</sub> Y,  Var = Σ<sub>xx</sub> + B<sub>t</sub> Σ<sub>XX</sub> "
        "B<sub>t</sub><sup>T</sup> − 2 B<sub>t</sub> Σ<sub>Xx</sub>,  B<sub>t</sub> = k(x, X) K<sup>−1</sup> "
        "(I − e<sup>−ηKt/Z</sup>)",
        f"{SETUP}\nf = ntkrs.predict.gradient_descent_mse_ensemble(kernel, X, y)\n"
        "low, high = f(t=300, x_test=Z).interval(0.95)",
    ),
    Panel(
        "spectrum",
        lambda r: plot.spectra(r.spectrum),
        _caption_spectrum,
        "K = Σ<sub>i</sub> λ<sub>i</sub> u<sub>i</sub> u<sub>i</sub><sup>T</sup>,  energy<sub>i</sub> = "
        "⟨u<sub>i</sub>, Y⟩² / ‖Y‖²",
        f"{SETUP}\nfound = ntkrs.diagnostics.spectrum(kernel(X), y)\nfound.eigenvalues, found.label_energy",
    ),
    Panel(
        "parameters",
        lambda r: figures.parameters(r.trained),
        _caption_parameters,
        "‖θ<sub>t</sub> − θ<sub>0</sub>‖ = O(1),  ‖θ<sub>0</sub>‖ ≈ √P",
        'net = ntkrs.mlp(3, 1024, 1, "relu", sigma_w=2**0.5, sigma_b=0.1).init(X.shape[1], rng=0)\n'
        "_, history = net.train(X, y, learning_rate=0.1, steps=30, record_every=10)\n"
        "history.loss / history.loss[0], history.parameter_distance / np.linalg.norm(net.parameters)",
    ),
    Panel(
        "finite_training",
        lambda r: figures.finite_training(r.trained),
        _caption_trained,
        "f<sub>k</sub>(x) = f<sub>0</sub>(x) − k(x, X) K<sup>−1</sup> (I − (I − ηK/Z)<sup>k</sup>) "
        "(f<sub>0</sub>(X) − Y)",
        'net = ntkrs.mlp(3, 256, 1, "relu", sigma_w=2**0.5, sigma_b=0.1).init(X.shape[1], rng=0)\n'
        "trained, _ = net.train(X, y, learning_rate=0.1, steps=30)\n"
        'f = ntkrs.predict.gradient_descent_mse(net.ntk(X, outputs=0), y, 0.1, optimizer="gd")\n'
        "np.abs(trained(X)[:, 0] - f(t=30, fx_train_0=net(X)[:, 0])).max()",
    ),
    Panel(
        "lazy_training",
        lambda r: figures.lazy_training(
            {"(a) kernel": r.lazy.drift, "(b) outputs": r.lazy.gap, "(c) before training": r.lazy.kappa}
        ),
        _caption_lazy,
        "κ = ‖f(θ<sub>0</sub>) − y‖ ‖D²f(θ<sub>0</sub>)‖ / ‖Df(θ<sub>0</sub>)‖²",
        'arch = ntkrs.mlp(2, 1, 1, "erf")\n'
        "drift = ntkrs.diagnostics.kernel_drift(arch, X, y, widths=(32, 64), seeds=2, steps=20)\n"
        "gap = ntkrs.diagnostics.linearization_gap(arch, X, y, widths=(32, 64), seeds=2, steps=20)\n"
        "kappa = ntkrs.diagnostics.kappa(arch.with_width(64).init(X.shape[1], rng=0), X, y)",
    ),
)
